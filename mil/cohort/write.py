"""Write a file of bags: for features that a researcher has from elsewhere, or to put many stores into one file."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mil.bag import Bag
from mil.cohort.archive import PIECE
from mil.cohort.slide_facts import require_names
from mil.errors import BagError


@dataclass
class _Facts:
    """What is held of the bags while their features go by."""

    first: Bag | None = None
    ids: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    coords: list[NDArray[np.int64]] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)


def write_bags(
    path: Path, bags: Iterable[Bag], dtype: Literal["float16", "float32"] = "float16", *, pack: bool = False
) -> None:
    """Write bags into one `.npz` file, whole or not at all. One bag at a time is held.

    Args:
        path: The file; an earlier one is replaced.
        bags: All of one encoder, width and zooms.
        dtype: How features are stored. Features of encoders are made in half precision anyway.
        pack: Whether to deflate. It saves a few percent of features, and a large packed file must be unpacked again
            before it can be read a slide at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as numbers:
            facts = _Facts()
            for bag in bags:
                numbers.write(_checked(bag, facts, dtype).tobytes())
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED if pack else zipfile.ZIP_STORED) as file:
                _write_all(file, numbers, facts, dtype)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _checked(bag: Bag, facts: _Facts, dtype: str) -> NDArray[Any]:
    """Take note of a bag and give its features as they are stored.

    Raises:
        BagError: It is of another kind than the first, or its features are too large for the type; names it.
    """
    facts.first = facts.first or bag
    row, first = len(facts.ids), facts.first
    if (bag.encoder, bag.mpp, bag.features.shape[1]) != (first.encoder, first.mpp, first.features.shape[1]):
        raise BagError(f"Bag {row} was made by another encoder, at other zooms or in another width than bag 0.")
    with np.errstate(over="ignore"):
        features = bag.features.astype(dtype)
    if not np.isfinite(features).all():
        raise BagError(f"Bag {row} has features too large for {dtype}; write float32.")
    facts.ids.append(bag.id)
    facts.sizes.append(len(bag))
    facts.coords.append(bag.coords)
    facts.labels.append(np.nan if bag.label is None else bag.label)
    return features


def _write_all(file: zipfile.ZipFile, numbers: IO[bytes], facts: _Facts, dtype: str) -> None:
    """Write the arrays.

    Raises:
        BagError: There is no bag.
    """
    first = facts.first
    if first is None:
        raise BagError("There is no bag to write.")
    require_names(facts.ids)
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": (sum(facts.sizes), first.features.shape[1]),
    }
    numbers.seek(0)
    with file.open("features.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        shutil.copyfileobj(numbers, member, PIECE)
    arrays: dict[str, NDArray[Any]] = {
        "offsets": np.concatenate([[0], np.cumsum(facts.sizes)]).astype(np.int64),
        "slide_id": np.array(facts.ids),
        "coords": np.concatenate(facts.coords),
        "encoder": np.array(first.encoder),
        "mpp": np.array(first.mpp, np.float64),
        "label": np.array(facts.labels, np.float64),
    }
    wanted = {"encoder": first.encoder, "mpp": first.mpp, "label": not np.isnan(facts.labels).all()}
    for name, array in arrays.items():
        if wanted.get(name, True):
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)

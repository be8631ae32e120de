"""Arrays and a record beside them on disk: safetensors and strict JSON that vouches for it, never code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mil.errors import CheckpointError
from tiling.whole import write_whole


def save_arrays(directory: Path, name: str, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> None:
    """Write `name.safetensors` and, last, `name.json`.

    Args:
        directory: Made if it is not there.
        name: Of the two files.
        arrays: Name -> array.
        record: JSON values.
    """
    content = save({key: np.ascontiguousarray(value) for key, value in arrays.items()})
    whole = {"format": f"oncoscope-{name}-1", "sha256": hashlib.sha256(content).hexdigest(), "record": dict(record)}
    text = json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / f"{name}.safetensors", content)
    write_whole(directory / f"{name}.json", text.encode())


def load_arrays(directory: Path, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `save_arrays` wrote.

    Args:
        directory: As given there.
        name: As given there.

    Returns:
        Arrays and record.

    Raises:
        CheckpointError: A file is missing or changed, or an array holds what is not a number.
    """
    try:
        content = (directory / f"{name}.safetensors").read_bytes()
        whole = json.loads((directory / f"{name}.json").read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The saved {name} are missing or unreadable.") from error
    known = {"format": f"oncoscope-{name}-1", "sha256": hashlib.sha256(content).hexdigest()}
    if not isinstance(whole, dict) or {key: whole.get(key) for key in known} != known or len(whole) != 3:
        raise CheckpointError(f"The arrays of the saved {name} are not those their record vouches for.")
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise CheckpointError(f"The arrays of the saved {name} cannot be read.") from error
    if not all(np.isfinite(value).all() for value in arrays.values()) or not isinstance(whole.get("record"), dict):
        raise CheckpointError(f"The saved {name} hold what is no number.")
    return arrays, whole["record"]

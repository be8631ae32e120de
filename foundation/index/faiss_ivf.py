"""An approximate index by faiss (Douze et al., arXiv:2401.08281): rows by their nearest of some centres, 8 bits each.

faiss is no dependency: the extra `search` brings it. Its file is read after its checksum and holds no code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from foundation.errors import IndexStoreError, QueryError

TRAINED = 40
"""Rows from which each centre is found: faiss asks for 39."""
PROBED = 8
"""One in so many centres is looked at, and at least `LEAST`."""
LEAST = 8


class FaissIvf:
    """An inverted file.

    Args:
        library: The module `faiss`.
        index: Its index.
    """

    def __init__(self, library: Any, index: Any) -> None:  # noqa: ANN401 - a module, whose names nobody here can know
        self._library = library
        self._index = index

    @staticmethod
    def sample(count: int) -> NDArray[np.int64]:
        """Which rows it learns its centres from.

        Args:
            count: All rows.

        Returns:
            Row numbers, evenly spread, ascending.
        """
        wanted = min(count, TRAINED * _centres(count))
        return np.unique(np.linspace(0, max(0, count - 1), wanted).astype(np.int64))

    @classmethod
    def build(cls, count: int, sample: NDArray[np.float32], blocks: Iterable[NDArray[np.float32]]) -> Self:
        """Build.

        Args:
            count: All rows.
            sample: The rows of `sample` [n, D].
            blocks: All rows in order [., D].

        Returns:
            The index.
        """
        library = _faiss()
        index = library.index_factory(sample.shape[1], f"IVF{_centres(count)},SQ8", library.METRIC_INNER_PRODUCT)
        index.train(sample)
        for block in blocks:
            index.add(np.ascontiguousarray(block))
        return cls(library, index)

    def search(self, vector: NDArray[np.float32], k: int, among: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Rows that are probably the nearest.

        Args:
            vector: Of length 1 [D].
            k: How many.
            among: Which rows count [N]; None for all.

        Returns:
            Row numbers, at most k, in any order.
        """
        more: dict[str, Any] = {"nprobe": max(LEAST, self._index.nlist // PROBED)}
        if among is not None:
            bits = np.packbits(among, bitorder="little")
            more["sel"] = self._library.IDSelectorBitmap(bits)
            more["nprobe"] = min(self._index.nlist, round(more["nprobe"] * len(among) / max(1, int(among.sum()))))
        parameters = self._library.SearchParametersIVF(**more)
        _, found = self._index.search(vector[None], k, params=parameters)
        return np.asarray(found[0][found[0] >= 0], np.int64)

    def save(self, file: Path) -> None:
        """Write it.

        Args:
            file: A new file.
        """
        self._library.write_index(self._index, str(file))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read it.

        Args:
            file: What `save` wrote; its checksum has been compared.

        Returns:
            The index.

        Raises:
            IndexStoreError: If it cannot be read.
        """
        library = _faiss()
        try:
            return cls(library, library.read_index(str(file)))
        except RuntimeError as error:
            raise IndexStoreError("The approximate index cannot be read by this faiss; build it anew.") from error


def _centres(count: int) -> int:
    return max(1, min(math.isqrt(count), count // TRAINED))


def _faiss() -> Any:  # noqa: ANN401 - see above
    """The library.

    Raises:
        QueryError: If it is not installed.
    """
    try:
        return import_module("faiss")
    except ImportError as error:
        raise QueryError(
            "An approximate index needs the extra 'search': install it with pip install 'oncoscope[search]'."
        ) from error

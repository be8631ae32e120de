"""Saving and loading what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mil.errors import CheckpointError
from mil.trust.arrays import load_arrays, save_arrays
from mil.trust.gaussian import Gaussian
from mil.trust.neighbours import Neighbours
from mil.trust.outliers import Limits, Outliers
from mil.trust.tables import from_table, to_table

NAME = "outliers"


@dataclass(frozen=True)
class _Record:
    limits: Limits
    k: int
    encoder: str


def save_outliers(outliers: Outliers, directory: Path) -> None:
    """Write `outliers.safetensors` and `outliers.json`.

    Args:
        outliers: What to save.
        directory: Where.
    """
    arrays = {
        "tile_mean": outliers.tile.mean,
        "tile_whitening": outliers.tile.whitening,
        "slide_mean": outliers.slide.mean,
        "slide_whitening": outliers.slide.whitening,
        "reference": outliers.neighbours.reference,
    }
    save_arrays(directory, NAME, arrays, to_table(_Record(outliers.limits, outliers.neighbours.k, outliers.encoder)))


def load_outliers(directory: Path) -> Outliers:
    """Read what `save_outliers` wrote, believing nothing that does not fit together.

    Args:
        directory: Where.

    Returns:
        The same outliers.

    Raises:
        CheckpointError: A file is missing or changed, or the arrays do not fit together.
    """
    arrays, table = load_arrays(directory, NAME)
    record = from_table(_Record, table)
    try:
        parts = [arrays.pop(name) for name in ("tile_mean", "tile_whitening", "slide_mean", "slide_whitening")]
        reference = arrays.pop("reference")
    except KeyError as error:
        raise CheckpointError("An array of the saved outliers is missing.") from error
    width = parts[0].shape
    shapes = {parts[2].shape, *((item.shape[0],) for item in (parts[1], parts[3])), reference.shape[1:]}
    flat = all(item.ndim == 2 for item in (parts[1], parts[3], reference))
    limits = (record.limits.mahalanobis, record.limits.neighbour, record.limits.slide)
    if arrays or min(limits) <= 0 or not flat or shapes != {width} or not 1 <= record.k <= len(reference):
        raise CheckpointError("The arrays of the saved outliers do not fit together.")
    if any(item.dtype != np.float32 for item in (*parts, reference)):
        raise CheckpointError("The arrays of the saved outliers are of another type.")
    tile, slide = Gaussian(parts[0], parts[1]), Gaussian(parts[2], parts[3])
    return Outliers(tile, Neighbours(reference, record.k), slide, record.limits, record.encoder)

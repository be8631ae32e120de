"""Fitting what is usual to a training cohort; its patients are held out in turn to set the limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.errors import CalibrationError
from mil.trust.gaussian import fit_gaussian
from mil.trust.neighbours import fit_neighbours
from mil.trust.outliers import Limits, Outliers
from mil.trust.parts import parts_of
from mil.trust.streaming import Sample, sample_tiles

TILES = 32768
"""Tiles sampled for the Gaussian: enough for 128 components, 200 MB at 1536 numbers a tile."""
REFERENCE = 4096
"""Of these so many are neighbours to compare with."""
TILE_SHARE, CASE_SHARE = 0.995, 0.99


def fit_outliers(cohort: Cohort, *, tiles: int = TILES, seed: int = 0) -> Outliers:
    """Learn what is usual in a cohort, which is streamed a case at a time.

    Args:
        cohort: Of training; labels are not used.
        tiles: Sampled in all, about.
        seed: Of the samples.

    Returns:
        The models and the limits.

    Raises:
        CalibrationError: There are fewer than three patients to hold out in turn.
    """
    patients = [case.patient for case in cohort.cases]
    if len(set(patients)) < 3:
        raise CalibrationError(f"Outliers need the slides of three patients at least; there are {len(set(patients))}.")
    sample = sample_tiles(cohort, tiles, seed)
    part = parts_of(patients, np.zeros(len(patients), np.int64), seed)
    tile = np.empty((2, len(sample.tiles)))
    slide = np.empty(len(patients))
    for index in range(int(part.max()) + 1):
        out = part == index
        models = _models(sample, np.logical_not(out), seed)
        held = out[sample.owner]
        tile[:, held] = models.tile.distances(sample.tiles[held]), models.neighbours.distances(sample.tiles[held])
        slide[out] = models.slide.distances(sample.means[out])
    limits = _limits(tile, slide, sample.owner)
    final = _models(sample, np.ones(len(patients), np.bool_), seed)
    return Outliers(final.tile, final.neighbours, final.slide, limits, cohort.source.encoder)


def _models(sample: Sample, cases: NDArray[np.bool_], seed: int) -> Outliers:
    """The models of some of the cases, as yet without limits."""
    tiles = sample.tiles[cases[sample.owner]]
    chosen = np.random.default_rng(seed).permutation(len(tiles))[:REFERENCE]
    none = Limits(1.0, 1.0, 1.0, 1.0, 0)
    slides = fit_gaussian(sample.means[cases])
    return Outliers(fit_gaussian(tiles), fit_neighbours(tiles[np.sort(chosen)]), slides, none)


def _limits(tile: NDArray[np.float64], slide: NDArray[np.float64], owner: NDArray[np.int64]) -> Limits:
    far, apart = (max(float(np.quantile(row, TILE_SHARE)), 1e-9) for row in tile)  # tiles may repeat
    outlying = (tile[0] > far) | (tile[1] > apart)
    shares = np.bincount(owner, weights=outlying) / np.bincount(owner)
    return Limits(far, apart, _upper(shares), max(_upper(slide), 1e-9), len(slide))


def _upper(values: NDArray[np.float64]) -> float:
    """The value below which a new one lies with 99 %, or the largest where there are fewer than 99."""
    place = int(np.ceil((len(values) + 1) * CASE_SHARE))
    return float(np.sort(values)[min(place, len(values)) - 1])

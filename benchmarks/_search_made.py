"""A made cohort to search: vectors that lie like embeddings do, or mere noise, in an index without the way there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation.index import SearchIndex
from foundation.index import segment as layout
from foundation.index.catalogue import SEGMENTS, Catalogue, Entry, write_catalogue
from foundation.index.quantise import unit_rows

DIM, TILES = 512, 10_000
KINDS, SPREAD = 200, 0.35
"""Kinds of tissue, and how far a slide's stain moves its tiles."""
QUERIES = ("tile", "mean", "like_words")
ENCODER = {"key": "made", "family": "made", "weights_digest": "0" * 64, "preprocessing_digest": "0" * 64}


class Made:
    """Rows of a cohort, slide by slide.

    A mixture: each slide has 20 of 200 kinds of tissue, each kind a direction, and a tile is made of two of these in
    any proportion, so that kinds run into each other; a shift of the slide's own; and noise whose variance falls from
    axis to axis, as in embeddings of real tiles. Or noise alone, which has no structure that an approximate index
    could use.
    """

    def __init__(self, *, noise: bool) -> None:
        rng = np.random.default_rng(11)
        self._noise = noise
        self._kinds = rng.normal(size=(KINDS, DIM)).astype(np.float32)
        self._axes = (np.arange(1, DIM + 1) ** -0.5).astype(np.float32)
        self._axes *= np.sqrt(DIM / (self._axes**2).sum())

    def slide(self, number: int, tiles: int) -> NDArray[np.float16]:
        """The rows of one slide."""
        rng = np.random.default_rng((11, number))
        noise = rng.standard_normal((tiles, DIM), np.float32)
        if self._noise:
            return unit_rows(noise)
        one, other = rng.choice(KINDS, 20, replace=False)[rng.integers(0, 20, (2, tiles))]
        share = rng.random((tiles, 1), np.float32)
        shift = SPREAD * rng.standard_normal(DIM, np.float32)
        return unit_rows(share * self._kinds[one] + (1 - share) * self._kinds[other] + shift + 0.6 * noise * self._axes)


def write_made(path: Path, rows: int, *, noise: bool) -> SearchIndex:
    """An index of a made cohort, of slides of 10,000 tiles."""
    made, entries = Made(noise=noise), []
    for number in range(-(-rows // TILES)):
        tiles = min(TILES, rows - number * TILES)
        at = np.arange(tiles)
        coords = np.stack([at % 100, at // 100], axis=1).astype(np.int64) * 448
        layout.write_segment(path / SEGMENTS / f"s{number}", made.slide(number, tiles), {"coords": coords})
        entries.append(Entry(f"S{number}", f"s{number}", "", str(number), "made", tiles, (448.0, 448.0)))
    write_catalogue(path, Catalogue(ENCODER, DIM, 0.5, None, tuple(entries)))
    return SearchIndex.open(path)


def queries(index: SearchIndex, count: int) -> NDArray[np.float32]:
    """A third each: tiles, slightly moved; means of ten tiles of a slide; and such means at a cosine of .25 only.

    The first are searches by example, the last are like words, whose features lie far from those of all images.
    """
    rng = np.random.default_rng(5)
    found = []
    for number in range(count):
        slide = int(rng.integers(len(index.entries)))
        inside = rng.integers(0, index.entries[slide].tiles, 10 if number % 3 else 1)
        vector = index.rows(index.offsets[slide] + np.unique(inside)).astype(np.float32).mean(axis=0)
        away = rng.standard_normal(DIM, np.float32)
        share = 4.0 if number % 3 == 2 else 0.2
        found.append(vector / np.linalg.norm(vector) + share * away / np.linalg.norm(away))
    vectors = np.array(found)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

"""Bags of another scanner or site as if made like the reference: a source around a source, streamed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mil.cohort.around import Around
from mil.cohort.source import BagSource
from mil.errors import CalibrationError
from mil.trust.combat import Combat, Straight
from mil.trust.coral import Coral, Turned, fit_coral
from mil.trust.moments import Moments, slide_moments

Map = Straight | Turned


class Harmonised(Around):
    """A source whose features go through one map a slide.

    Args:
        source: Whose features.
        maps: One a slide.
        name: What they were made like; part of the encoder's name, so that they never mix with others.
    """

    def __init__(self, source: BagSource, maps: Sequence[Map], name: str) -> None:
        super().__init__(source)
        self._maps = tuple(maps)
        self._encoder = f"{source.encoder} {name}".strip()

    @property
    def encoder(self) -> str:
        """That of the source, and what its features were made like."""
        return self._encoder

    @property
    def fingerprint(self) -> str:
        """sha256 of the source's and of all maps, hex."""
        digest = hashlib.sha256(self.source.fingerprint.encode())
        for each in self._maps:
            for value in vars(each).values():
                digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    def features(self, row: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read tiles of a slide and map them.

        Args:
            row: Which slide.
            tiles: Which of its tiles, ascending; all if None.

        Returns:
            float32 [n, D].
        """
        return self._maps[row](self.source.features(row, tiles))


def harmonise(
    source: BagSource,
    sites: Sequence[str],
    reference: Combat | Coral,
    covariates: NDArray[np.float64] | None = None,
    *,
    moments: Moments | None = None,
) -> Harmonised:
    """Make every site of a source like the reference, each from its own slides, without labels.

    Args:
        source: Of slides whose sites may or may not have been seen in training.
        sites: Site of each slide.
        reference: Fitted to the training cohort.
        covariates: Of each slide, where the reference keeps some (ComBat) [slides, P].
        moments: Of the source, where they are known already (ComBat).

    Returns:
        The harmonised source.

    Raises:
        CalibrationError: A slide has no site (names its row), or covariates are given that CORAL has no use for.
    """
    names = np.asarray(sites, str)
    if len(names) != len(source.sizes) or (names == "").any():
        where = int((names == "").argmax()) if (names == "").any() else min(len(names), len(source.sizes))
        raise CalibrationError(f"Slide {where} has no site, and a site is what is standardised.")
    find: Callable[[NDArray[np.bool_]], Sequence[Map]]
    if isinstance(reference, Coral):
        if covariates is not None:
            raise CalibrationError("CORAL keeps no covariates; ComBat does.")
        find = _by_coral(source, reference)
    else:
        find = _by_combat(moments or slide_moments(source), reference, covariates)
    maps: list[Map | None] = [None] * len(names)
    for name in np.unique(names):
        own = names == name
        for row, each in zip(np.flatnonzero(own).tolist(), find(own), strict=True):
            maps[row] = each
    return Harmonised(source, [each for each in maps if each is not None], f"like {digest_of(reference)}")


def digest_of(reference: Combat | Coral) -> str:
    """Name a reference.

    Args:
        reference: Any.

    Returns:
        Its kind and twelve hex digits of the sha256 of its numbers.
    """
    content = b"".join(np.ascontiguousarray(value).tobytes() for value in vars(reference).values())
    return f"{type(reference).__name__.lower()}:{hashlib.sha256(content).hexdigest()[:12]}"


def _by_combat(
    moments: Moments, reference: Combat, covariates: NDArray[np.float64] | None
) -> Callable[[NDArray[np.bool_]], Sequence[Map]]:
    return lambda own: reference.maps(moments.rows(own), None if covariates is None else covariates[own])


def _by_coral(source: BagSource, reference: Coral) -> Callable[[NDArray[np.bool_]], Sequence[Map]]:
    def find(own: NDArray[np.bool_]) -> Sequence[Map]:
        rows = np.flatnonzero(own).tolist()
        return [reference.map(fit_coral(source, rows))] * len(rows)

    return find

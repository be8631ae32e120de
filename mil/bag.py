"""Bags: the tile embeddings of one slide, several zooms joined by place, with a label where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import Embeddings
from mil.errors import BagError, EmptyBagError


@dataclass(frozen=True, eq=False)
class Bag:
    """The tiles of one slide.

    Raises:
        EmptyBagError: There is no tile.
        BagError: Features and coordinates do not fit together, or a feature is not finite.
    """

    id: str
    """A pseudonym, never a name from a header."""
    features: NDArray[np.float32]
    """Embeddings [N, D]."""
    coords: NDArray[np.int64]
    """Top-left corner of each tile [N, 2], level-0 pixels (x, y)."""
    label: float | None = None
    """0 or 1, or None when it is not known."""
    patient: str | None = None
    """Whose slide it is; folds never split a patient."""
    mpp: tuple[float, ...] = ()
    """The zooms joined, finest first, um/px; the coordinates are those of the first."""
    encoder: str = ""
    """What made the features (key and weights digest); bags of different encoders are never mixed."""

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.coords.shape != (len(self.features), 2):
            raise BagError(
                f"A bag needs features [N, D] and places [N, 2], not {self.features.shape} and {self.coords.shape}."
            )
        if not self.features.size:
            raise EmptyBagError("The slide has no tile to score.")
        bad = np.logical_not(np.isfinite(self.features).all(axis=1))
        if bad.any():
            raise BagError(
                f"{bad.sum()} of {len(bad)} tiles have features that are not numbers; the first is tile {bad.argmax()}."
            )

    def __len__(self) -> int:
        return len(self.features)


def bag_from_embeddings(
    embeddings: Embeddings,
    zooms: Sequence[float],
    *,
    label: float | None = None,
    id: str | None = None,  # noqa: A002 - the bag's own word
) -> Bag:
    """Make a bag of one slide's embeddings; with several zooms, each fine tile carries what surrounds it.

    A tile of the finest zoom is concatenated with the coarser tile that holds it, and so on up the parent index chain
    (the early fusion of DSMIL, Li et al., CVPR 2021, arXiv:2011.08939). Where a parent is missing its features are 0,
    and one number after each coarser part says whether it was there (1) or not (0).

    Args:
        embeddings: The slide's embeddings; float16 [N, D] a zoom.
        zooms: Which to join, um/px, in any order.
        label: 0 or 1, or None.
        id: The bag's pseudonym; the fingerprint of the embeddings if None.

    Returns:
        The bag; features float32 [N, D1 (+ D2 + 1 (+ D3 + 1 ...))], N the tiles of the finest zoom.

    Raises:
        BagError: A zoom is not in the embeddings, or none is asked for; an `EmptyBagError` when there is no tile.
    """
    wanted = sorted({float(zoom) for zoom in zooms})
    missing = [zoom for zoom in wanted if zoom not in embeddings.zooms]
    if missing or not wanted:
        have = ", ".join(f"{zoom:g}" for zoom in embeddings.zooms)
        raise BagError(
            f"The embeddings hold the zooms {have} um/px; asked for: {', '.join(f'{z:g}' for z in missing) or 'none'}."
        )
    parts = [np.asarray(embeddings.features(wanted[0]), np.float32)]
    for zoom in wanted[1:]:
        features = np.asarray(embeddings.features(zoom), np.float32)
        parts += coarser_part(features, ancestors(embeddings, wanted[0], zoom))
    return Bag(
        id=id or embeddings.fingerprint,
        features=np.concatenate(parts, axis=1),
        coords=np.asarray(embeddings.coords(wanted[0]), np.int64),
        label=label,
        mpp=tuple(wanted),
        encoder=encoder_identity(embeddings),
    )


def encoder_identity(embeddings: Embeddings) -> str:
    """Name what made the embeddings.

    Args:
        embeddings: Of any slide.

    Returns:
        The encoder's key and the digest of its weights, as one word.
    """
    return f"{embeddings.encoder['key']}@{embeddings.encoder['weights_digest']}"


def ancestors(embeddings: Embeddings, fine: float, coarse: float) -> NDArray[np.int64]:
    """Follow the parent index from one zoom to a coarser one.

    Args:
        embeddings: Of one slide.
        fine: The zoom to start from, um/px.
        coarse: The zoom to reach, um/px.

    Returns:
        For each fine tile the index of the coarse tile that holds it, -1 where there is none; int64 [N]. A link of
        the chain that does not lead to the tile that holds the place is a `BagError`.
    """
    index = np.arange(len(embeddings.coords(fine)), dtype=np.int64)
    for near, far in pairwise(zoom for zoom in sorted(embeddings.zooms) if fine <= zoom <= coarse):
        parent = np.asarray(embeddings.parent(near), np.int64)
        _check_place(embeddings, parent, near, far)
        index = np.append(parent, -1)[index]  # so that index -1 stays -1
    return index


def _check_place(embeddings: Embeddings, index: NDArray[np.int64], fine: float, coarse: float) -> None:
    """See that each tile's centre lies in its parent: a zoom left out of the embeddings breaks the chain.

    Raises:
        BagError: It does not.
    """
    found, places = index >= 0, np.asarray(embeddings.coords(coarse), np.float64)
    if index.max(initial=-1) < len(places):
        centre = embeddings.coords(fine)[found] + np.array(embeddings.extent(fine)) / 2
        inside = np.abs(centre - places[index[found]] - np.array(embeddings.extent(coarse)) / 2)
        if (inside <= np.array(embeddings.extent(coarse)) / 2 + 1).all():
            return
    raise BagError(
        f"The parents of the tiles at {fine:g} um/px are not at {coarse:g} um/px: a zoom between them was not embedded."
    )


def coarser_part(features: NDArray[np.float32], index: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """What each fine tile gets of a coarser zoom.

    Args:
        features: Of the coarser zoom [M, D].
        index: Its tile that holds each fine one, -1 where there is none [N].

    Returns:
        The features of that tile, 0 where there is none [N, D], and whether there is one [N, 1].
    """
    found = index >= 0
    part = np.zeros((len(index), features.shape[1]), np.float32)
    part[found] = features[index[found]]
    return [part, found[:, None].astype(np.float32)]

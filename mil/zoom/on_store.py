"""The cascade on a real slide: its tiles at both zooms, embedded at the low one, and an encoder for the fine one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from foundation.chosen import embed_chosen
from foundation.contract import EmbedOptions
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder
from mil.bag import Bag, bag_from_embeddings
from mil.errors import BagError
from mil.train import Fit
from mil.zoom.cascade import CascadeResult, run_cascade
from mil.zoom.choice import CascadeSpec
from slides import Address
from tiling.store import TileStore


def cascade_slide(
    spec: CascadeSpec,
    fits: tuple[Fit, Fit],
    store: TileStore,
    low: Embeddings,
    encoder: Encoder,
    *,
    address: Address | None = None,
    options: EmbedOptions | None = None,
) -> CascadeResult:
    """Score a slide whose fine zoom is encoded only where the low zoom says so, and at random places.

    Args:
        spec: How much is looked at closely.
        fits: The cheap head of the low zoom and the head of the fine one, of one zoom each.
        store: Tiles of the slide at both zooms.
        low: Embeddings of the same tiles at the low zoom.
        encoder: The expensive one.
        address: The slide; needed where the store keeps no pixels.
        options: How to embed.

    Returns:
        The score, and what was skipped.

    Raises:
        BagError: A head reads several zooms, the embeddings are of other tiles, or the fine zoom is not finer.
    """
    if any(len(fit.mpp) != 1 for fit in fits) or not fits[1].mpp[0] < fits[0].mpp[0]:
        raise BagError("A cascade needs two heads of one zoom each, the second of the finer one.")
    if low.tiles_fingerprint != store.fingerprint:
        raise BagError("The embeddings of the low zoom are not of these tiles.")
    coarse, fine = (fit.mpp[0] for fit in fits)
    grid, name = store.grid(fine), store.info.pseudonym
    made_by = f"{encoder.spec.key}@{encoder.weights_digest}"

    def encode(rows: NDArray[np.int64]) -> Bag:
        features = embed_chosen(store, encoder, fine, rows, address=address, options=options)
        return Bag(name, features.astype(np.float32), grid.coords[rows], mpp=(fine,), encoder=made_by)

    return run_cascade(spec, fits, bag_from_embeddings(low, [coarse], id=name), _parents(store, fine, coarse), encode)


def _parents(store: TileStore, fine: float, coarse: float) -> NDArray[np.int64]:
    """Follow the parent index from the fine zoom to the low one, over the zooms between."""
    grids = [grid for grid in store.grids if fine <= grid.mpp <= coarse]
    index = np.arange(len(grids[0]), dtype=np.int64)
    for near, _ in pairwise(grids):
        index = np.append(near.parent, -1)[index]  # so that index -1 stays -1
    return index

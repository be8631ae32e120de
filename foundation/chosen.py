"""Embed some tiles of a slide and no others: for heads that choose where to look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foundation.contract import EmbedOptions, breaches_of_contract, require_allowed
from foundation.encoder import Encoder
from foundation.features import BATCH, encode_batch, usable
from slides import Address
from tiling.store import TileStore


def embed_chosen(
    store: TileStore,
    encoder: Encoder,
    mpp: float,
    index: NDArray[np.int64],
    *,
    address: Address | None = None,
    options: EmbedOptions | None = None,
) -> NDArray[np.float16]:
    """Embed the tiles at some positions of a grid; no other tile is read or encoded.

    An encoder that is not meant for the zoom ends in a `ContractError`.

    Args:
        store: The tiles.
        encoder: What to run; on this process's CPU.
        mpp: Which zoom, um/px.
        index: Positions in its grid, ascending, at least one [n].
        address: The slide; needed where the store keeps no pixels.
        options: `batch` and `override` are used.

    Returns:
        [n, D], the same bits as `embed` gives these tiles in batches of the same size.
    """
    options = options or EmbedOptions()
    require_allowed(breaches_of_contract(encoder.spec, {mpp: store.grid(mpp).spec.px}), options)
    batch = options.batch or BATCH
    found = np.zeros((len(index), encoder.spec.dim), np.float16)
    for rows, tiles in store.chosen(mpp, index, batch, address):
        found[rows] = usable(encode_batch(encoder, tiles, batch))
    return found

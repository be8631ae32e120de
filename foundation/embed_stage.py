"""The stage: every tile of a slide through an encoder, into one store named by everything that determines it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from foundation.contract import EmbedOptions, breaches_of_contract, require_allowed
from foundation.embed_store import Making, Rows, write_embeddings
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder
from foundation.engine.item import SlideSource
from foundation.engine.run import EmbedRun
from slides import Address
from tiling.commit import is_committed
from tiling.store import TileStore

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""


def embed(
    store: TileStore,
    encoder: Encoder,
    out: Path,
    *,
    zooms: Sequence[float] | None = None,
    address: Address | None = None,
    progress: Progress | None = None,
    options: EmbedOptions | None = None,
    rows: Rows | None = None,
) -> Embeddings:
    """Embed every tile of a slide; a result that is there already is opened, not computed again.

    Args:
        store: The tiles.
        encoder: What to run.
        out: The folder in which `<fingerprint>.embeddings.zarr` appears, whole or not at all.
        zooms: Scales in micrometres per pixel; None for all of the store.
        address: The slide; needed where the store keeps no pixels.
        progress: Called after each batch.
        options: How.
        rows: Features that were computed while the tiles were cut (`foundation.one_pass`); None computes them.

    Returns:
        The embeddings.
    """
    options = options or EmbedOptions()
    if rows is not None:
        return _written(store, encoder, out, rows, options)
    run = EmbedRun([SlideSource(address, store)], [encoder], out, zooms=zooms, options=options, progress=progress)
    (outcome,) = run
    return outcome.get()


def _written(store: TileStore, encoder: Encoder, out: Path, rows: Rows, options: EmbedOptions) -> Embeddings:
    """Features that are there already, as a store."""
    zooms = {grid.mpp: grid.spec.px for grid in store.grids}
    breaches = breaches_of_contract(encoder.spec, zooms)
    require_allowed(breaches, options)
    making = Making(encoder, tuple(sorted(zooms)), breaches)
    final = making.place(store.fingerprint, out)
    return Embeddings.open(final) if is_committed(final) else write_embeddings(making, store, out, rows)

"""Encode tiles where they are cut, in the same pass and on the same workers: one decode serves store and encoder."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.contract import EmbedOptions, breaches_of_contract, require_allowed
from foundation.embed_stage import embed
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder, recipe_of
from foundation.errors import WeightsMismatchError
from foundation.features import BATCH, encode_batch, usable
from foundation.registry import load_encoder
from foundation.weights import for_workers
from slides import Address
from tiling import Needs, Pool, TileSpec, TileStore
from tiling.fingerprint import fingerprint
from tiling.pool import ANYWHERE
from tiling.selection import Selection
from tiling.shard import Keep
from tiling.stage import tile_and_measure

_HERE: dict[str, Encoder] = {}
"""Encoders of this process by digest: a worker loads one once, the driver has it already."""
_RUNS: Counter[str] = Counter()
"""How many runs of this process lend each: the last takes it away."""
_LOCK = threading.Lock()
"""Of both, and of loading: threads of a worker share one encoder."""


@dataclass(frozen=True)
class EncodeTiles:
    """An encoder as something to compute of every tile; only its name and a digest travel to workers."""

    key: str
    weights: Path | None
    """The user's own weights; workers must see the same file."""
    recipe: str
    """Digest of what its features depend on."""
    batch: int

    @property
    def digest(self) -> str:
        """What determines the features."""
        return fingerprint(recipe=self.recipe, batch=self.batch)

    def __call__(self, mpp: float, tiles: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode tiles.

        Args:
            mpp: Their scale, which the contract has allowed already.
            tiles: RGB [n, px, px, 3].

        Returns:
            Features [n, D].
        """
        del mpp
        encoder = self._encoder()
        parts = [tiles[i : i + self.batch] for i in range(0, len(tiles), self.batch)]
        return np.concatenate([usable(encode_batch(encoder, part, self.batch)) for part in parts])

    def _encoder(self) -> Encoder:
        """The encoder, loaded once in a process.

        Raises:
            WeightsMismatchError: If this worker has other weights than the driver, or another recipe.
        """
        with _LOCK:
            found = _HERE.get(self.digest)
            if found is None:
                found = load_encoder(self.key, self.weights)
                if fingerprint(**recipe_of(found)) != self.recipe:
                    raise WeightsMismatchError("A worker has other weights or another recipe of this encoder.")
                _HERE[self.digest] = found
            return found


@contextmanager
def _lent(digest: str, encoder: Encoder) -> Iterator[None]:
    """Have an encoder at hand in this process while any run needs it."""
    with _LOCK:
        _HERE.setdefault(digest, encoder)
        _RUNS[digest] += 1
    try:
        yield
    finally:
        with _LOCK:
            _RUNS[digest] -= 1
            if not _RUNS[digest]:
                del _RUNS[digest], _HERE[digest]


def embed_in_one_pass(
    address: Address,
    specs: Sequence[TileSpec],
    encoder: Encoder,
    out: Path,
    *,
    weights: Path | None = None,
    keep: Keep = "no",
    pool: Pool | None = None,
    progress: Callable[[int, int], None] | None = None,
    options: EmbedOptions | None = None,
    selection: Selection | None = None,
    needs: Needs = ANYWHERE,
) -> tuple[TileStore, Embeddings]:
    """Tile a slide and embed its tiles while their pixels are at hand; the same features as `embed` gives.

    Args:
        address: The slide.
        specs: One for each zoom.
        encoder: What to run.
        out: Folder for both stores.
        weights: Where the encoder's weights came from, if they are the user's own.
        keep: `no` or `raw`.
        pool: Where bands are cut and encoded; threads of this process where None.
        progress: Called with tiles done and tiles in all.
        options: How.
        selection: Which tiles; all on tissue where None.
        needs: What a worker must have to encode, such as a GPU.

    Returns:
        The tiles and the embeddings.
    """
    options = options or EmbedOptions()
    require_allowed(breaches_of_contract(encoder.spec, {spec.mpp: spec.px for spec in specs}), options)
    key, recipe = encoder.spec.key, fingerprint(**recipe_of(encoder))
    measure = EncodeTiles(key, for_workers(encoder.spec, weights), recipe, options.batch or BATCH)
    how: Any = {"pool": pool, "keep": keep, "progress": progress, "selection": selection, "needs": needs}
    with _lent(measure.digest, encoder):
        store, rows = tile_and_measure(address, specs, out, measure, **how)
    return store, embed(store, encoder, out, address=address, options=options, rows=rows)

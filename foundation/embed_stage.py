"""The stage: every tile of a slide through an encoder, into one store named by everything that determines it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from foundation import embeddings as layout
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder
from foundation.errors import BadFeaturesError, ContractError
from foundation.spec import EncoderSpec
from slides import Address
from tiling.commit import is_committed, staged
from tiling.fingerprint import fingerprint
from tiling.grid import TileGrid
from tiling.store import TileStore

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""
Rows = Mapping[float, NDArray[np.float16]]
"""Scale in um/px -> features [N, D]."""
Batch = tuple[NDArray[np.int64], NDArray[np.uint8]]
_INTERPOLATION = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
_SAME_SCALE = 0.01
"""Scales that differ by less are one: readers round."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How tiles are embedded."""

    batch: int = 16
    """Tiles in a call. The last batch is filled up, for other shapes may take other kernels with other last bits. From
    16 on, torch gives all convolutions of the built-in encoder to oneDNN on one core."""
    threads: int | None = None
    """Batches encoded at once, each on one core; None for as many as there are cores. The bits do not depend on it."""
    override: bool = False
    """Embed at a scale or tile size that the encoder is not meant for; the store then says so."""


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
    wanted = tuple(sorted(store.grid(mpp).mpp for mpp in (store.zooms if zooms is None else set(zooms))))
    breaches = breaches_of_contract(encoder.spec, {mpp: store.grid(mpp).spec.px for mpp in wanted})
    require_allowed(breaches, options)
    name = _fingerprint(store, encoder, wanted, breaches)
    final = out / f"{name}.embeddings.zarr"
    if not is_committed(final):
        task = _Task(store, encoder, address, options, progress, sum(len(store.grid(mpp)) for mpp in wanted))
        with staged(final, kind=layout.KIND, fingerprint=name) as folder:
            layout.write_header(folder, _header(store, encoder, wanted, breaches))
            for mpp in wanted:
                layout.write_zoom(folder, mpp, task.zoom(mpp, None if rows is None else rows[mpp]))
    return Embeddings.open(final)


def breaches_of_contract(spec: EncoderSpec, tiles: Mapping[float, int]) -> tuple[str, ...]:
    """What an encoder would be fed that it is not meant for.

    Args:
        spec: The encoder's.
        tiles: Scale in um/px -> side of its tiles in pixels.

    Returns:
        One sentence a breach; empty when all is well.

    Raises:
        ContractError: If no zoom is asked for.
    """
    if not tiles:
        raise ContractError("Embedding needs at least one zoom.")
    found = []
    for mpp, px in tiles.items():
        if spec.mpp and not any(abs(mpp / meant - 1) < _SAME_SCALE for meant in spec.mpp):
            meant_for = ", ".join(f"{meant:g}" for meant in spec.mpp)
            found.append(f"encoder {spec.key!r} is meant for {meant_for} um/px, not {mpp:g}")
        if px != spec.px:
            found.append(f"encoder {spec.key!r} takes tiles of {spec.px} px, not {px} (at {mpp:g} um/px)")
    return tuple(found)


def require_allowed(breaches: tuple[str, ...], options: EmbedOptions) -> None:
    """Refuse to break a contract that nobody allowed to break.

    Args:
        breaches: What `breaches_of_contract` found.
        options: Hold what the caller allows.

    Raises:
        ContractError: If there are any.
    """
    if breaches and not options.override:
        raise ContractError(f"Refused: {'; '.join(breaches)}. It can be overridden, and is then recorded.")


def _fingerprint(store: TileStore, encoder: Encoder, zooms: Sequence[float], breaches: Sequence[str]) -> str:
    return fingerprint(
        kind=layout.KIND,
        format=layout.FORMAT,
        tiles=store.fingerprint,
        encoder=[encoder.spec.key, encoder.weights_digest, encoder.preprocessing_digest],
        zooms=list(zooms),
        breaches=list(breaches),
    )


def _header(store: TileStore, encoder: Encoder, zooms: Sequence[float], breaches: Sequence[str]) -> dict[str, Any]:
    digests = {"weights_digest": encoder.weights_digest, "preprocessing_digest": encoder.preprocessing_digest}
    return {
        "encoder": {**encoder.spec.to_json(), **digests},
        "slide": store.info.to_json(),
        "tiles_fingerprint": store.fingerprint,
        "zooms": [_zoom_header(store.grid(mpp)) for mpp in zooms],
        "provenance": {"tiles": store.provenance, "overridden": list(breaches)},
    }


def _zoom_header(grid: TileGrid) -> dict[str, Any]:
    spec, extent = grid.spec, [float(side) for side in grid.extent]
    return {"mpp": grid.mpp, "px": spec.px, "overlap": spec.overlap, "tiles": len(grid), "extent": extent}


@dataclass
class _Task:
    """One run over one slide."""

    store: TileStore
    encoder: Encoder
    address: Address | None
    options: EmbedOptions
    progress: Progress | None
    total: int
    done: int = 0

    def zoom(self, mpp: float, rows: NDArray[np.float16] | None) -> dict[str, NDArray[Any]]:
        """All arrays of one zoom."""
        grid = self.store.grid(mpp)
        features = self._features(mpp) if rows is None else rows
        _require_spread(features)
        return {"features": features, "coords": grid.coords, "tissue": grid.tissue, "parent": grid.parent}

    def _features(self, mpp: float) -> NDArray[np.float16]:
        features = np.zeros((len(self.store.grid(mpp)), self.encoder.spec.dim), np.float16)
        for index, rows in self._encoded(self.store.batches(mpp, self.options.batch, self.address)):
            features[index] = usable(rows)
            self._report(len(index))
        return features

    def _encoded(self, batches: Iterable[Batch]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Encode on all cores while the next batches are read, with a bounded number waiting."""
        threads = self.options.threads or len(os.sched_getaffinity(0))
        waiting: deque[tuple[NDArray[np.int64], Future[NDArray[np.float32]]]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="encode") as pool:
            try:
                for index, tiles in batches:
                    waiting.append((index, pool.submit(self._encode, tiles)))
                    if len(waiting) > 2 * threads:
                        ready, future = waiting.popleft()
                        yield ready, future.result()
                yield from ((index, future.result()) for index, future in waiting)
            finally:
                pool.shutdown(cancel_futures=True)

    def _encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return encode_batch(self.encoder, tiles, self.options.batch)

    def _report(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)


def encode_batch(encoder: Encoder, tiles: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
    """Encode a batch of the fixed shape.

    Args:
        encoder: What to run.
        tiles: RGB [n, px, px, 3], n at most `batch`.
        batch: Tiles that the encoder is given; the last one is repeated to fill up.

    Returns:
        [n, D].
    """
    spec = encoder.spec
    if tiles.shape[1] != spec.px:  # only where the caller overrode the contract
        tiles = _resized(tiles, spec.px, spec.interpolation)
    missing = batch - len(tiles)
    filled = np.concatenate([tiles, np.repeat(tiles[-1:], missing, axis=0)]) if missing else tiles
    return encoder.encode(filled)[: len(tiles)]


def _resized(tiles: NDArray[np.uint8], px: int, interpolation: str) -> NDArray[np.uint8]:
    """Tiles of another size; made smaller by area, for the encoder's own way would alias."""
    how = cv2.INTER_AREA if tiles.shape[1] > px else _INTERPOLATION.get(interpolation, cv2.INTER_CUBIC)
    return np.stack([np.asarray(cv2.resize(tile, (px, px), interpolation=how), np.uint8) for tile in tiles])


def usable(rows: NDArray[np.float32]) -> NDArray[np.float16]:
    """Features as they are stored.

    Args:
        rows: [n, D].

    Returns:
        The same as float16.

    Raises:
        BadFeaturesError: If a row is not finite (also as float16), zero, or one number throughout.
    """
    with np.errstate(over="ignore"):
        stored = rows.astype(np.float16)
    if not np.isfinite(stored).all():
        raise BadFeaturesError("The encoder gave features that are not finite numbers or too large to store.")
    if rows.shape[1] > 1 and (np.ptp(stored, axis=1) == 0).any():
        raise BadFeaturesError("The encoder gave a tile features that are all zero or all alike.")
    return stored


def _require_spread(features: NDArray[np.float16]) -> None:
    if len(features) > 1 and (features == features[0]).all():
        raise BadFeaturesError("The encoder gave every tile the same features, so they say nothing.")

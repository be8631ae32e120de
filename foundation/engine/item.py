"""What a run is asked for, and what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.embed_store import Making, write_embeddings
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder
from foundation.engine.sheet import Sheet
from foundation.errors import ContractError
from slides import Address
from tiling.selection import Selection
from tiling.store import TileStore

STAGES = ("open", "segment", "read", "wait", "encode", "write")


@dataclass(frozen=True, slots=True)
class SlideSource:
    """A slide, or a store of its tiles."""

    address: Address | None = None
    """The slide; needed where there is no store, or one without pixels."""
    store: TileStore | Path | None = None
    selection: Selection | None = None
    """Which tiles of a slide; all on tissue where None."""

    @property
    def where(self) -> Address:
        """The slide's address.

        Raises:
            ContractError: If the source is none.
        """
        if self.address is None:
            raise ContractError("A source needs a slide's address or a store.")
        return self.address

    @classmethod
    def of(cls, source: SlideSource | Address | TileStore | Path) -> SlideSource:
        """Say what a source is.

        Args:
            source: A slide's address or file, or an open store.

        Returns:
            It as a source.
        """
        if isinstance(source, SlideSource):
            return source
        if isinstance(source, TileStore):
            return cls(store=source)
        return cls(Address.of(source))


@dataclass(frozen=True, slots=True)
class SlideOutcome:
    """What became of one slide with one encoder."""

    number: int
    """Position of the slide among the sources, from 0."""
    encoder: str
    embeddings: Embeddings | None = None
    error: Exception | None = None
    """Why there are no embeddings."""
    reused: bool = False
    """They were there already."""
    warnings: tuple[str, ...] = ()
    """What is doubtful about the slide."""

    def get(self) -> Embeddings:
        """The embeddings.

        Returns:
            The committed store; what went wrong instead is raised here.

        Raises:
            ContractError: Where an outcome was made of nothing.
        """
        if self.error is not None:
            raise self.error
        if self.embeddings is None:
            raise ContractError("The slide has no embeddings.")
        return self.embeddings


@dataclass(frozen=True, slots=True)
class Reading:
    """A slide whose tiles are all on their way."""

    store: TileStore
    tickets: dict[float, NDArray[np.int64]]
    """Scale in um/px -> the ticket of each tile of its grid."""


@dataclass(eq=False)
class Item:
    """One slide for one encoder."""

    number: int
    encoder: Encoder
    settled: Callable[[Item], None]
    """Called once: all rows are there, or none will be."""
    making: Making | None = None
    reading: Reading | None = None
    found: Embeddings | None = None
    """What was there already."""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.sheet = Sheet(lambda _: self.settled(self))

    def written(self, out: Path, about: Mapping[str, Any]) -> Embeddings:
        """Write the features; all of them must be there.

        Args:
            out: The folder for the store.
            about: More to say in the provenance where features are not those of the CPU.

        Returns:
            The embeddings.

        Raises:
            ContractError: If the slide was never read.
        """
        if self.making is None or self.reading is None:
            raise ContractError("The slide was not read.")
        dim, tickets = self.encoder.spec.dim, self.reading.tickets
        rows = {mpp: self.sheet.features(tickets[mpp], dim) for mpp in self.making.zooms}
        told = {"arithmetic": {**self.making.numbers, **about}} if self.making.numbers else {}
        return write_embeddings(self.making, self.reading.store, out, rows, told)

    def forget(self) -> None:
        """Let go of what is written."""
        self.reading = None
        self.sheet.clear()


@dataclass(frozen=True, eq=False, slots=True)
class Task:
    """One pass over one slide, for the encoders that take the same tiles."""

    source: SlideSource
    items: tuple[Item, ...]
    zooms: tuple[float, ...] | None
    """Scales in um/px; None for all of a store."""
    asked: bool
    """Whether the caller asked for these scales. If not, they are the encoders' own, and a slide gives what it can."""


@dataclass(eq=False)
class Clock:
    """Seconds by stage, of all threads together."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def add(self, stage: str, seconds: float) -> None:
        """Note time that was spent.

        Args:
            stage: One of `STAGES`.
            seconds: How much.
        """
        with self._lock:
            self.seconds[stage] += seconds

    @contextmanager
    def spent(self, stage: str) -> Iterator[None]:
        """Note how long something takes, also where it fails.

        Args:
            stage: One of `STAGES`.

        Yields:
            Nothing.
        """
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - begin)

    def waited(self, seconds: float) -> None:
        """Note that a reader waited in the middle of its reading, whose time is added as a whole.

        Args:
            seconds: How long.
        """
        self.add("wait", seconds)
        self.add("read", -seconds)


@dataclass(eq=False)
class Tally:
    """How far a run is."""

    listener: Callable[[int, int], None] | None
    done: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def add(self, done: int = 0, total: int = 0) -> None:
        """Note tiles.

        Args:
            done: So many more are encoded.
            total: So many more will be.
        """
        with self._lock:
            self.done += done
            self.total += total
            if self.listener is not None:
                self.listener(self.done, max(self.done, self.total))

"""One child and the slide it has open, seen from the parent: ask it, and notice when it dies."""

from __future__ import annotations

import math
import os
import queue
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import slides.errors
from slides.errors import BadMppError, DamagedSlideError, RegionError, SlideCrashedError, SlideError
from slides.guard import visible
from slides.guard_limits import require_image
from slides.info import SlideInfo
from slides.jail import quarantine, wire
from slides.jail.child import address_to_json
from slides.jail.launcher import BROKEN, Zygote, zygote
from slides.jail.slots import KEPT_BYTES, Slots
from slides.jail.spec import Jail
from slides.slide import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from slides.info import Address

SLOWEST_DISK: Final = 20e6
"""Bytes a second: opening reads the whole file once for its hash."""
SLOWEST_PX: Final = 1e6
"""Pixels a second: JPEG 2000 on a core that many share."""
SLOWEST_DECODER: Final = 1e6
"""Compressed bytes a second, likewise: a small file that claims many pixels gets no time for them."""
HASH: Final = re.compile(r"[0-9a-f]{64}")
MOST_WARNINGS: Final = 64
MOST_TEXT: Final = 2000
"""Characters of a child's sentence; one that was taken over may say anything."""
LENT: Final = 4
"""Answers that callers may hold without a copy: a reader ahead of an encoder holds two."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a child says of its slide."""

    info: SlideInfo
    sources: tuple[Source, ...]
    reads_sparsely: bool
    known: list[Any]
    """What it learnt that makes opening the slide quick the next time."""
    layers: dict[str, int]
    """What it gave up, see `confine`."""


class Cell:
    """A child with one slide.

    Args:
        address: The slide and its jail.
        known: What an earlier child of this slide learnt.

    A `SlideError` of the child is raised here; `SlideCrashedError` if it died, `QuarantinedSlideError` if that
    happened too often before.
    """

    def __init__(self, address: Address, known: list[Any]) -> None:
        self._jail = address.jail or Jail()
        self._path = address.path
        self._deaths = quarantine.folder_of(self._jail.quarantine)
        self._lock = threading.Lock()
        self.last_words: wire.Message | None = None
        quarantine.require_free(self._deaths, self._path)
        threads = self._jail.threads
        self._slots = Slots(threads, LENT)
        self._free: queue.LifoQueue[socket.socket | None] = queue.LifoQueue()
        self._bytes = quarantine.total_bytes(self._path)
        order = {
            "address": address_to_json(address),
            "readable": [str(place) for place in visible(self._path)],
            "memory": self._jail.memory_bytes,
            "shared": self._bytes + (threads + LENT) * KEPT_BYTES + self._jail.memory_bytes,
            "connections": threads,
            "known": known,
        }
        self._zygote, self._process = self._launch(order)
        try:
            with self._turn() as connection:
                seconds = self._jail.seconds + self._bytes / SLOWEST_DISK
                self.opened = self._understand(self._ask(connection, {}, seconds))
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the child still answers."""
        return self.last_words is None and self._zygote.alive

    def read(self, request: wire.Message, shape: tuple[int, ...], native_px: float) -> NDArray[np.uint8]:
        """Have the child put pixels into shared memory.

        Args:
            request: What to do.
            shape: The largest that the answer may be.
            native_px: Pixels that it has to decode, which is what takes time.

        Returns:
            The answer.
        """
        seconds = self._jail.seconds + min(native_px / SLOWEST_PX, self._bytes / SLOWEST_DECODER)
        with self._turn() as connection:
            slot = self._slots.take()
            try:
                order = {**request, "slot": slot.number, "bytes": slot.grow(math.prod(shape))}
                answer = self._ask(connection, order, seconds)
                found = self._checked_shape(answer, shape)
            except BaseException:
                self._slots.give(slot)
                raise
            return self._slots.hand_out(slot, found)

    def close(self) -> None:
        """End the child; what it gave stays good."""
        self._bury()
        while not self._free.empty():
            connection = self._free.get()
            if connection is not None:
                connection.close()
        self._free.put(None)  # for whoever still waits for one
        self._slots.close()

    def _launch(self, order: wire.Message) -> tuple[Zygote, int]:
        """Fork a child; this end of its connections is kept.

        Raises:
            SlideError: If there is nobody to fork it.
        """
        pairs = [socket.socketpair() for _ in range(self._jail.threads)]
        for ours, _ in reversed(pairs):  # the last one put in is the first one taken, and gets the first answer
            self._free.put(ours)
        theirs = [other.fileno() for _, other in pairs] + [slot.handle for slot in self._slots.all]
        try:
            running = zygote()
            return running, running.fork(order, theirs)
        except BROKEN as error:
            for ours, _ in pairs:
                ours.close()
            self._slots.close()
            msg = "the process that isolates slides has ended"
            raise SlideError(msg) from error
        finally:
            for _, other in pairs:
                other.close()

    @contextmanager
    def _turn(self) -> Iterator[socket.socket]:
        """One of the connections, once it is free.

        Raises:
            SlideError: If the cell is closed.
        """
        connection = self._free.get()
        try:
            if connection is None:
                msg = "the slide is closed"
                raise SlideError(msg)
            yield connection
        finally:
            with self._lock:
                if connection is not None and self.last_words is not None:
                    connection.close()
                    connection = None  # wakes whoever waits, as `close` does
                self._free.put(connection)

    def _ask(self, connection: socket.socket, request: wire.Message, seconds: float) -> wire.Message:
        """Send a request, none to hear the first answer, and wait; errors of the child become errors here."""
        begin = time.monotonic()
        try:
            if request:
                wire.send(connection, request)
            answer = wire.receive(connection, seconds)
        except TimeoutError:
            self._died(f"it took longer than {time.monotonic() - begin:.0f} s", None)
        except BROKEN as error:
            self._died("", error)
        except BaseException:  # interrupted: the answer would be taken for that to the next request
            self._bury()
            raise
        if "error" in answer:
            _raise(answer)
        return answer

    def _bury(self, cause: str | None = None) -> None:
        """End the child, once. A cause makes it a death that counts, unless its whole family went with the zygote."""
        with self._lock:
            if self.last_words is not None:
                return
            self.last_words = {"exit": 0}
            if self._zygote.owner != os.getpid():  # this process is a fork; the child is another's
                return
            with suppress(*BROKEN):
                self.last_words = self._zygote.bury(self._process)
                if cause is not None:
                    how = cause or f"it ended with status {self.last_words['exit']}"
                    quarantine.remember(self._deaths, self._path, how)

    def _died(self, cause: str, error: BaseException | None) -> NoReturn:
        """Count a death.

        Raises:
            SlideCrashedError: Always.
        """
        self._bury(cause)
        status = int((self.last_words or {"exit": 0})["exit"])
        why = cause or (f"signal {-status}" if status < 0 else "it ended by itself")
        msg = f"the slide crashed the process that decodes it: {why}"
        raise SlideCrashedError(msg) from error

    def _understand(self, answer: wire.Message) -> Opened:
        """The child's description of its slide; one that makes no sense counts as a crash."""
        try:
            info = SlideInfo.from_json(answer["info"])
            _require_plain(info)
            sources = tuple(Source(**source) for source in answer["sources"])
            return Opened(info, sources, bool(answer["sparse"]), answer["known"], answer["layers"])
        except (KeyError, TypeError, ValueError, AttributeError, BadMppError, RegionError) as error:
            self._died("it answered nonsense", error)

    def _checked_shape(self, answer: wire.Message, most: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an answer, which must fit into the memory that was set aside for it."""
        shape = answer.get("shape")
        if not isinstance(shape, list) or len(shape) != len(most):
            self._died("it answered nonsense", None)
        if not all(isinstance(side, int) and 0 < side <= limit for side, limit in zip(shape, most, strict=True)):
            self._died("it answered nonsense", None)
        return tuple(shape)


def _require_plain(info: SlideInfo) -> None:
    """What a child says becomes names of stores and text of reports: refuse what no reader of ours says.

    Raises:
        ValueError: If it is not plain.
    """
    texts = (info.format, info.reader, info.reader_reason, info.mpp_source, info.decode, *info.warnings)
    sides = [side for size in (info.size, *(level.size for level in info.levels)) for side in (size.width, size.height)]
    plain = all(type(text) is str and len(text) <= MOST_TEXT and text.isprintable() for text in texts)
    whole = all(type(side) is int for side in sides) and len(info.warnings) <= MOST_WARNINGS
    if not (plain and whole and HASH.fullmatch(info.content_hash)):
        raise ValueError
    for level in info.levels:
        require_image(level.size.width, level.size.height)


def _raise(answer: wire.Message) -> NoReturn:
    """Raise what a child reports."""
    kind = getattr(slides.errors, str(answer["error"]), None)
    detail = str(answer.get("detail"))
    known = isinstance(kind, type) and issubclass(kind, SlideError)
    plain = len(detail) <= MOST_TEXT and detail.isprintable()
    raise (kind if known and kind else DamagedSlideError)(detail if plain else "the slide cannot be read")

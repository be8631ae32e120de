"""One child and the slide it has open, seen from the parent: ask it, and notice when it dies."""

from __future__ import annotations

import math
import os
import queue
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from slides.errors import SlideCrashedError, SlideError
from slides.guard import visible
from slides.jail import quarantine, wire
from slides.jail.answer import NONSENSE, Opened, checked_shape, raise_reported, understood
from slides.jail.child import address_to_json
from slides.jail.launcher import BROKEN, Zygote, unavailable, zygote
from slides.jail.slots import KEPT_BYTES, Slots
from slides.jail.spec import Jail
from slides.slide import MAX_READ_PX

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
LENT: Final = 4
"""Answers that callers may hold without a copy: a reader ahead of an encoder holds two."""
CPU_CLOCK: Final = 2
"""With a process number, names the clock of that process's processor time (`clock_getcpuclockid`)."""
LIFE: Final = 3600.0
"""Seconds of processor time after which a child makes room for a new one, so that all of them can have a hard limit."""
CLOSED: Final = (SlideError, "the slide is closed")
INTERRUPTED: Final = (SlideError, "the process that decodes the slide was ended because a read was interrupted")


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
        self._inside, self._closed = 0, False
        self._end: tuple[type[SlideError], str] | None = None
        """What to tell those who come, once the child has ended."""
        self.last_words: wire.Message | None = None
        quarantine.require_free(self._deaths, self._path)
        self._bytes = quarantine.total_bytes(self._path)
        self._free: queue.LifoQueue[socket.socket] = queue.LifoQueue()
        self._zygote, self._process = self._started(address, known)
        try:
            with self._turn() as connection:
                self.opened = self._understand(self._ask(connection, {}, self._opening))
        except BaseException:
            self.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether the child still answers, and has time left for more than it is at."""
        if self._end is not None or not self._zygote.alive:
            return False
        try:
            return time.clock_gettime(~self._process << 3 | CPU_CLOCK) < LIFE
        except OSError:  # it has ended this moment
            return False

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
        """End the child; what it gave stays good. Whoever still waits for it is told so, and the last one cleans up."""
        self._bury(CLOSED)
        with self._lock:
            self._closed = True
            left = self._inside == 0
        if left:
            self._release()

    def _release(self) -> None:
        """Give back what was open."""
        with suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()
        self._slots.close()

    @property
    def _opening(self) -> float:
        """Seconds that opening may take."""
        return self._jail.seconds + self._bytes / SLOWEST_DISK

    def _started(self, address: Address, known: list[Any]) -> tuple[Zygote, int]:
        """Fork a child; nothing stays open where that fails.

        Raises:
            SlideError: If the machine has no room for it.
        """
        threads, memory = self._jail.threads, self._jail.memory_bytes
        longest = self._opening + self._bytes / SLOWEST_DECODER
        order = {
            "address": address_to_json(address),
            "readable": [str(place) for place in visible(self._path)],
            "memory": memory,
            "shared": self._bytes + (threads + LENT) * KEPT_BYTES + min(memory, 3 * MAX_READ_PX),
            "seconds": self._opening,
            "life": math.ceil(LIFE + 2 * threads * longest),
            "connections": threads,
            "known": known,
        }
        try:
            self._slots = Slots(threads, LENT)
        except OSError as error:
            raise SlideError(unavailable(error)) from error
        try:
            return self._launch(order)
        except BROKEN as error:
            self._release()
            raise SlideError(unavailable(error)) from error
        except BaseException:
            self._release()
            raise

    def _launch(self, order: wire.Message) -> tuple[Zygote, int]:
        """Fork a child; this end of its connections is kept."""
        with ExitStack() as passed:
            handles: list[int] = []
            for _ in range(order["connections"]):
                ours, theirs = socket.socketpair()
                self._free.put(ours)
                handles.insert(0, passed.enter_context(theirs).fileno())  # the last one put in is the first one taken
            running = zygote()
            return running, running.fork(order, handles + [slot.handle for slot in self._slots.all])

    @contextmanager
    def _turn(self) -> Iterator[socket.socket]:
        """One of the connections, once it is free; while anybody is here, nothing is cleaned up."""
        with self._lock:
            self._require_running()
            self._inside += 1
        try:
            connection = self._free.get()
            try:
                self._require_running()
                yield connection
            finally:
                self._free.put(connection)
        finally:
            with self._lock:
                self._inside -= 1
                left = self._closed and self._inside == 0
            if left:
                self._release()

    def _require_running(self) -> None:
        """Refuse to ask a child that has ended, saying why it did."""
        if self._end is not None:
            kind, detail = self._end
            raise kind(detail)

    def _ask(self, connection: socket.socket, request: wire.Message, seconds: float) -> wire.Message:
        """Send a request, none to hear the first answer, and wait; errors of the child become errors here."""
        begin = time.monotonic()
        try:
            if request:
                wire.send(connection, {**request, "seconds": seconds})
            answer = wire.receive(connection, seconds)
        except TimeoutError:
            self._died(f"it took longer than {time.monotonic() - begin:.0f} s", None)
        except BROKEN as error:
            self._died("", error)
        except BaseException:  # the answer would be taken for that to the next request
            self._bury(INTERRUPTED)
            raise
        if "error" in answer:
            raise_reported(answer)
        return answer

    def _bury(self, end: tuple[type[SlideError], str] | None, cause: str = "") -> None:
        """End the child, once.

        Args:
            end: What to tell whoever comes; None if it died of its slide. Then that counts, unless its whole family
                went with the zygote.
            cause: What it died of, if its status does not say it.
        """
        with self._lock:
            if self._end is not None:
                return
            self.last_words = {"exit": 0}
            try:
                if self._zygote.owner == os.getpid():  # else this process is a fork; the child is another's
                    with suppress(*BROKEN):
                        self.last_words = self._zygote.bury(self._process)
                        cause = cause or _cause(self.last_words["exit"])
                        noted = end is not None or quarantine.remember(self._deaths, self._path, cause)
                        cause += "" if noted else "; this could not be written down, see `oncoscope doctor`"
            finally:
                self._end = end or (SlideCrashedError, f"the slide crashed the process that decodes it: {cause}")

    def _died(self, cause: str, error: BaseException | None) -> NoReturn:
        """Count a death, and tell it; another error than `SlideCrashedError` if somebody here ended the child."""
        self._bury(None, cause)
        kind, detail = self._end or CLOSED
        raise kind(detail) from error

    def _understand(self, answer: wire.Message) -> Opened:
        """The child's description of its slide; one that makes no sense counts as a crash."""
        try:
            return understood(answer)
        except NONSENSE as error:
            self._died("it answered nonsense", error)

    def _checked_shape(self, answer: wire.Message, most: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an answer, which must fit into the memory that was set aside for it."""
        try:
            return checked_shape(answer, most)
        except NONSENSE as error:
            self._died("it answered nonsense", error)


def _cause(status: int) -> str:
    """What a child died of, by its status."""
    if status == -signal.SIGXCPU:
        return "it took too much processor time"
    return f"signal {-status}" if status < 0 else "it ended by itself"

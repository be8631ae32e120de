"""The process that decodes one slide: it confines itself, opens the slide, and answers requests until it is alone."""

from __future__ import annotations

import math
import mmap
import os
import resource
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from slides import identity, plugins
from slides.errors import SlideError
from slides.geometry import Region, Size
from slides.info import Address
from slides.jail import wire
from slides.jail.confine import confine, lower
from slides.jail.slots import KEPT_BYTES
from slides.slide import Source
from slides.units import Mpp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from slides.slide import Slide

TOO_MUCH: Final = "decoding the slide needs more memory than a slide may take"
NOT_UNDERSTOOD: Final = "the slide is damaged: its reader cannot make sense of what it says"


class Windows:
    """The shared memory of the answers, seen from the child.

    Args:
        handles: One a slot, in their order.
    """

    def __init__(self, handles: list[int]) -> None:
        self._handles = handles
        self._maps: dict[int, mmap.mmap] = {}

    def view(self, request: wire.Message, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Where to put an answer.

        Args:
            request: Names the `slot` and the `bytes` it has.
            shape: Of the answer.

        Returns:
            An array over the shared memory.

        Raises:
            MemoryError: If there are too many addresses in use.
        """
        slot, length = request["slot"], request["bytes"]
        mapped = self._maps.pop(slot, None)
        if mapped is None or len(mapped) != length:
            try:
                mapped = mmap.mmap(self._handles[slot], length)
            except OSError as error:
                raise MemoryError from error
        if length <= KEPT_BYTES:
            self._maps[slot] = mapped
        return np.ndarray(shape, np.uint8, buffer=mapped)


class Allowance:
    """Processor time: for the requests under way as much as the clock leaves them, and none for anything else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due = 0.0

    @contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """Allow for a request.

        Args:
            seconds: What all threads may spend on it.
        """
        with self._lock:
            self._due += seconds
            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (min(math.ceil(time.process_time() + self._due), hard), hard))
        try:
            yield
        finally:
            with self._lock:
                self._due -= seconds


_allowance = Allowance()


def live(order: wire.Message, connections: list[socket.socket], handles: list[int]) -> NoReturn:
    """Be the child: never returns.

    Args:
        order: What to open, and within which limits.
        connections: One for each request that may be under way.
        handles: Shared memory for the answers.
    """
    lower(resource.RLIMIT_CPU, order["life"])
    slide = _begin(order, connections[0])
    if slide is not None:
        windows = Windows(handles)
        threads = [threading.Thread(target=_serve, args=(slide, each, windows)) for each in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    os._exit(0)


def address_to_json(address: Address) -> wire.Message:
    """An address without its jail.

    Args:
        address: The slide.

    Returns:
        What `address_from_json` reads.
    """
    return asdict(replace(address, jail=None))


def address_from_json(document: wire.Message) -> Address:
    """Read what `address_to_json` wrote.

    Args:
        document: The JSON object.

    Returns:
        The address.
    """
    mpp0 = None if document["mpp0"] is None else Mpp(**document["mpp0"])
    return Address(**{**document, "mpp0": mpp0})


def _begin(order: wire.Message, connection: socket.socket) -> Slide | None:
    """Confine the process, open the slide and describe it; None where that failed, which the parent then knows."""
    opened: list[Slide] = []

    def describe() -> wire.Message:
        layers = confine(order["memory"], order["shared"], [Path(place) for place in order["readable"]])
        identity.recall({tuple(key): digest for key, digest in order["known"]})
        slide = plugins.open_here(address_from_json(order["address"]))
        opened.append(slide)
        return {
            "info": slide.info.to_json(),
            "sources": [asdict(source) for source in slide.sources],
            "sparse": slide.reads_sparsely,
            "known": [[list(key), digest] for key, digest in identity.recalled().items()],
            "layers": layers,
        }

    with _allowance.of(order["seconds"]):
        wire.send(connection, _guarded(describe))
    return opened[0] if opened else None


def _serve(slide: Slide, connection: socket.socket, windows: Windows) -> None:
    """Answer the requests of one connection; when the parent is gone, so is this process."""
    try:
        while True:
            request = wire.receive(connection)
            with _allowance.of(request["seconds"]):
                wire.send(connection, _guarded(lambda: ANSWERS[request["do"]](slide, request, windows)))  # noqa: B023 - it is called at once
    finally:
        os._exit(0)


def _guarded(work: Callable[[], wire.Message]) -> wire.Message:
    """What work gives, or its error in words that name nothing."""
    try:
        return work()
    except SlideError as error:
        return {"error": type(error).__name__, "detail": str(error)}
    except MemoryError:
        return {"error": "DamagedSlideError", "detail": TOO_MUCH}
    except Exception:  # noqa: BLE001 - a broken slide breaks its reader in any way
        return {"error": "DamagedSlideError", "detail": NOT_UNDERSTOOD}


def _tiles(slide: Slide, request: wire.Message, windows: Windows) -> wire.Message:
    regions = [Region(*region) for region in request["regions"]]
    wanted = Size(*request["wanted"])
    shape = (len(regions), wanted.height, wanted.width, 3)
    slide.read_tiles(regions, wanted, windows.view(request, shape))
    return {"shape": list(shape)}


def _overview(slide: Slide, request: wire.Message, windows: Windows) -> wire.Message:
    return _put(slide.read_overview(Region(*request["region"]), Size(*request["wanted"])), request, windows)


def _source(slide: Slide, request: wire.Message, windows: Windows) -> wire.Message:
    source, size = Source(**request["source"]), Size(*request["size"])
    image = slide._read_source(source, request["x"], request["y"], size)  # noqa: SLF001 - the same method, over there
    return _put(image, request, windows)


def _put(image: NDArray[np.uint8], request: wire.Message, windows: Windows) -> wire.Message:
    windows.view(request, image.shape)[:] = image
    return {"shape": list(image.shape)}


ANSWERS: Final[dict[str, Callable[[Any, wire.Message, Windows], wire.Message]]] = {
    "tiles": _tiles,
    "overview": _overview,
    "source": _source,
}

"""Which cells this process has: a slide that is opened again soon, or by several threads, finds its child running."""

from __future__ import annotations

import atexit
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from slides.info import Address
from slides.jail.cell import Cell

IDLE: Final = 2
"""Children without work that are kept: one a slide that a cohort is at. Each holds its slide open."""

Key = tuple[Address, int, int, int]
"""An address, and what changes when the file there does."""


@dataclass(slots=True)
class _Place:
    """Where the cell of one slide is, or will be once whoever came first has started it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    cell: Cell | None = None
    users: int = 0


_lock = threading.Lock()
_places: OrderedDict[Key, _Place] = OrderedDict()
"""The idle ones in the order in which they were left."""


def enter(address: Address) -> tuple[Key, Cell]:
    """Get a running cell for a slide.

    Args:
        address: The slide and its jail.

    Returns:
        What `leave` needs, and the cell.
    """
    found = address.path.stat()
    key = (address, found.st_size, found.st_mtime_ns, found.st_ino)
    with _lock:
        place = _places.setdefault(key, _Place())
        place.users += 1
    try:
        with place.lock:
            if place.cell is None or not place.cell.alive:
                if place.cell is not None:
                    place.cell.close()
                place.cell = None
                place.cell = Cell(address, _learnt(key))
                _learnt(key)[:] = place.cell.opened.known
            return key, place.cell
    except BaseException:
        leave(key)
        raise


def leave(key: Key) -> None:
    """Let a cell go; it stays for a while for whoever comes next.

    Args:
        key: What `enter` gave.
    """
    with _lock:
        place = _places.get(key)
        if place is None:  # this process is about to end
            return
        place.users -= 1
        _places.move_to_end(key)
        idle = [each for each, other in _places.items() if other.users == 0]
        empty = [each for each in idle if _places[each].cell is None]
        gone = [_places.pop(each) for each in dict.fromkeys([*empty, *idle[: max(0, len(idle) - IDLE)]])]
    for place in gone:
        if place.cell is not None:
            place.cell.close()


def clear() -> None:
    """End all cells that nobody uses."""
    _close(lambda place: place.users == 0)


def _close(chosen: Callable[[_Place], bool]) -> None:
    """End some cells."""
    with _lock:
        gone = [_places.pop(key) for key, place in list(_places.items()) if chosen(place)]
    for place in gone:
        if place.cell is not None:
            place.cell.close()


@lru_cache(maxsize=256)
def _learnt(_key: Key) -> list[Any]:
    """What children of a slide have learnt, for the next one."""
    return []


atexit.register(_close, lambda _place: True)

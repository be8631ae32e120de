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


@dataclass(slots=True, eq=False)
class Place:
    """Where the cell of one slide is, or will be once whoever came first has started it."""

    key: Key
    lock: threading.Lock = field(default_factory=threading.Lock)
    cell: Cell | None = None
    users: int = 0

    @property
    def ended(self) -> bool:
        """Whether it had a cell that is of no more use."""
        return self.cell is not None and not self.cell.usable

    def close(self) -> None:
        """End the cell."""
        if self.cell is not None:
            self.cell.close()


_lock = threading.Lock()
_places: OrderedDict[Key, Place] = OrderedDict()
"""The idle ones in the order in which they were left. A place whose cell has ended belongs to its last users alone."""


def enter(address: Address) -> tuple[Place, Cell]:
    """Get a running cell for a slide.

    Args:
        address: The slide and its jail.

    Returns:
        What `leave` needs, and the cell.
    """
    found = address.path.stat()
    key = (address, found.st_size, found.st_mtime_ns, found.st_ino)
    place = _join(key)
    try:
        with place.lock:
            if place.cell is None:
                place.cell = Cell(address, _learnt(key))
                _learnt(key)[:] = place.cell.opened.known
            return place, place.cell
    except BaseException:
        leave(place)
        raise


def _join(key: Key) -> Place:
    """Become a user of the place of a slide, of a new one where the cell there has ended."""
    with _lock:
        place = _places.get(key)
        old = _places.pop(key) if place is not None and place.ended else None
        place = _places.setdefault(key, Place(key))
        place.users += 1
    if old is not None and old.users == 0:
        old.close()
    return place


def leave(place: Place) -> None:
    """Let a cell go; it stays for a while for whoever comes next, unless it has ended.

    Args:
        place: What `enter` gave.
    """
    with _lock:
        place.users -= 1
        if _places.get(place.key) is place:
            _places.move_to_end(place.key)
        idle = [each for each in _places.values() if each.users == 0]
        gone = [each for each in idle if each.cell is None or each.ended]
        kept = [each for each in idle if each not in gone]
        gone += kept[: max(0, len(kept) - IDLE)]
        for each in gone:
            del _places[each.key]
        if place.users == 0 and _places.get(place.key) is not place:
            gone.append(place)
    for each in gone:
        each.close()


def clear() -> None:
    """End all cells that nobody uses."""
    _close(lambda place: place.users == 0)


def _close(chosen: Callable[[Place], bool]) -> None:
    """End some cells."""
    with _lock:
        gone = [_places.pop(key) for key, place in list(_places.items()) if chosen(place)]
    for place in gone:
        place.close()


@lru_cache(maxsize=256)
def _learnt(_key: Key) -> list[Any]:
    """What children of a slide have learnt, for the next one."""
    return []


atexit.register(_close, lambda _place: True)

"""A progress bar, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiling.progress import Event, Progress

Counts = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


@contextmanager
def progress(unit: str) -> Iterator[Counts | None]:
    """Show how far a long work is.

    Args:
        unit: What is counted.

    Yields:
        What the work is to call, or None where nobody looks.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", leave=False, dynamic_ncols=True, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


@contextmanager
def events() -> Iterator[Callable[[Event], None] | None]:
    """Show slides, tiles, tiles/s and the time left.

    Yields:
        What is to be called with events, or None where nobody looks.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    layout = "{percentage:3.0f}% |{bar:20}| {desc}"
    with tqdm(total=1.0, bar_format=layout, leave=False, dynamic_ncols=True, file=sys.stderr) as bar:

        def show(event: Event) -> None:
            bar.n = event.share
            bar.set_description_str(words(event))  # draws it too

        yield show


@contextmanager
def one_slide() -> Iterator[Counts | None]:
    """The same for a slide that is followed tile by tile.

    Yields:
        What is to be called with tiles done and tiles in all, or None where nobody looks.
    """
    with events() as show:
        yield None if show is None else Progress(show).slide()


def words(event: Event) -> str:
    """An event in a few words.

    Args:
        event: The event.

    Returns:
        Such as `3/10 slides, 5200 tiles, 310 tiles/s, 2:05 left`; what is not known yet is left out.
    """
    one = event.slides == 1
    counted = f"{event.tiles_done}/{event.tiles} tiles" if one else f"{event.tiles_done} tiles"
    parts = [] if one else [f"{event.slides_done}/{event.slides} slides"]
    parts += [counted] if event.tiles else []
    parts += [] if event.tiles_per_s is None else [f"{event.tiles_per_s:.0f} tiles/s"]
    parts += [] if event.eta_s is None else [f"{_clock(event.eta_s)} left"]
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    """`2:05`, `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

"""Progress: counts, a rate that does not jump, time left, one bar on a terminal and nothing in a pipe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.progress import words
from slides.testing import write_slide
from tiling import Event, Progress

ROOT = Path(__file__).resolve().parents[1]


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def followed(slides: int = 1) -> tuple[Progress, list[Event], Clock]:
    events: list[Event] = []
    clock = Clock()
    return Progress(events.append, slides, clock=clock), events, clock


def test_one_slide_tile_by_tile() -> None:
    progress, events, clock = followed()
    show = progress.slide()
    for done in range(0, 1001, 100):
        show(done, 1000)
        clock.now += 2
    first, middle, last = events[0], events[5], events[10]
    assert (first.tiles_per_s, first.eta_s, first.share) == (None, None, 0)
    assert (middle.slides_done, middle.tiles_done, middle.tiles, middle.seconds) == (0, 500, 1000, 10)
    assert middle.tiles_per_s == pytest.approx(50)
    assert middle.eta_s == pytest.approx(10)
    assert middle.share == 0.5
    assert (last.slides_done, last.tiles_done, last.eta_s, last.share) == (1, 1000, 0, 1)


def test_many_slides_and_those_not_looked_at_count_as_the_mean() -> None:
    progress, events, clock = followed(slides=5)
    progress.settle(1)  # known from an earlier run: no tiles, no time
    assert (events[-1].share, events[-1].eta_s) == (0.2, None)
    for done, tiles in ((2, 300), (3, 500)):
        clock.now += 40
        progress.settle(done, tiles)
    assert (events[-1].slides_done, events[-1].tiles_done, events[-1].tiles) == (3, 800, 800)
    rate = events[-1].tiles_per_s
    assert rate is not None
    assert 300 / 40 < rate < 500 / 40
    assert events[-1].eta_s == pytest.approx(2 * 400 / rate)


def test_several_slides_at_once() -> None:
    progress, events, clock = followed(slides=2)
    one, other = progress.slide(), progress.slide()
    clock.now += 1
    one(10, 100)
    other(30, 50)
    clock.now += 1
    one(100, 100)
    assert (events[-1].slides_done, events[-1].tiles_done, events[-1].tiles) == (1, 130, 150)
    other(50, 50)
    other(50, 50)
    assert (events[-1].slides_done, events[-1].tiles_done, events[-1].tiles) == (2, 150, 150)


@given(st.lists(st.floats(0, 600), min_size=2, max_size=40))
def test_the_rate_stays_between_the_slowest_and_the_fastest(steps: list[float]) -> None:
    progress, events, clock = followed(slides=len(steps))
    rates, fresh, since = [], 0, clock.now
    for number, step in enumerate(steps, 1):
        clock.now += step
        fresh += 100
        if clock.now - since >= 0.25:
            rates.append(fresh / (clock.now - since))
            fresh, since = 0, clock.now
        progress.settle(number, 100)
    told = [event.tiles_per_s for event in events if event.tiles_per_s is not None]
    assert bool(told) == bool(rates)
    assert all(min(rates) * 0.999 <= rate <= max(rates) * 1.001 for rate in told)
    assert all(event.eta_s is None or event.eta_s >= 0 for event in events)


def test_slides_that_end_minutes_apart_do_not_make_it_jump() -> None:
    progress, events, clock = followed(slides=40)
    for number in range(40):
        clock.now += 590 if number % 2 else 10  # two workers, a step apart
        progress.settle(number + 1, 6000)
    late = [event.tiles_per_s or 0 for event in events[20:]]
    assert max(late) / min(late) < 4  # unsmoothed it is 59
    assert sum(late) / len(late) == pytest.approx(20, rel=0.5)


def test_the_document_is_json() -> None:
    event = Event(1, 2, 300, 300, 12.3456, 24.3, None)
    assert json.loads(json.dumps(event.to_json())) == {
        "slides_done": 1,
        "slides": 2,
        "tiles_done": 300,
        "tiles": 300,
        "seconds": 12.35,
        "tiles_per_s": 24.3,
        "eta_s": None,
    }


def test_words() -> None:
    assert words(Event(3, 10, 5200, 5200, 17, 310.2, 125)) == "3/10 slides, 5200 tiles, 310 tiles/s, 2:05 left"
    assert words(Event(0, 1, 50, 200, 1, 49.6, 3725)) == "50/200 tiles, 50 tiles/s, 1:02:05 left"
    assert words(Event(0, 4, 0, 0, 1)) == "0/4 slides"


def test_a_terminal_has_a_bar_and_a_pipe_has_none(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.svs", size=(2600, 1700), seed=3)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def command(out: str) -> list[str]:
        return [sys.executable, "-m", "api.cli", "tile", str(slide), "--out", str(tmp_path / out), "--mpp", "0.5"]

    piped = subprocess.run(command("a"), env=environment, capture_output=True, text=True, check=True)
    assert piped.stderr == ""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen(command("b"), env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the other side is closed
            os.close(ours)
        assert process.wait(timeout=60) == 0
    assert "tiles" in shown.decode()
    assert "100%" in shown.decode()

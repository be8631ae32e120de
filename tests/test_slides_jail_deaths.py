"""Where a jail meets an end: no child can be started, one dies under those who wait, or a death cannot be noted."""

from __future__ import annotations

import gc
import os
import pwd
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from api.cli import doctor
from slides import Address, QuarantinedSlideError, Region, SlideCrashedError, SlideError, open_slide
from slides.jail import keeper, launcher, quarantine
from slides.jail.slide import JailedSlide
from slides.jail.slots import Slots
from slides.jail.spec import Jail
from slides.testing import write_slide

ROOT = Path(__file__).resolve().parents[1]
SPOT = Region(100, 100, 300, 300)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[Address]:
    path = write_slide(tmp_path / "made.svs", size=(1200, 900), seed=3)
    yield Address(str(path), jail=Jail(quarantine=str(tmp_path / "deaths")))
    keeper.clear()


def opened(address: Address) -> JailedSlide:
    slide = open_slide(address)
    assert isinstance(slide, JailedSlide)
    return slide


def handles() -> set[tuple[str, str]]:
    """Open files by number and by what they lead to: what threads of other tests close meanwhile does not count."""
    gc.collect()
    found = set()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            found.add((handle.name, str(handle.readlink())))
    return found


def kill(slide: JailedSlide, how: int) -> None:
    """End the child of a slide, and wait until it has ended."""
    process, end = slide._cell._process, time.monotonic() + 10
    os.kill(process, how)
    while Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.002)


def run(script: str, *arguments: str) -> str:
    """What a script says that ruins its process."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_stays_open_where_no_child_can_be_started(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    open_slide(address).close()
    keeper.clear()
    launcher.stop()
    before = handles()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        for _ in range(3):
            with pytest.raises(SlideError, match="cannot be started"):
                open_slide(address)
    assert handles() <= before
    open_slide(address).close()


EXHAUSTED = """
import os, resource, sys
from slides import Address, SlideError, open_slide
from slides.errors import SlideNotFoundError
from slides.jail import launcher
from slides.jail.spec import Jail

def handles():
    return len(os.listdir("/proc/self/fd"))

launcher.zygote()
address = Address(sys.argv[1], jail=Jail(quarantine=sys.argv[2]))
before = handles()
for room in range(1, 26):
    resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + room, 4096))
    try:
        open_slide(address).close()
        print("opened")
        break
    except SlideError as error:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        print(type(error).__name__, "left open:", handles() - before, error)
"""


def test_a_process_with_too_many_open_files_is_told_so(address: Address) -> None:
    *failed, last = run(EXHAUSTED, address.location, str(address.jail and address.jail.quarantine)).splitlines()
    assert last == "opened"
    assert len(failed) > 10
    assert {re.sub(r" this machine.*", "", line) for line in failed} == {"SlideError left open: 0"}, failed


def test_whoever_waits_for_a_child_that_dies_hears_of_its_death(address: Address) -> None:
    heard: list[str] = []
    launcher.zygote()
    before = handles()
    with opened(address) as slide:
        expected = slide.read(SPOT).copy()

        def read() -> None:
            try:
                slide._cell.read(request, (1, 300, 300, 3), 1.0)
            except SlideError as error:
                heard.append(f"{type(error).__name__}: {error}")

        request = {"do": "tiles", "regions": [[100, 100, 300, 300]], "wanted": [300, 300]}
        os.kill(slide._cell._process, signal.SIGSTOP)  # four have a connection, four wait for one
        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        os.kill(slide._cell._process, signal.SIGKILL)
        for thread in threads:
            thread.join(10)
        assert heard == ["SlideCrashedError: the slide crashed the process that decodes it: signal 9"] * 8
        assert np.array_equal(slide.read(SPOT), expected)
    keeper.clear()
    assert handles() <= before


def test_a_cell_is_cleaned_up_by_whoever_leaves_it_last(address: Address) -> None:
    """Two slides share a child that dies: one goes on with a new child while the other is still at the old one."""
    with opened(address) as one, opened(address) as two:
        expected = one.read(SPOT).copy()
        old = one._cell
        assert two._cell is old
        with old._turn():
            kill(one, signal.SIGSEGV)
            with pytest.raises(SlideCrashedError):
                one.read(SPOT)
            assert np.array_equal(one.read(SPOT), expected)
            assert np.array_equal(two.read(SPOT), expected)
            assert one._cell is two._cell is not old
            assert old._slots.all[0].handle >= 0, "somebody is still inside"
        assert {slot.handle for slot in old._slots.all} == {-1}
        with pytest.raises(SlideCrashedError):
            old.read({}, (1,), 1.0)
        current = one._cell
        current.close()
        with pytest.raises(SlideError, match="closed") as error:
            current.read({}, (1,), 1.0)
        assert type(error.value) is SlideError


def test_closed_memory_is_not_read_nor_grown() -> None:
    slots = Slots(1, 1)
    slot = slots.take()
    slot.grow(300)
    kept = slot.pixels((10, 10, 3))
    kept[:] = 7
    slots.close()
    slots.close()
    with pytest.raises(SlideError, match="closed"):
        slots.hand_out(slot, (10, 10, 3))
    with pytest.raises(SlideError, match="closed"):
        slot.grow(1 << 22)
    assert (kept == 7).all()


@pytest.mark.parametrize("where", ["a file stands there", "no home"])
def test_deaths_that_cannot_be_written_down_still_count(
    address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(quarantine, "_unwritten", {})
    (tmp_path / "file").touch()
    if where == "no home":

        def unknown(_uid: int) -> pwd.struct_passwd:
            raise KeyError

        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(pwd, "getpwuid", unknown)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
        address = replace(address, jail=Jail())
    else:
        address = replace(address, jail=Jail(quarantine=str(tmp_path / "file" / "deaths")))
    for _ in range(3):
        with opened(address) as slide:
            kill(slide, signal.SIGSEGV)
            with pytest.raises(SlideCrashedError, match="signal 11; this could not be written down"):
                slide.read(SPOT)
    with pytest.raises(QuarantinedSlideError):
        open_slide(address)
    other = write_slide(tmp_path / "other.svs", size=(1200, 900), seed=4)
    open_slide(replace(address, location=str(other))).close()


def test_doctor_looks_at_the_quarantine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor._can_be_written(quarantine.folder_of(None))
    (tmp_path / ".local").touch()
    found = doctor._folders()
    assert found.state == "warn"
    assert "quarantine" in found.advice

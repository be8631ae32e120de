"""What a confined process can still do: everything a hostile decoder would try is tried."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slides.errors
from slides import Address, DamagedSlideError, Mpp, Region, Size, SlideError, open_slide
from slides.info import SlideInfo
from slides.jail import child, landlock, seccomp, wire
from slides.jail.answer import raise_reported, require_plain
from slides.jail.launcher import capabilities
from slides.jail.slots import KEPT_BYTES, Slots
from slides.jail.spec import Jail
from slides.testing import write_slide

ROOT = Path(__file__).resolve().parents[1]
ATTEMPTS = """
import ctypes, json, mmap, os, resource, signal, socket, sys, threading
from pathlib import Path
import numpy as np
from slides.jail.confine import confine, leave_network

libc = ctypes.CDLL(None, use_errno=True)
folder = Path(sys.argv[1])
network = leave_network()
layers = confine(64 << 20, 64 << 20, [folder / "own"])
found = {}

def attempt(name, action):
    try:
        found[name] = [True, repr(action())[:80]]
    except BaseException as error:
        found[name] = [False, type(error).__name__]

def clone():
    if libc.fork() == 0:
        os._exit(0)

def abort_signal():
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.raise_signal(signal.SIGUSR1)

def thread():
    done = []
    each = threading.Thread(target=lambda: done.append(1))
    each.start()
    each.join()
    return done[0]

attempt("read own", lambda: (folder / "own" / "slide").read_bytes())
attempt("list own", lambda: os.listdir(folder / "own"))
attempt("late import", lambda: __import__("xml.dom.minidom"))
attempt("thread", thread)
attempt("raise signal", abort_signal)
attempt("random", lambda: os.urandom(4))
attempt("read other", lambda: (folder / "other" / "slide").read_bytes())
attempt("read by way of own", lambda: (folder / "own" / ".." / "other" / "slide").read_bytes())
attempt("read link", lambda: (folder / "own" / "link").read_bytes())
attempt("list other", lambda: os.listdir(folder / "other"))
attempt("read passwd", lambda: Path("/etc/passwd").read_bytes())
attempt("read environment of parent", lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes())
attempt("write own", lambda: (folder / "own" / "slide").write_bytes(b"x"))
attempt("write new", lambda: (folder / "own" / "new").write_bytes(b"x"))
attempt("write tmp", lambda: Path("/tmp/oncoscope-jail-test").write_bytes(b"x"))
attempt("remove own", lambda: (folder / "own" / "slide").unlink())
attempt("chmod own", lambda: (folder / "own" / "slide").chmod(0o777))
attempt("socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("socket pair", lambda: socket.socketpair())
attempt("fork", os.fork)
attempt("libc fork", lambda: clone() if libc.fork() >= 0 else 1 / 0)
attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("signal others", lambda: os.kill(os.getppid(), 0))
attempt("trace others", lambda: 1 / 0 if libc.ptrace(16, os.getppid(), 0, 0) else 1)
attempt("memory", lambda: np.ones(200 << 20, np.uint8).sum())
attempt("private memory", lambda: mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
attempt("shared memory", lambda: mmap.mmap(-1, 1 << 30))
attempt("file in memory", lambda: os.write(os.memfd_create("x"), b"x"))
attempt("root again", lambda: os.setuid(0) if os.getuid() else 1 / 0)
print(json.dumps({"layers": layers, "network": network, "found": found}))
"""
ALLOWED = {"read own", "list own", "late import", "thread", "raise signal", "random", "socket pair", "private memory"}
BY_LANDLOCK = {"read other", "read by way of own", "read link", "list other", "read passwd", "write tmp"} | {
    *("read environment of parent", "write own", "write new", "remove own"),
}
BY_SECCOMP = {"chmod own", "socket", "unix socket", "fork", "libc fork", "spawn", "exec", "signal others"} | {
    "trace others"
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("confined")
    for name in ("own", "other"):
        (folder / name).mkdir()
        (folder / name / "slide").write_bytes(b"pixels of " + name.encode())
    (folder / "own" / "link").symlink_to(folder / "other" / "slide")
    command = [sys.executable, "-c", ATTEMPTS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "own" / "slide").read_bytes() == b"pixels of own"
    document: dict[str, object] = json.loads(done.stdout)
    return document


def outcome(report: dict[str, object], name: str) -> bool:
    found = report["found"]
    assert isinstance(found, dict)
    return bool(found[name][0])


def test_decoding_goes_on(report: dict[str, object]) -> None:
    assert {name for name in ALLOWED if not outcome(report, name)} == set()


def test_nothing_else_of_the_file_system_is_there(report: dict[str, object]) -> None:
    if not landlock.abi():
        pytest.skip("this kernel has no Landlock")
    assert {name for name in BY_LANDLOCK if outcome(report, name)} == set()


def test_no_network_no_processes_no_signals(report: dict[str, object]) -> None:
    if not seccomp.available():
        pytest.skip("this machine has no seccomp")
    assert {name for name in BY_SECCOMP if outcome(report, name)} == set()


def test_memory_is_limited_everywhere(report: dict[str, object]) -> None:
    assert {
        name for name in ("memory", "shared memory", "file in memory", "root again") if outcome(report, name)
    } == set()


def test_every_layer_of_this_machine_is_in_force(report: dict[str, object]) -> None:
    can = capabilities()
    assert report["layers"] == {"landlock": can["landlock"], "seccomp": can["seccomp"]}
    assert report["network"] == bool(can["network"])


def test_the_numbers_of_refused_calls_are_the_systems() -> None:
    for numbers in seccomp.NUMBERS.values():
        assert len(numbers) == len(seccomp.NAMES)
    header = Path(f"/usr/include/{platform.machine()}-linux-gnu/asm/unistd_64.h")
    if platform.machine() != "x86_64" or not header.exists():
        pytest.skip("the kernel's headers are not installed")
    known = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}
    ours = {
        **dict(zip(seccomp.NAMES, seccomp.NUMBERS["x86_64"], strict=True)),
        "clone": 56,
        "clone3": 435,
        "tgkill": 234,
    }
    assert {name for name, number in ours.items() if known.get(name, number) != number} == set()


def test_shared_memory_cannot_be_taken_from_under_the_parent() -> None:
    slots = Slots(1, 1)
    slot = slots.take()
    length = slot.grow(KEPT_BYTES + 1)
    with pytest.raises(PermissionError):
        os.ftruncate(slot.handle, 0)
    windows = child.Windows([each.handle for each in slots.all])
    windows.view({"slot": slot.number, "bytes": length}, (3, 5, 3))[:] = 7
    kept = slots.hand_out(slot, (3, 5, 3))
    assert (kept == 7).all()
    again = slots.take()
    assert again is not slot
    again.grow(45)
    copied = slots.hand_out(again, (3, 5, 3))
    assert copied.base is None, "one slot is always left for a request"
    part = kept[1:]
    del kept
    assert len(slots._free) == 1
    del part
    assert len(slots._free) == 2
    slots.close()


def test_the_child_answers_in_words(tmp_path: Path) -> None:
    """The child's side in this process, where its coverage is seen."""
    slots = Slots(1, 0)
    slot = slots.take()
    windows = child.Windows([slot.handle])
    with open_slide(write_slide(tmp_path / "s.svs", size=(600, 500))) as slide:
        room = {"slot": 0, "bytes": slot.grow(600 * 500 * 3)}
        tiles: wire.Message = {"do": "tiles", "regions": [[0, 0, 50, 50]], "wanted": [50, 50]}
        overview: wire.Message = {"do": "overview", "region": [0, 0, 600, 500], "wanted": [60, 50]}
        orders: tuple[wire.Message, ...] = (
            tiles,
            overview,
            {**tiles, "regions": [[0, 0, 10**6, 10**6]]},
        )
        answers = [
            child._guarded(partial(child.ANSWERS[order["do"]], slide, {**order, **room}, windows)) for order in orders
        ]
        assert [answer.get("shape") for answer in answers] == [[1, 50, 50, 3], [50, 60, 3], None]
        assert answers[2]["error"] == "RegionError"
        assert np.array_equal(slot.pixels((50, 60, 3)), slide.thumbnail(60))
    for error, name in [(MemoryError(), "DamagedSlideError"), (ZeroDivisionError("/etc"), "DamagedSlideError")]:

        def fail(error: Exception = error) -> wire.Message:
            raise error

        answer = child._guarded(fail)
        assert answer["error"] == name
        assert "/etc" not in answer["detail"]
    for address in (Address("x", decode="exact"), Address("y", Mpp(0.5, 0.25), icc=True)):
        assert child.address_from_json(json.loads(json.dumps(child.address_to_json(address)))) == address
        assert child.address_from_json(child.address_to_json(replace(address, jail=Jail()))) == address
    slots.close()


def test_what_a_child_says_is_not_believed_blindly(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "s.svs", size=(600, 500))) as slide:
        good = slide.info.to_json()
    require_plain(SlideInfo.from_json(good))
    bad: list[dict[str, Any]] = [
        {"content_hash": "../../etc/passwd"},
        {"format": "x" * 3000},
        {"reader": "a\nb"},
        {"size": [float("nan"), 5]},
        {"warnings": ["w"] * 100},
        {"levels": [{"size": [10**9, 10**9], "downsample": 1.0}]},
    ]
    for change in bad:
        with pytest.raises((ValueError, TypeError, SlideError)):
            require_plain(SlideInfo.from_json({**good, **change}))
    for name in ("os", "SystemExit", "nothing", "Exception"):
        with pytest.raises(DamagedSlideError):
            raise_reported({"error": name, "detail": "a sentence"})
    with pytest.raises(slides.errors.RegionError, match="cannot be read"):
        raise_reported({"error": "RegionError", "detail": "\x1b[31m" + "x" * 5000})


def test_messages_end_with_their_sender() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(theirs, {"a": [1, None, "ü"]})
        assert wire.receive(ours, 1) == {"a": [1, None, "ü"]}
        with pytest.raises(TimeoutError):
            wire.receive(ours, 0.05)
        wire.send(theirs, [])  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            wire.receive(ours, 1)
        theirs.sendall(b"\x05\0\0\0{")
        threading.Timer(0.1, theirs.close).start()
        with pytest.raises(EOFError):
            wire.receive(ours, 5)


def test_regions_of_any_whole_number_travel(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "s.svs", size=(600, 500))
    with open_slide(replace(Address.of(path), jail=Jail(quarantine=str(tmp_path)))) as slide:
        region = Region(*(np.int64(side) for side in (10, 10, 50, 50)))  # type: ignore[arg-type]
        assert np.shape(slide.read_tiles([region], Size(50, 50))) == (1, 50, 50, 3)


def test_landlock_structures_have_the_kernels_layout() -> None:
    assert ctypes.sizeof(landlock._Ruleset) == 24
    assert ctypes.sizeof(landlock._PathBeneath) == 12

"""Where a jail meets its limits: those of the machine around it, of its child, and of those who wait for it."""

from __future__ import annotations

import errno
import gc
import json
import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from api.cli import doctor
from slides import Address, QuarantinedSlideError, Region, SlideCrashedError, SlideError, open_slide
from slides.jail import cell, keeper, launcher, quarantine, seccomp, wire
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


def handles() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


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
    assert handles() == before
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
    assert handles() == before


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


CHANGES = """
import ctypes, json, mmap, os, socket, stat, sys
from slides.jail import seccomp
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
for name in ("victim", "other", "third"):
    open(name, "wb").write(b"x" * 1000)
os.mkdir("folder")
here, handle = os.open(".", os.O_RDONLY), os.open("third", os.O_RDWR)

def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

tries = {
    "open to write": lambda: os.open("victim", os.O_WRONLY),
    "open to read and write": lambda: os.open("victim", os.O_RDWR),
    "open new": lambda: os.open("new", os.O_RDONLY | os.O_CREAT),
    "open to truncate": lambda: os.open("victim", os.O_RDONLY | os.O_TRUNC),
    "open nameless": lambda: os.open(".", os.O_TMPFILE | os.O_RDWR),
    "creat": lambda: call("creat", b"created", 0o600),
    "truncate": lambda: os.truncate("victim", 10),
    "ftruncate": lambda: os.ftruncate(handle, 10),
    "fallocate": lambda: os.posix_fallocate(handle, 0, 9000),
    "mkdir": lambda: os.mkdir("made"),
    "mkdirat": lambda: os.mkdir("made2", dir_fd=here),
    "mknod": lambda: os.mknod("pipe", stat.S_IFIFO | 0o600),
    "mknodat": lambda: os.mknod("pipe2", stat.S_IFIFO | 0o600, dir_fd=here),
    "unix socket": lambda: socket.socket(socket.AF_UNIX).bind("socket"),
    "link": lambda: os.link("victim", "hard"),
    "linkat": lambda: os.link("victim", "hard2", src_dir_fd=here, dst_dir_fd=here),
    "symlink": lambda: os.symlink("victim", "soft"),
    "symlinkat": lambda: os.symlink("victim", "soft2", dir_fd=here),
    "chmod": lambda: os.chmod("victim", 0o777),
    "fchmod": lambda: os.fchmod(handle, 0o777),
    "fchmodat": lambda: os.chmod("victim", 0o707, dir_fd=here),
    "chown": lambda: os.chown("victim", os.getuid(), os.getgid()),
    "fchown": lambda: os.fchown(handle, os.getuid(), os.getgid()),
    "lchown": lambda: os.lchown("victim", os.getuid(), os.getgid()),
    "fchownat": lambda: os.chown("victim", os.getuid(), os.getgid(), dir_fd=here),
    "utime": lambda: os.utime("victim", (1, 1)),
    "rename": lambda: os.rename("victim", "moved"),
    "renameat": lambda: os.rename("moved", "victim", src_dir_fd=here, dst_dir_fd=here),
    "renameat2": lambda: call("renameat2", here, b"victim", here, b"moved2", 0),
    "rmdir": lambda: os.rmdir("folder"),
    "unlink": lambda: os.unlink("other"),
    "unlinkat": lambda: os.unlink("third", dir_fd=here),
    "memory file": lambda: os.memfd_create("x"),
    "shared memory": lambda: mmap.mmap(-1, 4096),
}

def attempt(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0

def state():
    return [[name, stat.S_IFMT(s.st_mode), s.st_mode, s.st_size, s.st_nlink, s.st_mtime_ns]
            for name in sorted(os.listdir(".")) for s in [os.lstat(name)]]

before = state()
confined = seccomp.restrict() if sys.argv[2] == "confined" else False
found = {name: attempt(action) for name, action in tries.items()}
good = [mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) is not None,
        mmap.mmap(handle, 4, access=mmap.ACCESS_READ)[:4] == b"xxxx", open("/dev/null", "rb").read() == b""]
print(json.dumps({"confined": confined, "found": found, "same": state() == before, "good": good}))
"""


def test_the_kernel_refuses_every_change_of_a_file(tmp_path: Path) -> None:
    if not seccomp.available():
        pytest.skip("this machine has no seccomp")
    (tmp_path / "free").mkdir()
    free = json.loads(run(CHANGES, str(tmp_path / "free"), "free"))
    assert {name: code for name, code in free["found"].items() if code and name != "renameat2"} == {}
    (tmp_path / "bound").mkdir()
    bound = json.loads(run(CHANGES, str(tmp_path / "bound"), "confined"))
    assert {name: code for name, code in bound["found"].items() if code != errno.EPERM} == {}
    assert bound["same"]
    assert bound["good"] == [True] * 3


def limits_of(process: int) -> list[str]:
    line = next(each for each in Path(f"/proc/{process}/limits").read_text().splitlines() if "cpu time" in each)
    return line.split()[3:5]


def test_processor_time_is_limited_for_each_request_and_in_all(address: Address) -> None:
    with opened(address) as slide:
        for _ in range(3):
            soft, hard = (int(word) for word in limits_of(slide._cell._process))
            assert 8 <= soft <= 12, "eight seconds a request, on top of what earlier ones took"
            slide.read(SPOT)
        assert cell.LIFE < hard < 2 * cell.LIFE


SPINS = """
import resource, socket, sys, threading
from slides.jail import child, wire
from slides.jail.confine import lower
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
lower(resource.RLIMIT_CPU, int(sys.argv[2]))
if sys.argv[1] == "ignores":
    import signal
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
def spin():
    while True:
        pass
def answer(slide, request, windows):
    if request["where"] == "beside":
        threading.Thread(target=spin, daemon=True).start()
        return {"shape": []}
    spin()
child.ANSWERS["spin"] = answer
child._serve(None, socket.socket(fileno=int(sys.argv[3])), None)
"""


@pytest.mark.parametrize(
    ("kind", "life", "where", "end"),
    [
        ("obeys", 60, "inside", signal.SIGXCPU),  # a decoder that never ends
        ("obeys", 60, "beside", signal.SIGXCPU),  # one that goes on after its answer
        ("ignores", 2, "inside", signal.SIGKILL),  # one that was taken over
    ],
)
def test_a_child_that_spins_is_ended_by_the_kernel(kind: str, life: int, where: str, end: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", SPINS, kind, str(life), str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT) as process:
            try:
                wire.send(ours, {"do": "spin", "where": where, "seconds": 0.5})
                assert process.wait(20) == -end
            finally:
                process.kill()


def test_a_child_that_ran_out_of_time_is_named_so(address: Address) -> None:
    with opened(address) as slide:
        kill(slide, signal.SIGXCPU)
        with pytest.raises(SlideCrashedError, match="too much processor time"):
            slide.read(SPOT)


def test_a_child_that_worked_for_long_makes_room(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(address) as slide:
        first, expected = slide._cell._process, slide.read(SPOT).copy()
        assert slide._cell._process == first
        monkeypatch.setattr(cell, "LIFE", 0.0)
        assert np.array_equal(slide.read(SPOT), expected)
        assert slide._cell._process != first
        assert not Path(f"/proc/{first}").exists()
    assert not (Path(str(address.jail and address.jail.quarantine))).exists(), "that is no death"


def test_memory_that_counts_for_no_limit_cannot_be_had(address: Address) -> None:
    """What a child may allocate is what RLIMIT_DATA counts; the rest is its own files and the answers."""
    with opened(address) as slide:
        process = slide._cell._process
        status = Path(f"/proc/{process}/status").read_text()
        loaded = {name: int(number) << 10 for name, number in re.findall(r"(VmSize|VmData):\s+(\d+) kB", status)}
        said = Path(f"/proc/{process}/limits").read_text()
        most = {name: int(n) for name, n in re.findall(r"Max (data size|address space)\s+(\d+)", said)}
    assert most["data size"] < loaded["VmData"] + (2 << 30) + (64 << 20)
    assert most["address space"] < loaded["VmSize"] + (2 << 30) + (3 << 29) + 8 * (64 << 20) + (64 << 20)
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY

"""What the kernel keeps a jailed child from: every change of a file, and more time and memory than its share."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from slides import Address, Region, SlideCrashedError, open_slide
from slides.jail import cell, keeper, seccomp, wire
from slides.jail.slide import JailedSlide
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

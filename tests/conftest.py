"""What all tests share: one thread a numeric library, hypothesis without a deadline, the way to the real data."""

from __future__ import annotations

import os

# Before anything imports numpy or torch: the same bits on every machine, and no fight for two cores.
for _library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest
from beartype import BeartypeConf
from beartype.claw import beartype_package

ROOT = Path(__file__).resolve().parents[1]

# Arguments and results are checked against their annotations while tests run, in the packages whose annotations can be
# resolved at run time: others keep imports for annotations under TYPE_CHECKING, and pydantic checks what reaches api.
# A violation is a TypeError, as it is for users. The hook is beartype's own and not jaxtyping's: that one decorates
# function by function and so cannot know `Self`.
for _package in ("foundation", "mil"):
    beartype_package(_package, conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeError))

hypothesis.settings.register_profile(
    "oncoscope",
    deadline=None,  # the first example pays for imports and caches; a slow machine is not a bug
    print_blob=True,
)
hypothesis.settings.load_profile("oncoscope")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real slides and patches; the test is skipped, saying so, where it is absent.

    Returns:
        `ONCOSCOPE_DATA`, else `shared/data` beside the repository. Nothing in it may be committed.
    """
    folder = Path(os.environ.get("ONCOSCOPE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real data is not on this machine: set ONCOSCOPE_DATA to its folder")
    return folder


class Done(NamedTuple):
    """What a command of ours left behind, by the names of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def command() -> Callable[..., Done]:
    """Runs `oncoscope ...` in this process, in a folder and with an environment of its own.

    A process costs seconds of imports a call, so only what is about processes, and the journeys of the documents,
    start one.

    Returns:
        A function of the arguments, `cwd`, and variables of the environment.
    """
    from api.cli import main

    def run(*arguments: object, cwd: Path, **environment: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(cwd)
            for name, value in environment.items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main([str(argument) for argument in arguments])
        return Done(status, out.getvalue(), err.getvalue())

    return run

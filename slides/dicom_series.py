"""Which files make up a DICOM whole-slide image, and which of them is which level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slides.dicom_instance import Instance, is_whole_slide, read_instance
from slides.errors import DamagedSlideError, UnsafeSlideError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slides.geometry import Size

SAME_ASPECT = 0.02
ROUNDED_PX = 1.5
"""Levels of a few pixels are rounded; they may differ that much from the aspect of the finest."""


def files_at(path: Path) -> list[Path]:
    """The DICOM whole-slide files that an address names.

    Args:
        path: A file, or a folder.

    Returns:
        The file alone, or those of the folder by name.
    """
    if path.is_dir():
        return [file for file in _regular(path) if is_whole_slide(file)]
    return [path] if path.is_file() and is_whole_slide(path) else []


def levels_at(path: Path) -> tuple[list[list[Instance]], list[str]]:
    """The levels of the slide at an address: those of the series of its first file.

    Args:
        path: A folder, or any file of the slide; the files beside it are looked at.

    Returns:
        Finest first, the files of each, and warnings.

    Raises:
        DamagedSlideError: If no file holds a level.
    """
    first = files_at(path)
    beside = [file for file in files_at(path if path.is_dir() else path.parent) if file not in first]
    found = [read_instance(file) for file in [*first, *beside]]
    instances = [instance for instance in found if instance is not None]
    levels = [instance for instance in instances if instance.is_level]
    if not path.is_dir():
        levels = [instance for instance in levels if instance.series == instances[0].series]
    if not levels:
        msg = "no file of the DICOM slide holds pixels of the specimen"
        raise DamagedSlideError(msg)
    own = [instance for instance in levels if instance.series == levels[0].series]
    warnings = []
    if len(own) < len(levels):
        warnings.append("the folder holds slides of several DICOM series; only the first one by file name is read")
    return _pyramid(own, warnings), warnings


def _pyramid(instances: Sequence[Instance], warnings: list[str]) -> list[list[Instance]]:
    """Instances by level, finest first; what is no level of one pyramid is left out with a warning."""
    levels: dict[tuple[int, int], list[Instance]] = {}
    for instance in sorted(instances, key=lambda i: (-i.size.width * i.size.height, i.part)):
        same = levels.setdefault((instance.size.width, instance.size.height), [])
        if same and (same[0].image != instance.image or same[0].tile != instance.tile):
            _warn(warnings, "the slide holds several images of one size, such as focal planes; the first one is read")
        elif all(other.uid != instance.uid for other in same):
            same.append(instance)
    finest = next(iter(levels.values()))[0].size
    alike = [group for group in levels.values() if _same_aspect(finest, group[0].size)]
    if len(alike) < len(levels):
        _warn(warnings, "the slide holds images of another shape than its finest one; they are not read")
    return alike


def _same_aspect(finest: Size, level: Size) -> bool:
    expected = finest.height * level.width / finest.width
    return abs(expected - level.height) < max(ROUNDED_PX, SAME_ASPECT * level.height)


def _warn(warnings: list[str], text: str) -> None:
    if text not in warnings:
        warnings.append(text)


def _regular(folder: Path) -> list[Path]:
    """The regular files of a folder by name.

    Raises:
        UnsafeSlideError: If a DICOM file among them is a link that leads out of the folder.
    """
    inside = folder.resolve()
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    for file in files:
        if file.is_symlink() and file.resolve().parent != inside and is_whole_slide(file):
            msg = "a file of the slide is a link that leads out of its folder; put the file itself there"
            raise UnsafeSlideError(msg)
    return files

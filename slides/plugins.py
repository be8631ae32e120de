"""The table of slide readers. A new format is one file, one line here and one subclass of the conformance kit."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from slides.errors import NotASlideError, SlideNotFoundError
from slides.info import Address
from slides.tiff_header import require_whole_tiff

if TYPE_CHECKING:
    from slides.slide import Slide

READERS = {
    "tiff-jpeg": "slides.formats.tiff_jpeg:TiffJpegReader",
    "openslide": "slides.formats.openslide:OpenSlideReader",
}
"""Reader name -> "module:class", asked in this order after the readers of other distributions."""

ENTRY_POINTS = "oncoscope.slides"


class Reader(Protocol):
    """What a reader class offers before a slide is open."""

    @staticmethod
    def detect(path: Path) -> str | None:
        """Say why this reader takes the file, or None where it does not."""

    def __call__(self, address: Address, reason: str) -> Slide:
        """Open the slide."""


def open_slide(where: Address | str | Path) -> Slide:
    """Open a slide with the first reader that knows its format.

    Args:
        where: A file, a folder of DICOM instances, or an address with a scale of its own.

    Returns:
        The open slide; close it or use it in a with statement.

    Raises:
        SlideNotFoundError: If nothing stands there.
        NotASlideError: If no reader knows it.
    """
    address = Address.of(where)
    path = address.path
    if not path.exists():
        msg = "there is no file or folder at the slide's address"
        raise SlideNotFoundError(msg)
    if path.is_file():
        require_whole_tiff(path)
    for target in _targets():
        reader = _load(target)
        reason = reader.detect(path)
        if reason is not None:
            return reader(address, reason)
    msg = "the file is not a slide that any reader knows, or it is cut off at the start"
    raise NotASlideError(msg)


def _targets() -> list[str]:
    """All readers, those of other distributions first so that they can replace ours."""
    return [point.value for point in entry_points(group=ENTRY_POINTS)] + list(READERS.values())


def _load(target: str) -> Reader:
    """Import a reader on first use."""
    module, name = target.split(":")
    return cast("Reader", getattr(import_module(module), name))

"""The table of slide readers. A new format is one file, one line here and one subclass of the conformance kit."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from slides import guard
from slides.errors import NotASlideError
from slides.info import Address

if TYPE_CHECKING:
    from slides.slide import Slide

READERS = {
    "tiff-jpeg": "slides.formats.tiff_jpeg:TiffJpegReader",
    "tiff-jpeg2000": "slides.formats.tiff_jpeg2000:TiffJpeg2000Reader",
    "tiff-philips": "slides.formats.tiff_philips:PhilipsReader",
    "tiff-ome": "slides.formats.tiff_ome:OmeTiffReader",
    "tiff": "slides.formats.tiff:TiffReader",
    "dicom": "slides.formats.dicom:DicomReader",
    "openslide": "slides.formats.openslide:OpenSlideReader",
    "ome-zarr": "slides.formats.ome_zarr:OmeZarrReader",
}
"""Reader name -> "module:class", asked in this order after the readers of other distributions."""

ENTRY_POINTS = "oncoscope.slides"


class Reader(Protocol):
    """What a reader class offers before a slide is open."""

    @staticmethod
    def detect(address: Address) -> str | None:
        """Say why this reader takes what stands at the address, or None where it does not."""

    def __call__(self, address: Address, reason: str) -> Slide:
        """Open the slide."""


def open_slide(where: Address | str | Path) -> Slide:
    """Open a slide with the first reader that knows its format.

    Args:
        where: A file, a folder of DICOM instances, or an address with a scale of its own.

    Returns:
        The open slide; close it or use it in a with statement.

    """
    address = Address.of(where)
    if not address.is_remote:
        guard.check(address.path)
    elif address.jail is None:  # the jail refuses it, and needs no request for that
        guard.check_remote(address)
    if address.jail is not None:
        from slides.jail.slide import JailedSlide  # the jail's child imports this module

        return JailedSlide(address)
    return open_here(address)


def open_here(address: Address) -> Slide:
    """Open a slide in this process, whatever its address says, without looking at it first.

    Args:
        address: The slide.

    Returns:
        The open slide.

    Raises:
        NotASlideError: If no reader knows it.
    """
    for target in targets():
        reader = _load(target)
        reason = reader.detect(address)
        if reason is not None:
            return reader(address, reason)
    msg = "the file is not a slide that any reader knows, or it is cut off at the start"
    raise NotASlideError(msg)


@cache
def targets() -> tuple[str, ...]:
    """All readers, those of other distributions first so that they can replace ours.

    Returns:
        "module:class" of each.
    """
    return (*(point.value for point in entry_points(group=ENTRY_POINTS)), *READERS.values())


def _load(target: str) -> Reader:
    """Import a reader on first use."""
    module, name = target.split(":")
    return cast("Reader", getattr(import_module(module), name))

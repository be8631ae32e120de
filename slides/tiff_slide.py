"""What the readers of the TIFF family share: pages become layers, the description becomes `SlideInfo`.

tifffile parses the directories and nothing else; pixels go from the file's bytes to a codec.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import openslide
import tifffile

from slides.codestream import Segment
from slides.errors import DamagedSlideError
from slides.geometry import Region, Size
from slides.header import number, scale
from slides.identity import nameless_tiff
from slides.info import SlideInfo
from slides.layers import CompressedLayer, levels_of
from slides.malformed import MALFORMED, header_is_read
from slides.profile import transform_of
from slides.storage import is_zarr, open_bytes
from slides.tiff_pages import MISNAMED, START_BYTES, codec_of, colour_profile, misnamed
from slides.tiles import TiledSlide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slides.info import Address
    from slides.storage import ByteSource


@dataclass(frozen=True, slots=True)
class Pyramid:
    """What a reader found in a file."""

    pages: Sequence[tifffile.TiffPage]
    """Finest first."""
    properties: dict[str, str]
    """OpenSlide's names for vendor, scale and objective power."""
    sizes: Sequence[Size] | None = None
    """Sizes of the levels where the pages' own are padded."""


class TiffSlide(TiledSlide):
    """A slide whose levels are tiled pages of a TIFF.

    A reader names itself and says which pages are its levels.

    Args:
        address: Where it is.
        reason: Why this reader was chosen, for `oncoscope info`.

    """

    reader: ClassVar[str]
    reason: ClassVar[str]
    vendors: ClassVar[frozenset[str | None] | None] = None
    """What OpenSlide may call a local file that this reader takes; None for a reader that can tell by itself."""

    @staticmethod
    @abstractmethod
    def pyramid(tiff: tifffile.TiffFile) -> Pyramid | None:
        """Find the levels.

        Args:
            tiff: An open file.

        Returns:
            What the reader found, or None for a file that is not of its kind.
        """

    def __init__(self, address: Address, reason: str) -> None:
        self._data = open_bytes(address)
        with ExitStack() as undo, header_is_read():
            undo.callback(self._data.close)
            with nameless_tiff(self._data) as tiff:
                found = self._found(tiff)
                layers = layers_of(found, self._data)
                profile = colour_profile(found.pages[0])
                about = (MISNAMED,) if misnamed(found.pages[0], layers[0].start(START_BYTES)) else ()
            for layer in layers:
                layer.require_whole()
            super().__init__(layers, levels_of(layers), exact=address.decode == "exact")
            self._colours, icc, about_colours = transform_of(address, profile)
            self.info = replace(self._describe(address, reason, found), icc=icc)
            self.info = replace(self.info, warnings=self.info.warnings + about + about_colours)
            undo.pop_all()

    @classmethod
    def detect(cls, address: Address) -> str | None:
        """Whether the file is of this reader's kind.

        Args:
            address: Where it is.

        Returns:
            The reason to take it, or None.
        """
        if is_zarr(address) if address.is_remote else not address.path.is_file():
            return None
        asked = cls.vendors is not None and not address.is_remote
        if asked and openslide.OpenSlide.detect_format(str(address.path)) not in (cls.vendors or ()):
            return None
        with suppress(*MALFORMED, OSError):
            data = open_bytes(address)
            try:
                with nameless_tiff(data) as tiff:
                    return cls.reason if cls.pyramid(tiff) else None
            finally:
                data.close()
        return None

    def close(self) -> None:
        """Release the file."""
        super().close()
        self._data.close()

    def _found(self, tiff: tifffile.TiffFile) -> Pyramid:
        """What `detect` found.

        Raises:
            DamagedSlideError: If it is not there any more.
        """
        found = self.pyramid(tiff)
        if found is None:
            msg = "the slide changed while it was opened"
            raise DamagedSlideError(msg)
        return found

    def _describe(self, address: Address, reason: str, found: Pyramid) -> SlideInfo:
        finest = self._layers[0]
        mpp, mpp_source, warnings = scale(address, found.properties)
        return SlideInfo(
            size=finest.size,
            mpp=mpp,
            mpp_source=mpp_source,
            format=found.properties["openslide.vendor"],
            reader=self.reader,
            reader_reason=reason,
            levels=levels_of(self._layers),
            bounds=Region.whole(finest.size),
            objective_power=number(found.properties.get("openslide.objective-power")),
            content_hash=finest.identify(self._data.identity, remote=address.is_remote),
            warnings=tuple(warnings),
            decode=self.decode_of(address),
        )


def layers_of(found: Pyramid, data: ByteSource) -> list[CompressedLayer]:
    """The levels of a file.

    Args:
        found: What a reader found.
        data: The file's bytes.

    Returns:
        One layer for each page.

    Raises:
        ValueError: If a page is of a kind that `suits` refuses.
    """
    sizes = found.sizes or [Size(page.imagewidth, page.imagelength) for page in found.pages]
    layers = []
    for page, size in zip(found.pages, sizes, strict=True):
        codec = codec_of(page)
        if codec is None:
            msg = "a page of the slide is compressed in a way that is not read"
            raise ValueError(msg)
        tile, packed = Size(page.tilewidth, page.tilelength), isinstance(codec, Segment)
        coding = f" {int(page.compression)} {int(page.predictor)} {int(page.photometric)}" if packed else ""
        layers.append(CompressedLayer(size, tile, data, _spans(page, size), codec, coding=coding))
    return layers


def _spans(page: tifffile.TiffPage, size: Size) -> NDArray[np.int64]:
    """Offset and length of the tiles that lie on the level, [rows, columns, 2]."""
    rows, cols = (-(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth))
    spans = np.stack([np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)], axis=-1)
    on_level = (-(-size.height // page.tilelength), -(-size.width // page.tilewidth))
    return spans.reshape(rows, cols, 2)[: on_level[0], : on_level[1]]

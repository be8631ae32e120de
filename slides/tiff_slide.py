"""What the readers of the TIFF family share: pages become layers, the description becomes `SlideInfo`.

tifffile parses the directories and nothing else; pixels go from the file's bytes to a codec.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import tifffile

from slides import jpeg2000
from slides.codestream import Codec, Jpeg, Raw, Segment
from slides.errors import DamagedSlideError
from slides.geometry import Region, Size
from slides.header import number, scale
from slides.identity import content_hash, nameless_tiff
from slides.info import SlideInfo
from slides.malformed import MALFORMED, header_is_read
from slides.profile import transform_of
from slides.storage import is_zarr, open_bytes
from slides.tiles import CompressedLayer, TiledSlide, levels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from slides.info import Address
    from slides.storage import ByteSource

UNCOMPRESSED, JPEG, APERIO_YCBCR, APERIO_RGB = 1, 7, 33003, 33005
LZW, DEFLATE, OLD_DEFLATE, PACKBITS, JPEG2000, ZSTD, WEBP = 5, 8, 32946, 32773, 34712, 50000, 50001
PACKED = {LZW, DEFLATE, OLD_DEFLATE, PACKBITS, JPEG2000, ZSTD, WEBP}
"""What tifffile unpacks by imagecodecs."""
RGB, YCBCR, CONTIGUOUS = 2, 6, 1
PROFILE = 34675
SAME_ASPECT = 0.02


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
            for layer in layers:
                layer.require_whole()
            super().__init__(layers, levels_of(layers), exact=address.decode == "exact")
            self._colours, icc, about_colours = transform_of(address, profile)
            self.info = replace(self._describe(address, reason, found), icc=icc)
            self.info = replace(self.info, warnings=self.info.warnings + about_colours)
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
            content_hash=content_hash(self._data.identity, finest.size, finest.content),
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
        layers.append(CompressedLayer(size, Size(page.tilewidth, page.tilelength), data, _spans(page, size), codec))
    return layers


def codec_of(page: tifffile.TiffPage) -> Codec | None:
    """How to decode the tiles of a page.

    Args:
        page: A tiled page of an open file.

    Returns:
        A codec, or None for a page that is not 8-bit RGB or is compressed in a way that this build cannot read.
    """
    if page.compression == JPEG:
        return Jpeg.abbreviated(page.jpegtables, is_rgb=page.photometric == RGB)
    if page.compression in {APERIO_YCBCR, APERIO_RGB}:
        return jpeg2000.Jpeg2000(is_ycbcr=page.compression == APERIO_YCBCR) if _plain_jpeg2000(page) else None
    if page.photometric != RGB:
        return None
    if page.compression == UNCOMPRESSED and page.fillorder == 1 and page.predictor == 1:
        return Raw()
    return Segment(_unpacker(page)) if page.compression in PACKED else None


def suits(page: tifffile.TiffPage, compressions: set[int] | None = None, *, sparse: bool = False) -> bool:
    """Whether a page is 8-bit colour in tiles that can be read.

    Args:
        page: A page of an open file.
        compressions: The TIFF compressions to accept, or None for all.
        sparse: Tiles of length 0 stand for glass; else no tile may be missing.

    Returns:
        True where it is.
    """
    if not page.is_tiled or (compressions is not None and int(page.compression) not in compressions):
        return False
    colours = page.photometric in {RGB, YCBCR} and page.samplesperpixel == 3 and page.bitspersample == 8
    tiles = -(-page.imagelength // page.tilelength) * -(-page.imagewidth // page.tilewidth)
    whole = len(page.dataoffsets) == len(page.databytecounts) == tiles and (sparse or min(page.databytecounts) > 0)
    flat = page.planarconfig == CONTIGUOUS and page.imagedepth == 1
    return colours and flat and whole and codec_of(page) is not None


def is_plain(tiff: tifffile.TiffFile) -> bool:
    """Whether a file is Aperio's or no vendor's: formats without overlaps, offsets or private rules.

    Args:
        tiff: An open file.

    Returns:
        True where it is.
    """
    first = tiff.pages[0]
    special = ("ndpi", "scn", "bif", "philips", "ome", "qpi", "sis")
    return not any(getattr(tiff, f"is_{kind}", False) or getattr(first, f"is_{kind}", False) for kind in special)


def tiled_pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """The tiled pages of a file.

    Args:
        tiff: An open file.

    Returns:
        All of them in their order, or none where the first page is not tiled.
    """
    pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]
    return pages if pages and pages[0] is tiff.pages[0] else []


def falling(pages: Sequence[tifffile.TiffPage]) -> bool:
    """Whether pages are one image at ever coarser scale.

    Args:
        pages: Full size first.

    Returns:
        True where widths fall and the aspect stays.
    """
    base = pages[0]
    sizes = [(page.imagewidth, page.imagelength) for page in pages]
    alike = all(abs(base.imagewidth / w / (base.imagelength / h) - 1) < SAME_ASPECT for w, h in sizes)
    return alike and all(finer[0] > coarser[0] for finer, coarser in pairwise(sizes))


def colour_profile(page: tifffile.TiffPage) -> bytes | None:
    """The ICC profile of a page.

    Args:
        page: A page of an open file.

    Returns:
        The profile as it stands, or None.
    """
    profile = page.tags.valueof(PROFILE)
    return bytes(profile) if profile else None


def _spans(page: tifffile.TiffPage, size: Size) -> NDArray[np.int64]:
    """Offset and length of the tiles that lie on the level, [rows, columns, 2]."""
    rows, cols = (-(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth))
    spans = np.stack([np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)], axis=-1)
    on_level = (-(-size.height // page.tilelength), -(-size.width // page.tilewidth))
    return spans.reshape(rows, cols, 2)[: on_level[0], : on_level[1]]


def _plain_jpeg2000(page: tifffile.TiffPage) -> bool:
    """Whether the first tile of a page is a codestream that `Jpeg2000` decodes."""
    file = page.parent.filehandle
    file.seek(page.dataoffsets[0])
    return jpeg2000.is_plain(file.read(64))


def _unpacker(page: tifffile.TiffPage) -> Callable[[bytes], NDArray[np.uint8]]:
    """A function from compressed tile to pixels that lives on after the file is closed."""
    decode = page.decode

    def unpack(stream: bytes) -> NDArray[np.uint8]:
        return np.asarray(np.asarray(decode(stream, 0)[0])[0], np.uint8)

    return unpack

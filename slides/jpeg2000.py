"""JPEG 2000 tiles, at full size or at half size without decoding the finest wavelet band.

OpenJPEG spends its time on the entropy-coded bands, most of it on the finest one. A codestream without that band is
again a codestream (ISO/IEC 15444-1, annexes A and B), so it is cut out of the header and the decoder stops early. Its
samples sit on every second pixel of the full image and not between two, a quarter of a pixel off; an exact filter puts
that right: what comes out is the area average of the image whose finest band is zero. Decision 13 has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import cv2
import imagecodecs
import numpy as np

from slides.codestream import from_ycbcr, of_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slides.geometry import Size

START, END = b"\xff\x4f", b"\xff\xd9"
SIZ, COD, QCD, COMMENT, SOT = 0x51, 0x52, 0x5C, 0x64, 0x90
BEGIN = START + bytes([0xFF, SIZ])
"""The size stands first, at a fixed place."""
LRCP, RLCP, RPCL = 0, 1, 2
CENTRED = {
    0: np.array([-0.074407644618, 0.853179354784, 0.266864118443, -0.045635881557]) / 0.999999947052,
    1: np.array([0.0, 0.75, 0.25, 0.0]),
}
"""Weights of the samples k-1..k+2 in the average of the pixels 2k and 2k+1, by wavelet (0: 9/7, 1: 5/3): means of
neighbouring taps of the synthesis low-pass filter, (g[2j] + g[2j+1]) / 2, g of ISO/IEC 15444-1 annex F."""


@dataclass(frozen=True, slots=True)
class Jpeg2000:
    """A codec of RGB tiles."""

    is_ycbcr: bool = False
    """The components are luma and chroma and the stream does not say so."""
    shrinks: ClassVar[tuple[int, ...]] = (1, 2)
    method: ClassVar[str] = "dwt"

    def decode(self, stream: bytes, tile: Size, shrink: int) -> NDArray[np.uint8]:
        """Decode a tile.

        Args:
            stream: A codestream, or a JP2 file around one.
            tile: Its full size in pixels.
            shrink: 1 or 2.

        Returns:
            RGB [tile.height / shrink, tile.width / shrink, 3].
        """
        bare = codestream(stream)
        require_size(bare, tile)
        if shrink == 1:
            pixels = of_shape(imagecodecs.jpeg2k_decode(bare), (tile.height, tile.width))
        else:
            pixels = _half(bare, tile)
        return from_ycbcr(pixels) if self.is_ycbcr else pixels


def _half(stream: bytes, tile: Size) -> NDArray[np.uint8]:
    """Half size, by the shorter codestream or, for a stream that cannot be cut, by averaging the whole image."""
    cut = without_finest_band(stream)
    half = (tile.height // 2, tile.width // 2)
    if cut is None:
        whole = of_shape(imagecodecs.jpeg2k_decode(stream), (tile.height, tile.width))
        return np.asarray(cv2.resize(whole, half[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    shorter, wavelet = cut
    samples = of_shape(imagecodecs.jpeg2k_decode(shorter), half)
    # Beyond its edges the codec mirrors the image: about the first pixel, and after the last one.
    before = cv2.copyMakeBorder(samples, 1, 0, 1, 0, cv2.BORDER_REFLECT_101)
    around = cv2.copyMakeBorder(before, 0, 2, 0, 2, cv2.BORDER_REFLECT)
    centred = cv2.sepFilter2D(around, -1, CENTRED[wavelet], CENTRED[wavelet], anchor=(1, 1))
    return np.asarray(centred[1:-2, 1:-2], np.uint8)


def without_finest_band(stream: bytes) -> tuple[bytes, int] | None:
    """A codestream of the image at half size, with the same packets.

    Args:
        stream: A codestream.

    Returns:
        The codestream and its wavelet (0: 9/7, 1: 5/3); None for one whose finest band does not come last, or that
        uses a feature whose header this function does not rewrite.
    """
    header = _main_header(stream)
    if header is None:
        return None
    siz, cod, qcd = (bytearray(header[0][marker]) for marker in (SIZ, COD, QCD))
    if not _is_simple(siz, cod) or not _one_tile_part(stream, header[1]):
        return None
    for at in (2, 6, 18, 22):  # Xsiz, Ysiz, XTsiz, YTsiz
        siz[at : at + 4] = ((int.from_bytes(siz[at : at + 4], "big") + 1) // 2).to_bytes(4, "big")
    cod[5] -= 1
    if cod[0] & 1:
        del cod[-1]  # the precincts of the finest resolution
    style = qcd[0] & 0x1F
    if style != 1:  # style 1 derives all step sizes from the first
        del qcd[-3 if style == 0 else -6 :]
    head = START + b"".join(_segment(marker, bytes(body)) for marker, body in ((SIZ, siz), (COD, cod), (QCD, qcd)))
    return head + stream[header[1] :], int(cod[9])


def codestream(stream: bytes) -> bytes:
    """A codestream without the JP2 file around it: what was checked is what is decoded.

    Args:
        stream: A codestream, or a JP2 file around one.

    Returns:
        The codestream; `stream` where none is found.
    """
    return stream if stream.startswith(BEGIN) else stream[max(0, stream.find(BEGIN)) :]


def require_size(stream: bytes, tile: Size) -> None:
    """Refuse a codestream of another size than the slide's index says: decoders allocate what it claims (A.5.1).

    Args:
        stream: A codestream.
        tile: Size by the index.

    Raises:
        ValueError: If it is another one, or has not three components.
    """
    right, bottom, left, top = (int.from_bytes(stream[at : at + 4], "big") for at in range(8, 24, 4))
    fits = (right - left, bottom - top) == (tile.width, tile.height) and stream[40:42] == b"\x00\x03"
    if not (fits and stream.startswith(BEGIN)):
        msg = "the stream does not hold a tile of the size that the index gives"
        raise ValueError(msg)


def is_plain(stream: bytes) -> bool:
    """Whether a codestream has three components of 8 bits, none of them subsampled (A.5.1).

    Args:
        stream: The start of a codestream, not of a JP2 file.

    Returns:
        True where `Jpeg2000` decodes it.
    """
    return stream.startswith(BEGIN) and stream[40:51] == b"\x00\x03" + b"\x07\x01\x01" * 3


def mixes_components(stream: bytes) -> bool:
    """Whether a codestream says that it holds transformed RGB, which its decoder turns back (A.6.1).

    Args:
        stream: A codestream, or a JP2 file around one.

    Returns:
        False where the components come out as they went in.
    """
    header = _main_header(codestream(stream))
    return header is not None and header[0][COD][4] != 0


def _main_header(stream: bytes) -> tuple[dict[int, bytes], int] | None:
    """Bodies of the three marker segments that every codestream has, and where the tile begins; None for any other."""
    segments: dict[int, bytes] = {}
    at = 2
    while stream[:2] == START and at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == SOT:
            return (segments, at) if segments.keys() == {SIZ, COD, QCD} else None
        if marker != COMMENT:
            segments[marker] = stream[at + 4 : at + 2 + length]
        at += 2 + length
    return None


def _is_simple(siz: bytearray, cod: bytearray) -> bool:
    """One tile at the origin, and packets whose finest resolution comes last."""
    if len(siz) < 36 or len(cod) < 10:
        return False
    xsiz, ysiz, x0, y0, xt, yt, xt0, yt0 = (int.from_bytes(siz[i : i + 4], "big") for i in range(2, 34, 4))
    last = cod[1] in {RLCP, RPCL} or (cod[1] == LRCP and cod[2:4] == b"\x00\x01")
    one = xt >= xsiz and yt >= ysiz and not (x0 or y0 or xt0 or yt0)
    return one and last and cod[5] >= 1 and cod[9] in CENTRED and siz[34:] == b"\x00\x03" + b"\x07\x01\x01" * 3


def _one_tile_part(stream: bytes, at: int) -> bool:
    """Whether the tile is one part, all there, that ends the codestream, its data following at once."""
    length = int.from_bytes(stream[at + 6 : at + 10], "big") or len(stream) - at
    after = stream[at + length : at + length + 2]
    return at + length <= len(stream) and after in {END, b""} and stream[at + 12 : at + 14] == b"\xff\x93"


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

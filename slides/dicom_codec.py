"""How the frames of a DICOM slide are coded, by what their streams say rather than by what the header calls them.

Some converters write `PhotometricInterpretation = RGB` over JPEG frames that are YCbCr by every sign of the stream
(JFIF marker, component ids 1, 2, 3). A reader that trusts the header shows wrong colours; one that trusts the stream
alone is wrong about frames copied from Aperio, whose streams say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from slides import jpeg2000
from slides.codestream import ADOBE_RGB, Codec, Jpeg, Raw
from slides.errors import NotASlideError

if TYPE_CHECKING:
    from pydicom import Dataset

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
SOI, APP0, APP14, SOF0, SOF2, SOS = 0xD8, 0xE0, 0xEE, 0xC0, 0xC2, 0xDA
MISNAMED = "the DICOM header calls the pixels RGB, the JPEG data is YCbCr; they were converted"
Colours = Literal["rgb", "ycbcr"]


def codec_of(header: Dataset, frame: bytes) -> tuple[Codec, str | None]:
    """How to decode the frames of an instance.

    Args:
        header: Its attributes.
        frame: Its first frame, without item headers.

    Returns:
        A codec, and a warning where header and stream disagree.

    Raises:
        NotASlideError: If they are not 8-bit colour, or coded in a way that is not read.
    """
    depth = [header.get(keyword) for keyword in ("SamplesPerPixel", "BitsAllocated")]
    if depth != [3, 8] or header.get("PixelRepresentation", 0) != 0:
        msg = "the DICOM slide is not 8-bit colour, which is all that is read"
        raise NotASlideError(msg)
    syntax, named = str(header.file_meta.TransferSyntaxUID), str(header.get("PhotometricInterpretation", "RGB"))
    if syntax in NATIVE and named in {"RGB", "YBR_FULL"}:
        return Raw(planes_apart=header.get("PlanarConfiguration", 0) == 1, is_ycbcr=named == "YBR_FULL"), None
    if syntax == JPEG_BASELINE:
        said = colours_of_jpeg(frame)
        wrong = MISNAMED if named == "RGB" and said == "ycbcr" else None
        return Jpeg(ADOBE_RGB if said is None and named == "RGB" else b""), wrong
    if syntax in JPEG_2000:
        return jpeg2000.Jpeg2000(is_ycbcr=named.startswith("YBR_FULL") and not jpeg2000.mixes_components(frame)), None
    msg = "the DICOM slide is compressed in a way that is not read"
    raise NotASlideError(msg)


def colours_of_jpeg(stream: bytes) -> Colours | None:
    """What the markers of a JPEG stream of three components say of its colours.

    Args:
        stream: The stream.

    Returns:
        By the Adobe marker, the JFIF marker, the component ids "R", "G", "B" or 1, 2, 3, or subsampling; None where
        the stream says nothing.
    """
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] != SOS:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        said = _of_segment(marker, stream[at + 4 : at + 2 + length])
        if said is not None or SOF0 <= marker <= SOF2:
            return said
        at += 2 + length
    return None


def _of_segment(marker: int, segment: bytes) -> Colours | None:
    """What one marker segment says."""
    if marker == APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
        return "ycbcr" if segment[11] == 1 else "rgb"
    if marker == APP0 and segment[:4] == b"JFIF":
        return "ycbcr"
    if SOF0 <= marker <= SOF2 and segment[5:6] == b"\x03":
        ids, sampling = segment[6:15:3], segment[7:15:3]
        if ids == b"RGB":
            return "rgb"
        return "ycbcr" if ids == b"\x01\x02\x03" or len(set(sampling)) > 1 else None
    return None

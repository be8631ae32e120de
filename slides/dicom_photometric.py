"""Find DICOM slides whose header calls the pixels RGB while the JPEG frames hold YCbCr.

Some converters write `PhotometricInterpretation = RGB` over JPEG frames that carry neither an Adobe marker nor the
component ids "R", "G", "B". Such a frame is YCbCr by the JPEG File Interchange convention; a reader that trusts the
header shows wrong colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom
from pydicom.encaps import generate_fragments

if TYPE_CHECKING:
    from pathlib import Path

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
SOI, APP0, APP14, SOF0, SOF2, SOS = 0xD8, 0xE0, 0xEE, 0xC0, 0xC2, 0xDA


def jpeg_is_ycbcr_called_rgb(path: Path) -> bool:
    """Whether the file's first frame is YCbCr under a header that says RGB.

    Args:
        path: A DICOM file.

    Returns:
        True only for baseline JPEG where header and stream disagree in this way.
    """
    with pydicom.dcmread(path, specific_tags=["PhotometricInterpretation", "PixelData"], defer_size=1 << 16) as data:
        if data.file_meta.TransferSyntaxUID != JPEG_BASELINE or data.get("PhotometricInterpretation") != "RGB":
            return False
        fragments = generate_fragments(data.PixelData)
        next(fragments)  # the basic offset table
        return _stream_is_ycbcr(next(fragments))


def _stream_is_ycbcr(stream: bytes) -> bool:
    """What a JPEG decoder assumes of a three-component stream, by its markers."""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        segment = stream[at + 4 : at + 2 + length]
        if marker == APP14 and segment[:5] == b"Adobe":
            return segment[11] == 1
        if marker == APP0 and segment[:4] == b"JFIF":
            return True
        if SOF0 <= marker <= SOF2:
            return segment[5] == 3 and bytes(segment[6 + 3 * i] for i in range(3)) != b"RGB"
        if marker == SOS:
            break
        at += 2 + length
    return False

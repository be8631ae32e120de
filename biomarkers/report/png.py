"""Images as files and as data URIs; a PNG carries its notice inside, so that it keeps it when it is passed on."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

HEADER_END = 33
"""Bytes of the PNG signature and of its first chunk (IHDR): text may stand after them."""


def png(image: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> bytes:
    """Encode a PNG.

    Args:
        image: RGB or RGBA, [H, W, 3 or 4].
        text: Keyword -> text to keep inside the file (tEXt chunks, Latin-1).

    Returns:
        The file.
    """
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    data = cv2.imencode(".png", cv2.cvtColor(image, order), [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes()
    chunks = b"".join(
        _chunk(key.encode("latin-1") + b"\0" + value.encode("latin-1", "replace"))
        for key, value in (text or {}).items()
    )
    return data[:HEADER_END] + chunks + data[HEADER_END:]


def jpeg(image: NDArray[np.uint8], quality: int = 85) -> bytes:
    """Encode a JPEG.

    Args:
        image: RGB [H, W, 3].
        quality: 1..100.

    Returns:
        The file.
    """
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[
        1
    ].tobytes()


def data_uri(data: bytes, kind: str) -> str:
    """An image that needs no file beside it.

    Args:
        data: The encoded image.
        kind: `png` or `jpeg`.

    Returns:
        A data URI.
    """
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _chunk(body: bytes) -> bytes:
    """One tEXt chunk: length, type, body, checksum."""
    return struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))

"""A small MIRAX slide made of any picture: the container whose scanned part begins somewhere inside the slide."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

IDENTITY: Final = "0123456789ABCDEF"
SLIDEDAT: Final = """[GENERAL]
SLIDE_VERSION = 01.02
SLIDE_ID = {identity}
IMAGENUMBER_X = {cols}
IMAGENUMBER_Y = {rows}
OBJECTIVE_MAGNIFICATION = 20
CameraImageDivisionsPerSide = 1
[HIERARCHICAL]
HIER_COUNT = 1
NONHIER_COUNT = 0
INDEXFILE = Index.dat
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 1
HIER_0_VAL_0_SECTION = LAYER_0_LEVEL_0_SECTION
[DATAFILE]
FILE_COUNT = 1
FILE_0 = Data0000.dat
[LAYER_0_LEVEL_0_SECTION]
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = {mpp}
MICROMETER_PER_PIXEL_Y = {mpp}
IMAGE_FORMAT = JPEG
IMAGE_FILL_COLOR_BGR = 16777215
DIGITIZER_WIDTH = {side}
DIGITIZER_HEIGHT = {side}
IMAGE_CONCAT_FACTOR = 0
"""
"""The text index of a MIRAX slide with one level."""


def write_mirax(
    folder: Path,
    image: NDArray[np.uint8],
    *,
    tile: int = 128,
    mpp: float = 0.5,
    before: tuple[int, int] = (0, 0),
    after: tuple[int, int] = (0, 0),
) -> Path:
    """Write a text index, a binary index, and JPEG tiles in a data file.

    Args:
        folder: An empty folder.
        image: What was scanned, RGB [H, W, 3]; what is no whole tile is left out.
        tile: Side of a tile in pixels.
        mpp: Scale in um/px.
        before: Columns left of, and rows above what was scanned, that have no tile; the slide's bounds begin there.
        after: Columns right of, and rows below it, that have none.

    Returns:
        What to open.
    """
    inside = folder / "slide"
    inside.mkdir()
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    (folder / "slide.mrxs").write_bytes(cv2.imencode(".jpg", cv2.resize(bgr, (64, 64)))[1].tobytes())
    wide, high = image.shape[1] // tile, image.shape[0] // tile
    cols, rows = before[0] + wide + after[0], before[1] + high + after[1]
    data, records = bytearray(b"header"), bytearray()
    for number in range(wide * high):
        row, col = divmod(number, wide)
        part = np.ascontiguousarray(bgr[row * tile : (row + 1) * tile, col * tile : (col + 1) * tile])
        jpeg = cv2.imencode(".jpg", part)[1].tobytes()
        records += struct.pack("<iiii", (row + before[1]) * cols + col + before[0], len(data), len(jpeg), 0)
        data += jpeg
    (inside / "Data0000.dat").write_bytes(data)
    (inside / "Index.dat").write_bytes(_header(wide * high) + records)
    text = SLIDEDAT.format(identity=IDENTITY, cols=cols, rows=rows, side=tile, mpp=mpp)
    (inside / "Slidedat.ini").write_text(text)
    return folder / "slide.mrxs"


def _header(tiles: int) -> bytes:
    """The binary index before its records: each part says where the next one stands."""
    root = 5 + len(IDENTITY)
    level, page = root + 8 + 4, root + 8 + 4 + 8
    places = struct.pack("<ii", root + 8, 0) + struct.pack("<i", level) + struct.pack("<ii", 0, page)
    return f"01.02{IDENTITY}".encode() + places + struct.pack("<ii", tiles, 0)

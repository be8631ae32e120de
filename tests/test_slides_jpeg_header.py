"""What a tile's stream says of its size is asked before a decoder believes it."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from slides import DamagedSlideError, Region, Size, open_slide
from slides.codestream import BROKEN, Jpeg
from slides.jpeg2000 import Jpeg2000
from slides.jpeg_header import frame_size, require_size
from slides.testing import draw, write_slide

TILE = Size(256, 256)
SOON = 0.3
"""Seconds; decoding what these streams claim takes from 1 to 40."""


def jpeg(side: int = 256, *how: int) -> bytes:
    return cv2.imencode(".jpg", draw(side, side, 0.5, seed=1), list(how))[1].tobytes()


def claiming(stream: bytes, marker: bytes = b"\xff\xc0", side: int = 65500) -> bytes:
    """The same stream, its frame header changed."""
    at = stream.index(marker)
    return stream[: at + 5] + struct.pack(">HH", side, side) + stream[at + 9 :]


def hidden(stream: bytes) -> bytes:
    """A large frame header behind a marker without length; who takes it for one with a length finds a small one."""
    marker, good = b"\xff\x01", stream[stream.index(b"\xff\xc0") :]
    large = claiming(good)
    return b"\xff\xd8" + marker + large + bytes(max(0, 2 + 0xFFC0 - len(large))) + good


@given(st.integers(1, 65535), st.integers(1, 65535), st.sampled_from([0xC0, 0xC1, 0xC2, 0xC9]), st.integers(0, 9))
@settings(max_examples=30)
def test_the_size_stands_in_the_frame_header(width: int, height: int, marker: int, segments: int) -> None:
    before = b"".join(
        b"\xff" * (1 + i % 3) + bytes([0xE0 + i]) + struct.pack(">H", 2 + i) + b"\xff" * i for i in range(segments)
    )
    frame = bytes([0xFF, marker]) + struct.pack(">HBHH", 17, 8, height, width)
    assert frame_size(b"\xff\xd8" + before + frame) == (width, height)
    assert frame_size(b"\xff\xd8" + before + frame[:-1]) is None


@pytest.mark.parametrize("how", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_OPTIMIZE, 1)])
def test_tiles_of_their_size_are_decoded(how: tuple[int, ...]) -> None:
    for shrink in Jpeg.shrinks:
        assert Jpeg().decode(jpeg(256, *how), TILE, shrink).shape == (256 // shrink, 256 // shrink, 3)


@pytest.mark.parametrize("side", [255, 257, 248, 264])
def test_another_size_is_refused_at_every_scale(side: int) -> None:
    """Shrunk, 255 px round up to as many as 256 give."""
    for shrink in Jpeg.shrinks:
        with pytest.raises(ValueError, match="size"):
            Jpeg().decode(jpeg(side), TILE, shrink)


GOOD = jpeg()
HOSTILE = {
    "baseline": claiming(GOOD),
    "progressive": claiming(jpeg(256, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), b"\xff\xc2"),
    "behind fill bytes": claiming(GOOD).replace(b"\xff\xc0", b"\xff\xff\xff\xc0"),
    "behind a marker without length": hidden(GOOD),
    "behind garbage": claiming(GOOD).replace(b"\xff\xc0", b"\0\0\xff\xc0"),
    "fill bytes alone": b"\xff\xd8" + b"\xff" * 10_000_000,
    "empty segments": b"\xff\xd8" + b"\xff\xe1\x00\x02" * 2_000_000,
    "no height": claiming(GOOD, side=0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_huge_claim_costs_nothing(name: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(BROKEN):
        Jpeg().decode(HOSTILE[name], TILE, 1)
    assert time.perf_counter() - begin < SOON


def test_shared_tables_cannot_bring_a_frame_header() -> None:
    """The decoder would take theirs, and the tile's own for pixels."""
    start, end = (GOOD.index(marker) for marker in (b"\xff\xc0", b"\xff\xda"))
    codec = Jpeg.abbreviated(b"\xff\xd8" + claiming(GOOD[start:end]) + b"\xff\xd9", is_rgb=False)
    begin = time.perf_counter()
    with pytest.raises(BROKEN):
        codec.decode(GOOD, TILE, 1)
    assert time.perf_counter() - begin < SOON


def test_asking_is_quick() -> None:
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        for _ in range(100):
            require_size(GOOD, TILE)
        times.append(time.perf_counter() - begin)
    assert min(times) / 100 < 5e-6  # 0.8 us on the machine where it was written


def test_a_huge_tile_is_reported_by_place_and_at_once(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "s.svs", size=(1200, 900), seed=3)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        tiff.filehandle.seek(page.dataoffsets[7])
        tile = tiff.filehandle.read(page.databytecounts[7])
    with path.open("r+b") as file:
        file.seek(page.dataoffsets[7])
        file.write(claiming(tile))
    with open_slide(path) as slide:
        begin = time.perf_counter()
        with pytest.raises(DamagedSlideError, match=r"\(480, 240\)"):
            slide.read(Region(0, 0, 1200, 900))
        assert time.perf_counter() - begin < SOON
        assert slide.read(Region(0, 0, 480, 900)).shape == (900, 480, 3)


@pytest.mark.parametrize("form", ["J2K", "JP2"])
@pytest.mark.parametrize("side", [20_000, 65_500])
def test_a_huge_codestream_costs_nothing(form: str, side: int) -> None:
    stream = bytearray(imagecodecs.jpeg2k_encode(draw(256, 256, 0.5, seed=1), level=60, codecformat=form))
    at = stream.index(b"\xff\x4f\xff\x51")
    for place in (8, 12, 24, 28):  # the image and its only tile
        stream[at + place : at + place + 4] = struct.pack(">I", side)
    for shrink in Jpeg2000.shrinks:
        begin = time.perf_counter()
        with pytest.raises(BROKEN):
            Jpeg2000().decode(bytes(stream), TILE, shrink)
        assert time.perf_counter() - begin < SOON


def test_what_was_checked_of_a_codestream_is_what_is_decoded() -> None:
    """A box with a small header in front of the codestream does not speak for it."""
    stream = bytes(imagecodecs.jpeg2k_encode(draw(256, 256, 0.5, seed=1), level=60, codecformat="JP2"))
    small = stream[stream.index(b"\xff\x4f\xff\x51") :][:51]
    large = stream.replace(small[8:16], struct.pack(">II", 20_000, 20_000))
    at = large.index(b"jp2h") - 4
    decoy = large[:at] + struct.pack(">I4s", 8 + len(small), b"free") + small + large[at:]
    begin = time.perf_counter()
    with pytest.raises(BROKEN):
        Jpeg2000().decode(decoy, TILE, 1)
    assert time.perf_counter() - begin < SOON
    assert np.array_equal(Jpeg2000().decode(stream, TILE, 1), imagecodecs.jpeg2k_decode(stream))

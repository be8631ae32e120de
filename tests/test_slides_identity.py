"""The content hash: another picture, another hash, whatever the bytes have in common."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slides import Region, Size, open_slide
from slides.identity import MOST_SAMPLED, content_hash, sample
from slides.synthetic_dicom import DicomSpec, picture, write_dicom
from slides.synthetic_tiff import write_lossless
from slides.synthetic_zarr import write_ome_zarr
from slides.testing import draw

CM: dict[str, Any] = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
numbers = itertools.count()


def hash_of(*parts: bytes | None, coding: str = "") -> str:
    return content_hash((f"test {next(numbers)}",), Size(9, 9), lambda: parts, coding)


@given(st.lists(st.none() | st.binary(max_size=4), max_size=4), st.lists(st.none() | st.binary(max_size=4), max_size=4))
def test_parts_do_not_run_together(one: list[bytes | None], two: list[bytes | None]) -> None:
    assert (hash_of(*one) == hash_of(*two)) == (one == two)


def test_places_absence_and_coding_count() -> None:
    hashes = {
        hash_of(b"ab", b"c"),
        hash_of(b"a", b"bc"),
        hash_of(b"abc"),
        hash_of(b"abc", None),
        hash_of(None, b"abc"),
        hash_of(b"abc", b""),
        hash_of(b"abc", coding="x"),
    }
    assert len(hashes) == 7


def test_the_same_bytes_in_tiles_of_another_shape(tmp_path: Path) -> None:
    image = draw(512, 512, 0.5)
    across = np.concatenate([image[:, i : i + 256].reshape(-1) for i in (0, 256)]).reshape(2, 256, 512, 3)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(512, 256), photometric="rgb", **CM)
    tifffile.imwrite(tmp_path / "b.tif", np.concatenate(list(across)), tile=(256, 512), photometric="rgb", **CM)
    differ(tmp_path / "a.tif", tmp_path / "b.tif")


@pytest.mark.parametrize("reader", ["tiff-jpeg", "openslide"])
def test_the_same_streams_under_another_photometric(tmp_path: Path, reader: str) -> None:
    image = draw(512, 512, 0.5)
    streams = [bare(image[y : y + 256, x : x + 256]) for y in (0, 256) for x in (0, 256)]
    for value in (2, 6):
        path = tmp_path / f"{value}.tif"
        with tifffile.TiffWriter(path) as tiff:
            size: dict[str, Any] = {"shape": (512, 512, 3), "tile": (256, 256)}
            tiff.write(iter(streams), dtype="u1", photometric="ycbcr", compression="jpeg", **size, **CM)
            if reader == "openslide":  # levels that do not fall, which our reader leaves alone
                tiff.write(iter(streams), dtype="u1", photometric="ycbcr", compression="jpeg", **size, **CM)
        with tifffile.TiffFile(path, mode="r+") as tiff:
            tiff.pages[0].tags["PhotometricInterpretation"].overwrite(value)  # type: ignore[union-attr]
        with open_slide(path) as slide:
            assert slide.info.reader == reader
    differ(tmp_path / "2.tif", tmp_path / "6.tif")


def test_a_frame_at_another_place_of_a_sparse_slide(tmp_path: Path) -> None:
    paths = []
    for kept in (1, 2):
        image = np.full((512, 1024, 3), 255, np.uint8)
        image[:256, 256 * kept : 256 * (kept + 1)] = picture()[:256, :256]
        folder = tmp_path / str(kept)
        folder.mkdir()
        left_out = frozenset(set(range(8)) - {kept})
        spec = DicomSpec(organization="TILED_SPARSE", left_out=left_out, stream="jfif")
        paths.append(write_dicom(folder / "s.dcm", image, spec).parent)
    differ(*paths)


def test_the_same_bytes_under_another_predictor(tmp_path: Path) -> None:
    paths = [write_lossless(tmp_path / f"{i}.tif", "zlib", predictor=True) for i in (1, 2)]
    with tifffile.TiffFile(paths[0], mode="r+") as tiff:
        tiff.pages[0].tags["Predictor"].overwrite(1)  # type: ignore[union-attr]
    differ(*paths)


def test_an_absent_chunk_and_its_place(tmp_path: Path) -> None:
    paths = [write_ome_zarr(tmp_path / f"{i}.zarr", seed=3) for i in range(3)]
    for path, column in zip(paths[1:], (1, 2), strict=True):
        (path / "0" / "c" / "0" / "1" / str(column)).unlink()
    hashes = []
    for path in paths:
        with open_slide(path) as slide:
            hashes.append(slide.info.content_hash)
    assert len(set(hashes)) == 3


@given(st.integers(1, 200_000))
def test_a_sample_is_small_and_has_both_ends(count: int) -> None:
    found = sample(count)
    assert (found[0], found[-1]) == (0, count - 1)
    assert found == sorted(set(found))
    assert len(found) <= min(MOST_SAMPLED, max(2, count // 64))


def bare(tile: NDArray[np.uint8]) -> bytes:
    """A JPEG stream that says nothing of its colours."""
    stream: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(tile), 90, "RGB", "444")
    return stream[:2] + stream[4 + int.from_bytes(stream[4:6], "big") :]


def differ(one: Path, two: Path) -> None:
    """Other pixels, other hash."""
    with open_slide(one) as a, open_slide(two) as b:
        region = Region(0, 0, 512, 512)
        assert a.info.size == b.info.size
        assert not np.array_equal(a.read(region), b.read(region))
        assert a.info.content_hash != b.info.content_hash

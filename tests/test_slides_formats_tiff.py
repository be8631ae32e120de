"""The readers of the TIFF family beside plain JPEG: JPEG 2000, lossless, OME and Philips, on files written here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile
from numpy.typing import NDArray

from slides import Address, DamagedSlideError, Mpp, Region, Size, Slide, open_slide, tiff_pages
from slides.jpeg2000 import Jpeg2000, is_plain, mixes_components, without_finest_band
from slides.synthetic_tiff import overwrite, write_jpeg2000, write_lossless, write_ome, write_philips
from slides.testing import SlideConformance, draw


def jpeg2000(image: NDArray[np.uint8], **coding: Any) -> bytes:  # noqa: ANN401 - what the encoder takes
    """A codestream."""
    return bytes(imagecodecs.jpeg2k_encode(np.ascontiguousarray(image), **coding))


class TestJpeg2000(SlideConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        return Address.of(write_jpeg2000(tmp_path_factory.mktemp("conformance") / "a-made-slide.svs"))


class TestLossless(SlideConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        return Address.of(write_lossless(tmp_path_factory.mktemp("conformance") / "a-made-slide.tiff", "zlib"))


class TestOme(SlideConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        return Address.of(write_ome(tmp_path_factory.mktemp("conformance") / "a-made-slide.ome.tiff"))


class TestPhilips(SlideConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        return Address.of(write_philips(tmp_path_factory.mktemp("conformance") / "a-made-slide.tiff"))


def read_level(slide: Slide, level: int, size: Size) -> np.ndarray:
    source = next(s for s in slide.sources if (s.level, s.shrink) == (level, 1))
    return slide._read_source(source, 0, 0, size)


def test_jpeg2000_equals_openslide_at_every_level(tmp_path: Path, data_dir: Path) -> None:
    for path in (write_jpeg2000(tmp_path / "s.svs"), data_dir / "slides" / "aperio_tcga_j2k_no_mpp.svs"):
        reference = openslide.OpenSlide(str(path))
        with open_slide(path) as slide:
            assert slide.info.reader == "tiff-jpeg2000"
            assert [(level.size.width, level.size.height) for level in slide.info.levels] == list(
                reference.level_dimensions
            )
            for number, (width, height) in enumerate(reference.level_dimensions):
                expected = np.asarray(reference.read_region((0, 0), number, (width, height)).convert("RGB"))
                assert np.array_equal(read_level(slide, number, Size(width, height)), expected)


@pytest.mark.parametrize(("reversible", "decibel"), [(False, 38.0), (True, 36.0)])
def test_half_size_jpeg2000_is_close_to_the_average_and_does_not_shift(
    data_dir: Path, *, reversible: bool, decibel: float
) -> None:
    files = sorted((data_dir / "patches" / "tumour").glob("*.jpg"))[:8]
    tiles = [simplejpeg.decode_jpeg(file.read_bytes()) for file in files]
    errors, shifts = [], []
    for tile in tiles:
        rgb = tile[:128, :128]
        stream = jpeg2000(rgb, level=40, reversible=reversible, codecformat="J2K")
        full = Jpeg2000().decode(stream, Size(128, 128), 1)
        average = cv2.resize(full, (64, 64), interpolation=cv2.INTER_AREA)
        half = Jpeg2000().decode(stream, Size(128, 128), 2)
        errors.append(((half.astype(float) - average) ** 2).mean())
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (half, average)]
        shifts.append(cv2.phaseCorrelate(*grey)[0])
    assert 10 * np.log10(255**2 / np.mean(errors)) > decibel
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.05  # the bare samples are off by 0.25


def test_a_codestream_that_cannot_be_cut_is_averaged() -> None:
    image = draw(256, 256, 0.5, seed=1)
    stream = jpeg2000(image, level=0, codecformat="J2K", resolutions=1)  # no finest band that could go
    assert without_finest_band(stream) is None
    bare = jpeg2000(image, level=0, codecformat="J2K")
    assert without_finest_band(bare) is not None
    assert without_finest_band(bare[: len(bare) // 2]) is None
    half = Jpeg2000().decode(stream, Size(256, 256), 2)
    assert np.array_equal(half, cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA))


def test_what_a_codestream_says_of_its_components() -> None:
    image = draw(64, 64, 0.5)
    mixed, apart = (jpeg2000(image, level=0, codecformat="J2K", mct=mct) for mct in (True, False))
    assert is_plain(mixed)
    assert mixes_components(mixed)
    assert not mixes_components(apart)
    grey = jpeg2000(image[:, :, 0], level=0, codecformat="J2K")
    assert not is_plain(grey)
    assert not is_plain(b"")
    assert not mixes_components(b"\xff\x4f\xff\x51")


def test_subsampled_jpeg2000_stays_with_openslide(tmp_path: Path) -> None:
    path = write_jpeg2000(tmp_path / "s.svs")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset + 46)
        file.write(b"\x02")  # XRsiz of the second component
    with open_slide(path) as slide:
        assert slide.info.reader == "openslide"


@pytest.mark.parametrize("write", [write_jpeg2000, lambda path: write_lossless(path, "zlib"), write_ome])
def test_a_tile_that_ends_early_is_reported_by_place(tmp_path: Path, write: object) -> None:
    path = write(tmp_path / "s.svs")  # type: ignore[operator]
    overwrite(path, "TileByteCounts", {7}, 0.6)  # a stream that ends early
    with open_slide(path) as slide:
        slide.read(Region(512, 512, 200, 200))
        with pytest.raises(DamagedSlideError, match=r"level-0 pixel \(256, 256\)"):
            slide.read(Region(0, 0, 1500, 1200))


@pytest.mark.parametrize(
    ("compression", "predictor"),
    [(None, False), ("zlib", False), ("zlib", True), ("lzw", True), ("zstd", False), ("packbits", False)],
)
def test_lossless_pixels_come_back_exactly(tmp_path: Path, compression: str | None, *, predictor: bool) -> None:
    path = write_lossless(tmp_path / "s.tiff", compression, predictor=predictor)
    with open_slide(path) as slide:
        assert (slide.info.reader, slide.info.format, slide.info.decode) == ("tiff", "generic-tiff", "full")
        assert slide.info.mpp == Mpp.square(0.5)
        assert [level.downsample for level in slide.info.levels] == [1, 2]
        assert np.array_equal(slide.read(Region(0, 0, 1500, 1200)), draw(1500, 1200, 0.5, seed=4))


@pytest.mark.parametrize(
    ("size", "unit", "um"),
    [(0.5, "µm", 0.5), (500.0, "nm", 0.5), (0.0005, "mm", 0.5), (0.5, "parsec", None), (0.0, "µm", None)],
)
def test_the_scale_of_ome_has_units(tmp_path: Path, size: float, unit: str, um: float | None) -> None:
    with open_slide(write_ome(tmp_path / "s.ome.tiff", size_um=size, unit=unit)) as slide:
        assert (slide.info.reader, slide.info.format) == ("tiff-ome", "ome-tiff")
        assert slide.info.mpp == (None if um is None else pytest.approx(Mpp.square(um)))
        assert [level.size.width for level in slide.info.levels] == [1500, 750, 375]


def test_ome_pixels_are_those_that_were_drawn(tmp_path: Path) -> None:
    with open_slide(write_ome(tmp_path / "s.ome.tiff", compression="zlib")) as slide:
        assert np.array_equal(slide.read(Region(0, 0, 1500, 1200)), draw(1500, 1200, 0.5, seed=6))


def test_philips_equals_openslide_with_its_padding_and_its_glass(tmp_path: Path) -> None:
    glass = frozenset({0, 1, 9, 29})
    path = write_philips(tmp_path / "s.tiff", glass=glass)
    reference = openslide.OpenSlide(str(path))
    assert reference.properties["openslide.vendor"] == "philips"
    with open_slide(path) as slide:
        assert (slide.info.reader, slide.info.format, slide.info.objective_power) == ("tiff-philips", "philips", 40)
        assert slide.info.mpp == Mpp(*(float(reference.properties[f"openslide.mpp-{axis}"]) for axis in "xy"))
        assert [(v.size.width, v.size.height) for v in slide.info.levels] == list(reference.level_dimensions)
        for number, (width, height) in enumerate(reference.level_dimensions):
            expected = np.asarray(reference.read_region((0, 0), number, (width, height)))
            read = read_level(slide, number, Size(width, height))
            scanned = expected[..., 3] == 255
            assert np.array_equal(read[scanned], expected[..., :3][scanned])
            assert (read[~scanned] == 255).all()
            assert scanned.all() == (number > 0)


def test_label_and_barcode_of_philips_stay_unread(tmp_path: Path) -> None:
    path = write_philips(tmp_path / "s.tiff")
    copy = tmp_path / "copy.tiff"
    shutil.copy(path, copy)
    with tifffile.TiffFile(copy, mode="r+") as tiff:
        tag = tiff.pages[0].tags["ImageDescription"]  # type: ignore[union-attr]
        tag.overwrite(tag.value.replace("<Array>", "<!--CANARY--><Array>", 1))
    with open_slide(path) as a, open_slide(copy) as b:
        assert a.info.content_hash == b.info.content_hash
        assert "CANARY" not in repr(b.info)


def test_overlapping_tiles_stay_with_openslide(tmp_path: Path) -> None:
    """Trestle's tiles overlap; read as a plain pyramid the picture is torn and the slide too large."""
    path = tmp_path / "s.tif"
    about = "Background Color=FFFFFF;White Balance=FFFFFF;Objective Power=20;JPEG Quality=70;OverlapsXY=64 64 "
    written: dict[str, Any] = {"tile": (256, 256), "photometric": "ycbcr", "compression": "jpeg", "metadata": None}
    tifffile.imwrite(path, draw(1024, 1024, 0.5), software="MedScan 1", description=about, **written)
    with open_slide(path) as slide:
        assert (slide.info.reader, slide.info.format, slide.info.size) == ("openslide", "trestle", Size(832, 832))
    with tifffile.TiffFile(path) as tiff:
        assert not tiff_pages.is_plain(tiff)  # where OpenSlide cannot be asked, as of a remote file


@pytest.mark.parametrize("marker", ["JFIF", "none"])
def test_rgb_over_streams_that_say_ycbcr_is_reported(tmp_path: Path, marker: str) -> None:
    path, image = tmp_path / "s.tif", draw(512, 512, 0.5)
    corners = [(y, x) for y in (0, 256) for x in (0, 256)]
    tiles = [np.ascontiguousarray(image[y : y + 256, x : x + 256]) for y, x in corners]
    streams = [simplejpeg.encode_jpeg(tile, 90, "RGB", "444") for tile in tiles]
    if marker == "none":
        streams = [stream[:2] + stream[4 + int.from_bytes(stream[4:6], "big") :] for stream in streams]
    with tifffile.TiffWriter(path) as tiff:
        size: dict[str, Any] = {"shape": (512, 512, 3), "tile": (256, 256)}
        tiff.write(iter(streams), dtype="u1", photometric="ycbcr", compression="jpeg", **size)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["PhotometricInterpretation"].overwrite(2)  # type: ignore[union-attr]
    with open_slide(path) as slide:
        assert slide.info.reader == "tiff-jpeg"
        assert slide.info.warnings == ((tiff_pages.MISNAMED,) if marker == "JFIF" else ())
        wrong = np.abs(slide.read(Region(0, 0, 512, 512)).astype(int) - image).mean() > 4
    assert wrong == (marker == "none")  # which is what such a file says

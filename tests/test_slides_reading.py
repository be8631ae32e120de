"""Reading real and made slides: scale policy, places, colours, identity, and every bad input."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from slides import (
    Address,
    BadMppError,
    DamagedSlideError,
    MissingMppError,
    Mpp,
    NotASlideError,
    Region,
    RegionError,
    Size,
    SlideError,
    SlideInfo,
    SlideNotFoundError,
    open_slide,
)
from slides.header import scale
from slides.testing import draw, write_slide


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("made") / "made.svs", size=(2000, 1500), seed=3)


def test_a_made_slide_is_described(made: Path) -> None:
    with open_slide(made) as slide:
        info = slide.info
    assert (info.size, info.mpp, info.mpp_source, info.format) == (
        Size(2000, 1500),
        Mpp.square(0.5),
        "header",
        "aperio",
    )
    assert len(info.levels) == 2
    assert info.levels[1].downsample == pytest.approx(4)
    assert SlideInfo.from_json(info.to_json()) == info


def test_pixels_are_those_that_were_drawn(made: Path) -> None:
    drawn = draw(2000, 1500, 0.5, seed=3)
    with open_slide(made) as slide:
        read = slide.read(Region(700, 500, 300, 200))
    # JPEG at quality 85 with noise on top: close, and a shift or a swapped channel would show at once.
    assert np.abs(read.astype(int) - drawn[500:700, 700:1000]).mean() < 4


def test_native_pixels_equal_openslides_own(data_dir: Path) -> None:
    path = data_dir / "slides" / "aperio_cmu1_small.svs"
    reference = openslide.OpenSlide(str(path)).read_region((400, 900), 0, (500, 300)).convert("RGB")
    with open_slide(path) as slide:
        assert np.array_equal(slide.read(Region(400, 900, 500, 300)), np.asarray(reference))


@pytest.mark.parametrize(("mpp", "side"), [(0.5, 400), (1.0, 200), (2.0, 100), (0.75, 267), (0.25, 800)])
def test_the_result_has_the_size_of_its_scale(made: Path, mpp: float, side: int) -> None:
    with open_slide(made) as slide:
        assert slide.read(Region(100, 100, 400, 400), mpp).shape == (side, side, 3)


def test_beyond_the_slide_is_white(made: Path) -> None:
    with open_slide(made) as slide:
        assert (slide.read(Region(-300, -300, 200, 200)) == 255).all()
        assert (slide.read(Region(5000, 5000, 64, 64), 2.0) == 255).all()
        edge = slide.read(Region(1990, 700, 20, 10))
    assert (edge[:, 10:] == 255).all()


def test_an_absurd_read_is_refused(made: Path) -> None:
    with open_slide(made) as slide, pytest.raises(RegionError):
        slide.read(Region(0, 0, 10**6, 10**6))


def test_a_tile_does_not_depend_on_its_neighbours(made: Path) -> None:
    with open_slide(Address.of(made, 0.46)) as slide:
        regions = [Region(100 + 243 * i, 301, 243, 243) for i in range(4)]
        together = slide.read_tiles(regions, Size(224, 224))
        alone = [slide.read_tiles([region], Size(224, 224))[0] for region in regions]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_many_threads_read_the_same_pixels(made: Path) -> None:
    regions = [Region(x, y, 256, 256) for x in range(0, 1800, 200) for y in range(0, 1300, 200)]
    with open_slide(made) as slide, ThreadPoolExecutor(8) as pool:
        assert all(
            np.array_equal(a, slide.read(r)) for a, r in zip(pool.map(slide.read, regions), regions, strict=True)
        )


def test_the_thumbnail_covers_the_slide(made: Path) -> None:
    drawn = draw(2000, 1500, 0.5, seed=3)
    with open_slide(made) as slide:
        small = slide.thumbnail(200)
    assert small.shape == (150, 200, 3)
    expected = drawn.reshape(150, 10, 200, 10, 3).mean((1, 3))
    assert np.abs(small - expected).mean() < 4


def test_the_callers_scale_wins(made: Path) -> None:
    with open_slide(Address.of(made, 0.25)) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (Mpp.square(0.25), "caller")


def test_a_slide_without_scale_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "s.svs", size=(600, 500), mpp=None)) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (None, "none")
        with pytest.raises(MissingMppError, match="--mpp0"):
            slide.read(Region(0, 0, 10, 10), 1.0)


@pytest.mark.parametrize(
    ("properties", "expected", "warned"),
    [
        ({"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}, (0.5, "header"), False),
        (
            {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5", "openslide.objective-power": "40"},
            (0.5, "header"),
            True,
        ),
        ({"openslide.objective-power": "40"}, (0.25, "objective-power"), True),
        ({"openslide.mpp-x": "0", "openslide.mpp-y": "0"}, (None, "none"), True),
        (
            {"openslide.mpp-x": "nan", "openslide.mpp-y": "0.5", "openslide.objective-power": "20"},
            (0.5, "objective-power"),
            True,
        ),
        ({"openslide.mpp-x": "0,5", "openslide.mpp-y": "0,5"}, (None, "none"), False),
        ({"openslide.objective-power": "0"}, (None, "none"), False),
    ],
)
def test_the_scale_policy(properties: dict[str, str], expected: tuple[float | None, str], *, warned: bool) -> None:
    mpp, source, warnings = scale(Address("x"), properties)
    assert (mpp.x if mpp else None, source) == expected
    assert bool(warnings) == warned


def test_an_impossible_scale_of_the_caller_is_refused(made: Path) -> None:
    with pytest.raises(BadMppError):
        Address.of(made, 0)


def test_an_address_travels(made: Path) -> None:
    address = pickle.loads(pickle.dumps(Address.of(made, 0.5)))  # noqa: S301 - what Dask does with our own object
    with open_slide(address) as slide:
        assert slide.info.mpp_source == "caller"


def test_label_and_header_do_not_change_the_content_hash(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other name.svs"
    shutil.copy(made, copy)
    with tifffile.TiffFile(copy, mode="r+") as tiff:
        tag = tiff.pages[0].tags["ImageDescription"]  # type: ignore[union-attr]
        tag.overwrite("Aperio Image Library v12.0.15 |Patient = CANARY|MPP = 0.5000")
    with open_slide(made) as a, open_slide(copy) as b:
        assert a.info.content_hash == b.info.content_hash
        assert "CANARY" not in repr(b.info)


def test_another_pixel_changes_the_content_hash(tmp_path: Path) -> None:
    hashes = set()
    for seed in (1, 2):
        with open_slide(write_slide(tmp_path / f"{seed}.svs", size=(600, 500), seed=seed)) as slide:
            hashes.add(slide.info.content_hash)
    assert len(hashes) == 2


def test_nothing_at_the_address(tmp_path: Path) -> None:
    with pytest.raises(SlideNotFoundError):
        open_slide(tmp_path / "nothing.svs")


@pytest.mark.parametrize("content", [b"", b"hello", b"II*\0" + b"\0" * 400, b"\x89PNG\r\n"])
def test_what_is_no_slide(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "PATIENT_NAME.svs"
    path.write_bytes(content)
    with pytest.raises(NotASlideError) as error:
        open_slide(path)
    assert "PATIENT" not in str(error.value)


def test_an_empty_folder_is_no_slide(tmp_path: Path) -> None:
    with pytest.raises(NotASlideError):
        open_slide(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_truncated_slide_is_a_typed_error(made: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.svs"
    path.write_bytes(made.read_bytes()[: int(made.stat().st_size * share)])
    with pytest.raises(SlideError), open_slide(path) as slide:
        slide.thumbnail(500)


def test_a_broken_tile_is_reported_by_place(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.svs"
    shutil.copy(made, path)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        offset, length = page.dataoffsets[10], page.databytecounts[10]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * length)
    with open_slide(path) as slide, pytest.raises(DamagedSlideError, match="cannot be decoded"):
        slide.read(Region(0, 0, 2000, 1500))


def test_dicom_colours_follow_the_stream_and_not_the_header(data_dir: Path) -> None:
    """The DICOM file holds the same scan as the SVS; OpenSlide alone shows it in wrong colours."""
    slides = data_dir / "slides"
    with open_slide(slides / "aperio_cmu1_small.svs") as svs, open_slide(slides / "dicom_cmu1") as dicom:
        assert any("converted" in warning for warning in dicom.info.warnings)
        assert dicom.info.mpp == svs.info.mpp
        a, b = (slide.read(Region(400, 800, 1024, 1024)) for slide in (svs, dicom))
    blocks = [image.reshape(32, 32, 32, 32, 3).mean((1, 3)) for image in (a, b)]
    assert np.abs(blocks[0] - blocks[1]).mean() < 3  # two JPEG compressions of one scan; unconverted it is above 50


def test_the_broken_slide_of_others_is_refused(data_dir: Path) -> None:
    with pytest.raises(NotASlideError):
        open_slide(data_dir / "slides" / "broken.svs")


@pytest.mark.parametrize(
    "name", ["aperio_cmu1_small.svs", "hamamatsu_fluorescence.ndpi", "marrow_jpeg.dcm", "marrow_jpeg2000.dcm"]
)
def test_real_formats_open(data_dir: Path, name: str) -> None:
    with open_slide(data_dir / "slides" / name) as slide:
        assert slide.info.mpp is not None
        assert len(slide.info.content_hash) == 64
        assert max(slide.thumbnail(128).shape) == 128

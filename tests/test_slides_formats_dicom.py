"""DICOM whole-slide images, written here with pydicom in every coding and order of frames that the reader takes."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import openslide
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import UID, generate_uid

from slides import Address, DamagedSlideError, Mpp, NotASlideError, Region, Size, SlideError, open_slide
from slides.dicom_codec import colours_of_jpeg
from slides.errors import UnsafeSlideError
from slides.formats.dicom import DicomReader
from slides.synthetic_dicom import (
    EXPLICIT,
    HEIGHT,
    IMPLICIT,
    J2K,
    J2K_LOSSLESS,
    TILE,
    WIDTH,
    DicomSpec,
    picture,
    write_dicom,
    write_dicom_folder,
)
from slides.testing import SlideConformance


def difference(path: Path, expected: NDArray[np.uint8]) -> float:
    with open_slide(path) as slide:
        assert slide.info.reader == "dicom"
        read = slide.read(Region(0, 0, WIDTH, HEIGHT))
    return float(np.abs(read.astype(int) - expected).mean())


class TestJpegFolder(SlideConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        return Address.of(write_dicom_folder(tmp_path_factory.mktemp("conformance") / "a-made-slide"))


class TestSparseJpeg2000(SlideConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        spec = DicomSpec(syntax=J2K, photometric="YBR_ICT", organization="TILED_SPARSE")
        return Address.of(write_dicom(tmp_path_factory.mktemp("conformance") / "a-made-slide.dcm", spec=spec))


@pytest.mark.parametrize("where", ["", "a.dcm", "b.dcm", "m.dcm"])
def test_any_file_of_the_series_leads_to_the_slide(tmp_path: Path, where: str) -> None:
    folder = write_dicom_folder(tmp_path / "slide")
    write_dicom(folder / "another patient's.dcm", picture(seed=1), DicomSpec(series="9.9.9"))
    (folder / "notes.txt").write_text("not a slide")
    with open_slide(folder / where if where else folder) as slide:
        info = slide.info
    assert [level.size for level in info.levels] == [Size(1000, 800), Size(500, 400), Size(250, 200)]
    assert any("several DICOM series" in warning for warning in info.warnings) == (where == "")
    assert (info.mpp, info.mpp_source, info.objective_power) == (Mpp.square(0.5), "header", 20)
    assert "CANARY" not in repr(info)


LOSSLESS = [
    DicomSpec(syntax=EXPLICIT, photometric="RGB"),
    DicomSpec(syntax=IMPLICIT, photometric="RGB"),
    DicomSpec(syntax=EXPLICIT, photometric="RGB", planar=1),
    DicomSpec(syntax=EXPLICIT, photometric="RGB", organization="TILED_SPARSE"),
    DicomSpec(syntax=J2K_LOSSLESS, photometric="YBR_RCT"),
    DicomSpec(syntax=J2K_LOSSLESS, photometric="RGB", table="none"),
    DicomSpec(syntax=J2K_LOSSLESS, photometric="YBR_RCT", table="extended"),
    DicomSpec(syntax=J2K_LOSSLESS, photometric="YBR_RCT", table="basic", fragments=3),
    DicomSpec(syntax=J2K_LOSSLESS, photometric="YBR_RCT", table="none", fragments=2),
    DicomSpec(syntax=J2K_LOSSLESS, photometric="RGB", organization=None),
    DicomSpec(syntax=J2K_LOSSLESS, photometric="RGB", kind=("DERIVED", "PRIMARY", "VOLUME", "NONE", "MERGED")),
    DicomSpec(syntax=J2K_LOSSLESS, photometric="RGB", planes=2),
]


@pytest.mark.parametrize("spec", LOSSLESS, ids=str)
def test_pixels_without_loss_come_back_exactly(tmp_path: Path, spec: DicomSpec) -> None:
    assert difference(write_dicom(tmp_path / "s.dcm", spec=spec), picture()) == 0


@pytest.mark.parametrize(
    "spec",
    [
        DicomSpec(),
        DicomSpec(photometric="RGB"),  # the header is wrong, the stream says YCbCr
        DicomSpec(photometric="RGB", stream="adobe-rgb"),
        DicomSpec(photometric="YBR_FULL_422", stream="adobe-rgb"),  # the header is wrong, the stream says RGB
        DicomSpec(photometric="RGB", stream="bare-rgb"),  # only the header says
        DicomSpec(syntax=J2K, photometric="YBR_FULL"),
    ],
    ids=str,
)
def test_colours_follow_the_stream(tmp_path: Path, spec: DicomSpec) -> None:
    path = write_dicom(tmp_path / "s.dcm", spec=spec)
    assert difference(path, picture()) < 4  # wrong colours are off by more than 20
    with open_slide(path) as slide:
        wrong = spec.photometric == "RGB" and spec.stream == "jfif"
        assert any("converted" in warning for warning in slide.info.warnings) == wrong


def test_frames_left_out_are_glass(tmp_path: Path) -> None:
    spec = DicomSpec(syntax=J2K_LOSSLESS, photometric="RGB", organization="TILED_SPARSE", left_out=frozenset({0, 6}))
    expected = picture()
    expected[:256, :256] = expected[256:512, 512:768] = 255
    assert difference(write_dicom(tmp_path / "s.dcm", spec=spec), expected) == 0


def test_a_level_in_several_files(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "whole.dcm", spec=DicomSpec(syntax=EXPLICIT, photometric="RGB"))
    folder = tmp_path / "parts"
    folder.mkdir()
    size = TILE * TILE * 3
    for name, first, last in (("z", 0, 5), ("a", 5, 16)):
        part = pydicom.dcmread(whole)
        part.SOPInstanceUIDOfConcatenationSource = part.SOPInstanceUID
        part.file_meta.MediaStorageSOPInstanceUID = part.SOPInstanceUID = generate_uid()
        part.ConcatenationFrameOffsetNumber, part.NumberOfFrames = first, last - first
        part.PixelData = part.PixelData[first * size : last * size]
        part.save_as(folder / f"{name}.dcm")
    assert difference(folder, picture()) == 0
    with open_slide(folder) as parts, open_slide(whole) as slide:
        assert parts.info.content_hash == slide.info.content_hash
    (folder / "z.dcm").unlink()
    with pytest.raises(DamagedSlideError, match="missing"):
        open_slide(folder)


@pytest.mark.parametrize(("spacing", "mpp"), [(0.00025, Mpp.square(0.25)), (0.0, None), (1e6, None), (None, None)])
def test_nonsense_is_no_scale(tmp_path: Path, spacing: float | None, mpp: Mpp | None) -> None:
    with open_slide(write_dicom(tmp_path / "s.dcm", spec=DicomSpec(spacing_mm=spacing))) as slide:
        assert slide.info.mpp == (mpp or Mpp.square(0.5))  # by the objective power of 20x
        assert slide.info.mpp_source == ("header" if mpp else "objective-power")


def test_openslide_refuses_or_misreads_what_the_standard_allows(tmp_path: Path) -> None:
    """Why DICOM has a reader of its own: of the codings above OpenSlide shows some, and we show all."""
    wrong = []
    for number, spec in enumerate([*LOSSLESS, DicomSpec(photometric="RGB")]):
        path = write_dicom(tmp_path / f"{number}.dcm", spec=spec)
        try:
            with openslide.OpenSlide(str(path)) as reference:
                seen = np.asarray(reference.read_region((0, 0), 0, (WIDTH, HEIGHT)).convert("RGB"))
            if np.abs(seen.astype(int) - picture()).mean() > 20:
                wrong.append(spec)
        except openslide.OpenSlideError:
            wrong.append(spec)
        path.unlink()
    assert len(wrong) >= 4


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SamplesPerPixel", 1),
        ("BitsAllocated", 16),
        ("TotalPixelMatrixRows", None),
        ("Rows", 0),
        ("NumberOfFrames", 17),
    ],
)
def test_what_cannot_be_read_is_a_typed_error(tmp_path: Path, keyword: str, value: int | None) -> None:
    path = write_dicom(tmp_path / "CANARY.dcm")
    data = pydicom.dcmread(path)
    if value is None:
        delattr(data, keyword)
    else:
        setattr(data, keyword, value)
    data.save_as(path)
    with pytest.raises(SlideError) as error:
        open_slide(path)
    assert "CANARY" not in str(error.value)


def test_an_unknown_compression_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "s.dcm")
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.80")
    data.save_as(path)
    with pytest.raises(NotASlideError, match="compressed"):
        open_slide(path)


def test_frames_off_the_grid_are_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "s.dcm", spec=DicomSpec(organization="TILED_SPARSE", shift=3))
    with pytest.raises(DamagedSlideError, match="grid"):
        open_slide(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("table", ["basic", "none", "extended"])
def test_a_truncated_slide_is_a_typed_error(
    tmp_path: Path, share: float, table: Literal["basic", "none", "extended"]
) -> None:
    path = write_dicom(tmp_path / "s.dcm", spec=DicomSpec(table=table))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SlideError), open_slide(path) as slide:
        slide.thumbnail(500)


def test_a_broken_frame_is_reported_by_place(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "s.dcm")
    content = bytearray(path.read_bytes())
    at = -1
    for _ in range(6):
        at = content.index(b"\xff\xd8\xff", at + 1)
    content[at : at + 2000] = b"\xff" * 2000
    path.write_bytes(content)
    with open_slide(path) as slide, pytest.raises(DamagedSlideError, match=r"level-0 pixel \(256, 256\)"):
        slide.read(Region(0, 0, WIDTH, HEIGHT))


def test_only_regular_files_of_the_folder_are_read(tmp_path: Path) -> None:
    folder = write_dicom_folder(tmp_path / "slide")
    os.mkfifo(folder / "0.dcm")
    address = Address.of(folder / "m.dcm")
    with DicomReader(address, "") as slide:  # without the guard, which refuses the pipe
        assert len(slide.info.levels) == 3
    elsewhere = write_dicom(tmp_path / "elsewhere.dcm")
    (folder / "1.dcm").symlink_to(elsewhere)
    for read in (open_slide, lambda where: DicomReader(where, "")):
        with pytest.raises(UnsafeSlideError):
            read(address)


def test_the_content_hash_is_of_the_frames_alone(tmp_path: Path) -> None:
    one = write_dicom(tmp_path / "one.dcm", spec=DicomSpec(table="basic"))
    two = write_dicom(tmp_path / "two.dcm", spec=DicomSpec(table="none", series="5.5", fragments=2))
    three = write_dicom(tmp_path / "three.dcm", picture(seed=2), DicomSpec(series="5.6"))
    hashes = []
    for path in (one, two, three):
        with open_slide(path) as slide:
            hashes.append(slide.info.content_hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_a_jpeg_stream_says_of_its_colours() -> None:
    def start(*segments: bytes) -> bytes:
        return b"\xff\xd8" + b"".join(segments) + b"\xff\xda\0\x08\x03"

    def frame(ids: bytes, first: int = 0x11) -> bytes:
        parts = b"".join(bytes([i, first if n == 0 else 0x11, 0]) for n, i in enumerate(ids))
        return b"\xff\xc0" + struct.pack(">HBHHB", 8 + 3 * len(ids), 8, 16, 16, len(ids)) + parts

    jfif = b"\xff\xe0\0\x10JFIF\0" + bytes(9)
    adobe = [b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform]) for transform in (0, 1)]
    assert colours_of_jpeg(start(jfif, frame(b"\1\2\3"))) == "ycbcr"
    assert colours_of_jpeg(start(adobe[0], frame(b"\1\2\3"))) == "rgb"
    assert colours_of_jpeg(start(adobe[1], frame(b"\0\1\2"))) == "ycbcr"
    assert colours_of_jpeg(start(frame(b"RGB"))) == "rgb"
    assert colours_of_jpeg(start(frame(b"\1\2\3"))) == "ycbcr"
    assert colours_of_jpeg(start(frame(b"\0\1\2", first=0x21))) == "ycbcr"
    assert colours_of_jpeg(start(frame(b"\0\1\2"))) is None
    assert colours_of_jpeg(start(frame(b"\1"))) is None
    assert colours_of_jpeg(b"\xff\xd8\xff") is None


@pytest.mark.parametrize("name", ["marrow_jpeg.dcm", "marrow_jpeg2000.dcm"])
def test_real_frames_equal_openslides(data_dir: Path, name: str) -> None:
    path = data_dir / "slides" / name
    reference = openslide.OpenSlide(str(path))
    width, height = reference.dimensions
    expected = np.asarray(reference.read_region((0, 0), 0, (width, height)).convert("RGB"))
    with open_slide(path) as slide:
        assert slide.info.reader == "dicom"
        assert np.array_equal(slide.read(Region(0, 0, width, height)), expected)

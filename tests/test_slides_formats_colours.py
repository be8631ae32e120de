"""ICC profiles: off by default, recorded either way, and never applied to glass that was not scanned."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from slides import Address, Region, SlideInfo, open_slide
from slides.profile import ToSrgb
from slides.testing import draw

SIZE = (800, 600)


def swapped() -> bytes:
    """A profile of a scanner whose red is green: sRGB with two of its primaries exchanged."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return plain.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)


def write(path: Path, profile: bytes | None, *, alpha: bool = False) -> Path:
    image = draw(*SIZE, 0.5, seed=3)
    if alpha:
        image = np.concatenate([image, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=2)
    tifffile.imwrite(
        path,
        image,
        tile=(256, 256),
        photometric="rgb",
        compression="zlib",
        extrasamples=["unassalpha"] if alpha else None,
        iccprofile=profile,
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
    )
    return path


def read(path: Path, *, icc: bool) -> tuple[SlideInfo, NDArray[np.uint8]]:
    with open_slide(Address(str(path), icc=icc)) as slide:
        return slide.info, slide.read(Region(-50, -50, 900, 700))


@pytest.mark.parametrize(("alpha", "reader"), [(False, "tiff"), (True, "openslide")])
def test_a_profile_is_applied_where_asked_for(tmp_path: Path, *, alpha: bool, reader: str) -> None:
    path = write(tmp_path / "s.tiff", swapped(), alpha=alpha)
    plain, as_is = read(path, icc=False)
    converted, srgb = read(path, icc=True)
    assert (plain.reader, plain.icc, converted.icc) == (reader, "ignored", "applied")
    assert replace(plain, icc="applied") == converted
    assert np.array_equal(as_is[50:-50, 50:-50], draw(*SIZE, 0.5, seed=3))
    assert np.abs(srgb[50:-50, 50:-50].astype(int) - as_is[50:-50, 50:-50]).mean() > 10
    assert (srgb[:50] == 255).all()
    assert (srgb[:, -50:] == 255).all()


def test_the_conversion_is_that_of_little_cms(data_dir: Path) -> None:
    path = data_dir / "slides" / "aperio_tcga_j2k_no_mpp.svs"
    with tifffile.TiffFile(path) as tiff:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(tiff.pages[0].tags.valueof(34675)))  # type: ignore[union-attr]
    region = Region(1000, 1000, 400, 300)
    with open_slide(path) as plain, open_slide(Address(str(path), icc=True)) as converted:
        assert (plain.info.icc, converted.info.icc) == ("ignored", "applied")
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(profile))
        expected = ImageCms.profileToProfile(
            Image.fromarray(plain.read(region)), profile, ImageCms.createProfile("sRGB"), intent
        )
        assert np.array_equal(converted.read(region), np.asarray(expected))


def test_a_slide_without_a_profile_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tiff", None)
    plain, as_is = read(path, icc=False)
    asked, same = read(path, icc=True)
    assert (plain.icc, asked.icc) == ("none", "none")
    assert not plain.warnings
    assert any("no colour profile" in warning for warning in asked.warnings)
    assert np.array_equal(as_is, same)


@pytest.mark.parametrize("profile", [b"not a profile", swapped()[:200]])
def test_a_broken_profile_is_said_and_not_used(tmp_path: Path, profile: bytes) -> None:
    path = write(tmp_path / "s.tiff", profile)
    asked, same = read(path, icc=True)
    assert asked.icc == "unusable"
    assert any("cannot be used" in warning for warning in asked.warnings)
    assert np.array_equal(same, read(path, icc=False)[1])
    with pytest.raises(ValueError, match="profile"):
        ToSrgb(profile)


def test_the_profile_of_a_dicom_slide(data_dir: Path, tmp_path: Path) -> None:
    data = pydicom.dcmread(data_dir / "slides" / "marrow_jpeg2000.dcm")
    data.OpticalPathSequence = [pydicom.Dataset()]
    data.OpticalPathSequence[0].ICCProfile = swapped()
    path = tmp_path / "s.dcm"
    data.save_as(path)
    (plain, as_is), (converted, srgb) = read(path, icc=False), read(path, icc=True)
    assert (plain.icc, converted.icc) == ("ignored", "applied")
    assert not np.array_equal(as_is, srgb)


def test_the_record_survives_json(tmp_path: Path) -> None:
    info = read(write(tmp_path / "s.tiff", swapped()), icc=True)[0]
    assert SlideInfo.from_json(info.to_json()) == info

"""Every reader against the conformance kit, on made and on real slides."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from slides import Address, open_slide
from slides.formats.openslide import OpenSlideReader
from slides.synthetic_tiff import overwrite
from slides.testing import SlideConformance, draw, write_slide


class TestTiffJpeg(SlideConformance):
    """The direct reader of tiled JPEG."""

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        """A made Aperio-like slide."""
        return Address.of(write_slide(tmp_path_factory.mktemp("conformance") / "a-made-slide.svs", seed=2))

    def another(self, folder: Path) -> Address:
        """Drawn from another seed."""
        return Address.of(write_slide(folder / "another.svs", seed=3))

    def broken(self, address: Address, folder: Path) -> Address:
        """A tile that ends early."""
        path = Path(shutil.copy(address.path, folder / "broken.svs"))
        overwrite(path, "TileByteCounts", {20}, 0.5)
        return Address.of(path)


class TestExactTiffJpeg(TestTiffJpeg):
    """The same without scaled decoding."""

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        """A made Aperio-like slide, to be decoded in full."""
        path = write_slide(tmp_path_factory.mktemp("conformance") / "a-made-slide.svs", seed=2)
        return Address(str(path), decode="exact")


class TestOpenSlide(SlideConformance):
    """A format that only OpenSlide reads: tiles with a fourth channel."""

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        """A generic tiled TIFF with an opaque alpha channel and its scale in the resolution tags."""
        path = tmp_path_factory.mktemp("conformance") / "a-made-slide.tiff"
        opaque = np.full((1200, 1500, 1), 255, np.uint8)
        tifffile.imwrite(
            path,
            np.concatenate([draw(1500, 1200, 0.5, seed=4), opaque], axis=2),
            tile=(256, 256),
            photometric="rgb",
            extrasamples=["unassalpha"],
            compression="zlib",
            resolution=(20000, 20000),
            resolutionunit="CENTIMETER",
        )
        with open_slide(path) as slide:
            assert isinstance(slide, OpenSlideReader)
        return Address.of(path)

    def see_through(self, folder: Path) -> Address:
        """The same with a hole in the alpha channel, black below it."""
        image = np.full((700, 800, 4), 255, np.uint8)
        image[:256, :256] = 0
        common: dict[str, Any] = {
            "tile": (256, 256),
            "photometric": "rgb",
            "extrasamples": ["unassalpha"],
            "compression": "zlib",
        }
        tifffile.imwrite(folder / "hole.tiff", image, **common)
        return Address.of(folder / "hole.tiff", 0.5)


@pytest.mark.parametrize(
    ("name", "mpp0"),
    [
        ("aperio_cmu1_small.svs", None),
        ("aperio_tcga_j2k_no_mpp.svs", 0.5),
        ("hamamatsu_fluorescence.ndpi", None),
        ("dicom_cmu1", None),
        ("marrow_jpeg.dcm", None),
        ("marrow_jpeg2000.dcm", None),
        ("section_he_23040x12672.tiff", 0.46),
    ],
)
class TestRealSlides(SlideConformance):
    """Real files of four vendors."""

    @pytest.fixture
    def address(self, data_dir: Path, name: str, mpp0: float | None) -> Address:
        """A slide of the data folder."""
        return Address.of(data_dir / "slides" / name, mpp0)

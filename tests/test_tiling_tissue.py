"""Tissue: found where it was drawn, refused where there is none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from slides import Address, Mpp, open_slide
from slides.testing import draw, write_slide
from tiling import NotBrightfieldError, NoTissueError, TissueMask, segment
from tiling.tissue import require_brightfield


def test_drawn_tissue_is_found(tmp_path: Path) -> None:
    drawn = draw(3000, 2400, 0.5, seed=5)
    # The drawn glass is one grey plus noise; tissue is everything that differs from it, nuclei and fat included.
    smooth = cv2.GaussianBlur(drawn, (0, 0), 4).astype(int)
    truth = (np.abs(smooth - (242, 241, 243)).max(2) > 3).astype(np.uint8)
    with open_slide(write_slide(tmp_path / "s.svs", size=(3000, 2400), seed=5)) as slide:
        mask = segment(slide)
    found = cv2.resize(mask.array.astype(np.uint8), (3000, 2400), interpolation=cv2.INTER_NEAREST)
    assert (found & truth).sum() / (found | truth).sum() > 0.8  # the drawn fat is nearly glass


def test_empty_glass_has_no_tissue(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "s.svs", kind="glass")) as slide, pytest.raises(NoTissueError):
        segment(slide)


def test_fluorescence_is_refused(data_dir: Path) -> None:
    with (
        open_slide(data_dir / "slides" / "hamamatsu_fluorescence.ndpi") as slide,
        pytest.raises(NotBrightfieldError, match="fluorescence"),
    ):
        segment(slide)


def test_a_black_image_is_refused() -> None:
    with pytest.raises(NotBrightfieldError):
        require_brightfield(np.zeros((50, 50, 3), np.uint8))


@pytest.mark.parametrize(
    ("name", "mpp0", "low", "high"),
    [
        ("section_he_23040x12672.tiff", 0.46, 9.0, 11.0),  # outlined by eye: the gland with its rim of fat
        ("aperio_cmu1_small.svs", None, 0.5, 0.9),
        ("aperio_tcga_j2k_no_mpp.svs", 0.5, 2.0, 3.2),
    ],
)
def test_real_sections(data_dir: Path, name: str, mpp0: float | None, low: float, high: float) -> None:
    with open_slide(Address.of(data_dir / "slides" / name, mpp0)) as slide:
        area = segment(slide).area_mm2(slide.info.require_mpp())
    assert low < area < high


def test_areas_are_in_square_millimetres() -> None:
    mask = TissueMask(np.ones((100, 200), np.bool_), (10.0, 20.0))  # 2000 x 2000 level-0 px
    assert mask.area_mm2(Mpp.square(0.5)) == pytest.approx(1.0)
    assert mask.area_mm2(Mpp(0.5, 0.25)) == pytest.approx(0.5)

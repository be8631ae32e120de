"""The ruler of nuclei: quiet at the right scale, loud at the wrong one, silent where there is nothing to measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from slides import Address, open_slide
from slides.scale_check import NUCLEUS_UM, check_scale, compact_blobs
from slides.testing import write_slide


def checked(path: Path, mpp0: float | None) -> tuple[float | None, str | None]:
    with open_slide(Address.of(path, mpp0)) as slide:
        found = check_scale(slide)
    return found.ratio, found.warning


@pytest.mark.parametrize("wrong", [0.25, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(("name", "mpp"), [("aperio_cmu1_small.svs", 0.499), ("section_he_23040x12672.tiff", 0.46)])
def test_real_sections(data_dir: Path, name: str, mpp: float, wrong: float) -> None:
    ratio, warning = checked(data_dir / "slides" / name, mpp * wrong)
    assert (warning is None) == (wrong == 1.0 or ratio is None)
    if wrong in {0.5, 2.0}:
        assert warning is not None
        assert "um/px would fit" in warning
        assert ratio is not None
        assert (ratio > 1) == (wrong > 1)


@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.0])
def test_a_slide_of_real_patches(data_dir: Path, tmp_path: Path, wrong: float) -> None:
    path = tmp_path / "s.svs"
    tool = data_dir.parent / "tools" / "make_slide.py"
    subprocess.run([sys.executable, str(tool), str(path), "--cells", "20x30"], check=True, capture_output=True)
    assert (checked(path, 0.25 * wrong)[1] is None) == (wrong == 1.0)


@pytest.mark.parametrize("kind", ["glass", "fluorescence"])
def test_nothing_to_measure(tmp_path: Path, kind: str) -> None:
    path = write_slide(tmp_path / "s.svs", kind=kind)  # type: ignore[arg-type]
    assert checked(path, None) == (None, None)


def test_no_scale_is_stated(tmp_path: Path) -> None:
    assert checked(write_slide(tmp_path / "s.svs", mpp=None), None) == (None, None)


def test_a_slide_smaller_than_a_tile(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "s.svs", size=(300, 200))) as slide:
        assert check_scale(slide).nuclei >= 0


def test_round_blobs_are_measured_and_others_are_not() -> None:
    image = np.full((400, 400, 3), 235, np.uint8)
    for x in range(40, 400, 60):
        cv2.circle(image, (x, 100), 10, (90, 60, 130), -1, cv2.LINE_AA)
    cv2.rectangle(image, (20, 200), (380, 206), (90, 60, 130), -1)
    found = compact_blobs(image)
    assert len(found) == 6
    assert found == pytest.approx(21, abs=1.5)
    assert 4 < NUCLEUS_UM < 7

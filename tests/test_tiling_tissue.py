"""Tissue: found where it was drawn, refused where there is none."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from slides import Address, Mpp, open_slide
from slides.testing import draw, write_slide
from tiling import NotBrightfieldError, NoTissueError, SegmenterError, SpecError, TissueMask, TissueSpec, segment
from tiling.onnx_segmenter import OnnxSegmenter
from tiling.segmenter import AbsorbanceSegmenter, Stain, glass_of
from tiling.tissue import Overview, require_brightfield, segment_overview
from tools.onnx_file import network

Array = NDArray[Any]


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
        ("aperio_tcga_j2k_no_mpp.svs", 0.5, 2.0, 2.9),
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


SCALED = Mpp.square(0.5)


def stained(colour: tuple[int, int, int], glass: tuple[int, int, int] = (242, 241, 243)) -> tuple[Overview, Array]:
    """A disc of one colour, 1.6 mm wide, on glass, at 8 um/px, and where it is."""
    image = np.full((400, 500, 3), glass, np.uint8)
    disc = cv2.circle(np.zeros((400, 500), np.uint8), (250, 200), 100, 1, -1) > 0
    image[disc] = colour
    noise = np.random.default_rng(0).integers(-2, 3, (400, 500, 1))
    return Overview(np.clip(image + noise, 0, 255).astype(np.uint8), (16.0, 16.0), 8.0), disc


def overlap(found: Array, truth: Array) -> float:
    return float(np.count_nonzero(found & truth) / np.count_nonzero(found | truth))


def found_by(seen: Overview, stain: Stain) -> Array:
    return segment_overview(seen, SCALED, TissueSpec(stain=stain)).array


@pytest.mark.parametrize("stain", ["he", "ihc", "any"])
@pytest.mark.parametrize("colour", [(226, 160, 196), (92, 58, 132), (238, 222, 232)])
def test_every_rule_finds_eosin_nuclei_and_pale_stroma(stain: Stain, colour: tuple[int, int, int]) -> None:
    seen, disc = stained(colour)
    assert overlap(found_by(seen, stain), disc) > 0.95


def test_a_pale_counterstain_is_found_as_ihc_only() -> None:
    seen, disc = stained((233, 235, 240))
    assert overlap(found_by(seen, "ihc"), disc) > 0.95
    for stain in ("he", "any"):
        with pytest.raises(NoTissueError):
            found_by(seen, stain)


def test_dense_dab_is_found_as_ihc() -> None:
    seen, disc = stained((60, 50, 46))
    assert overlap(found_by(seen, "ihc"), disc) > 0.95


def test_grey_shadow_is_no_tissue_of_he() -> None:
    seen, disc = stained((200, 199, 201))
    assert overlap(found_by(seen, "any"), disc) > 0.95
    with pytest.raises(NoTissueError):
        found_by(seen, "he")


def test_filling_around_the_scan_is_not_taken_for_glass() -> None:
    seen, disc = stained((226, 160, 196), glass=(238, 236, 240))
    seen.image[:, 300:] = 255
    disc[:, 300:] = False
    assert overlap(found_by(seen, "any"), disc) > 0.95
    assert glass_of(seen.image).max() < 244


def test_holes_and_pieces_are_judged_by_area() -> None:
    seen, disc = stained((226, 160, 196))
    for side, place in ((4, 180), (40, 300)):  # 0.001 mm2 and 0.1 mm2
        seen.image[200 : 200 + side, place - 60 : place - 60 + side] = (242, 241, 243)
        seen.image[10 : 10 + side, place : place + side] = (226, 160, 196)
    spec = TissueSpec(smallest_mm2=0.01, hole_mm2=0.01)
    found = segment_overview(seen, SCALED, spec).array
    assert found[202, 122] == disc[202, 122]
    assert found[201, 121] == disc[201, 121]
    assert not found[220, 260]
    assert not found[12, 182]
    assert found[30, 320]


def test_gaps_are_closed_in_nets_and_not_in_solid_tissue() -> None:
    image = np.full((300, 600, 3), (242, 241, 243), np.uint8)
    image[50:250, 50:250] = (226, 160, 196)
    image[100:200, 120:125] = (242, 241, 243)  # a cleft of 40 um in solid tissue
    image[50:250:6, 350:550] = image[50:250, 350:550:6] = (226, 170, 200)  # membranes of 8 um every 48 um
    found = segment_overview(Overview(image, (16.0, 16.0), 8.0), SCALED).array
    assert not found[110:190, 121:124].any()
    assert found[55:240, 355:540].all()


def test_a_made_slide_is_found_as_it_was_made(data_dir: Path, tmp_path: Path) -> None:
    tool = data_dir.parent / "tools" / "make_slide.py"
    if not tool.exists():
        pytest.skip("the slide maker is not on this machine")
    command = [sys.executable, str(tool), str(tmp_path / "made.svs"), "--cells", "60x60"]
    subprocess.run(command, check=True, capture_output=True)
    classes = np.load(tmp_path / "made.truth.npz")["classes"] > 0
    with open_slide(tmp_path / "made.svs") as slide:
        found = segment(slide).array
    truth = cv2.resize(classes.astype(np.uint8), found.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert overlap(found, truth) >= 0.95


# ------------------------------------------------------------------ segmenters that users bring


GREEN = np.array([[0.0, -1.0, 0.0]])
"""Tissue where green is under half."""


@pytest.fixture
def half_green(tmp_path: Path) -> Path:
    return network(tmp_path / "DOE_JOHN.onnx", GREEN, np.array([0.5]), 64)


def test_a_network_of_the_user_segments(half_green: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 201, 3), np.uint8)
    truth = image[..., 1] <= 127
    segmenter = OnnxSegmenter(half_green, side=64, overlap=16, output="logit")
    assert np.array_equal(segmenter(image, 8.0), truth)  # six squares and their seams
    assert np.array_equal(segmenter(image[:20, :30], 8.0), truth[:20, :30])  # smaller than a square
    assert segmenter.weights_digest == hashlib.sha256(half_green.read_bytes()).hexdigest()
    assert segmenter.digest == OnnxSegmenter(half_green, side=64, overlap=16, output="logit").digest
    others = [OnnxSegmenter(half_green, side=64, overlap=16), OnnxSegmenter(half_green, 4.0, side=64, overlap=16)]
    assert len({segmenter.digest, *(other.digest for other in others)}) == 3


def test_two_channels_are_compared(tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.zeros(2), 64)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(OnnxSegmenter(path, side=64, overlap=16)(image, 8.0), image[..., 2] >= image[..., 1])


def test_a_probability_is_tissue_from_one_half(half_green: Path) -> None:
    image = np.full((64, 64, 3), 255, np.uint8)
    image[:, :32, 1] = 0  # the network gives 0.5 there and -0.5 elsewhere
    found = OnnxSegmenter(half_green, side=64, overlap=0)(image, 8.0)
    assert found[:, :32].all()
    assert not found[:, 32:].any()


def test_a_network_is_fed_at_its_own_scale(half_green: Path) -> None:
    image = np.full((128, 128, 3), 255, np.uint8)
    image[::2, :, 1] = 0  # stripes that average out at twice the scale
    fine = OnnxSegmenter(half_green, side=64, overlap=16, output="logit")(image, 4.0)
    coarse = OnnxSegmenter(half_green, 8.0, side=64, overlap=16, output="logit")(image, 4.0)
    assert 0.4 < fine.mean() < 0.6
    assert coarse.mean() in {0.0, 1.0}


def test_a_slide_is_segmented_by_a_network(tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", GREEN, np.array([0.88]), 128)
    with open_slide(write_slide(tmp_path / "s.svs", size=(3000, 2400), seed=5)) as slide:
        by_network = segment(slide, segmenter=OnnxSegmenter(path, side=128, overlap=16, output="logit")).array
        assert overlap(by_network, segment(slide).array) > 0.85


@pytest.mark.parametrize("damage", [b"", b"not a network", None])
def test_a_file_that_is_no_network_is_refused(half_green: Path, damage: bytes | None) -> None:
    half_green.write_bytes(half_green.read_bytes()[:90] if damage is None else damage)
    with pytest.raises(SegmenterError) as caught:
        OnnxSegmenter(half_green, side=64, overlap=16)
    assert "DOE" not in str(caught.value)


def test_a_network_of_another_contract_is_refused(tmp_path: Path, half_green: Path) -> None:
    with pytest.raises(SegmenterError, match="cannot be read"):
        OnnxSegmenter(tmp_path / "absent.onnx")
    with pytest.raises(SegmenterError, match="one or two values"):
        OnnxSegmenter(network(tmp_path / "n.onnx", np.zeros((3, 3)), np.zeros(3), 64), side=64, overlap=16)
    with pytest.raises(SegmenterError, match="not finite"):
        OnnxSegmenter(network(tmp_path / "n.onnx", np.full((1, 3), np.nan), np.zeros(1), 64), side=64, overlap=16)
    for side, overlapping, mpp in ((64, 64, None), (64, 15, None), (0, 0, None), (10**6, 0, None), (64, 16, -1.0)):
        with pytest.raises(SegmenterError, match="overlap"):
            OnnxSegmenter(half_green, mpp, side=side, overlap=overlapping)


@pytest.mark.parametrize("mpp", [0.01, 1e-9, 1e9, float("inf")])
def test_a_scale_far_from_the_image_is_refused(half_green: Path, mpp: float) -> None:
    image = np.full((3000, 4000, 3), 240, np.uint8)
    with pytest.raises(SegmenterError, match="scale"):
        OnnxSegmenter(half_green, mpp, side=64, overlap=16)(image, 5.0)


def test_an_image_too_large_for_the_scale_is_refused(half_green: Path) -> None:
    image = np.broadcast_to(np.uint8(240), (8192, 8192, 3))  # five times as many pixels a side is within the factor
    with pytest.raises(SegmenterError, match="too large"):
        OnnxSegmenter(half_green, 1.0, side=64, overlap=16)(image, 5.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mpp", 0),
        ("mpp", -1.0),
        ("mpp", float("nan")),
        ("mpp", float("inf")),
        ("max_side", 0),
        ("max_side", 10**6),
        ("absorbance", -0.1),
        ("absorbance", float("nan")),
        ("glass_floor", 256.0),
        ("thin_um", -1.0),
        ("close_um", float("inf")),
        ("smallest_mm2", float("nan")),
        ("hole_mm2", -1.0),
        ("least_mm2", -1.0),
        ("stain", "blue"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(field: str, value: float | str) -> None:
    with pytest.raises(SpecError, match="stain" if field == "stain" else field):
        TissueSpec(**{field: value})  # type: ignore[arg-type]


def test_the_rules_have_names_and_digests() -> None:
    digests = {AbsorbanceSegmenter(stain).digest for stain in ("he", "ihc", "any")}
    assert len(digests | {AbsorbanceSegmenter(absorbance=0.1).digest}) == 4
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)

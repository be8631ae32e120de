"""Hostile slides: mutants of every container, absurd claims, files of others.

The long run is proofs/prove_reading_robust.py.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from slides import (
    DamagedSlideError,
    NotASlideError,
    Region,
    SlideError,
    SlideNotFoundError,
    UnsafeSlideError,
    guard,
    open_slide,
)
from slides.guard_companions import check_ome, require_companion, whole_number
from slides.jail.launcher import capabilities
from slides.jpeg_header import frame_size
from slides.tiff_header import TiffHeader
from tools.hostile_claims import CLAIMS, image, tiff
from tools.hostile_containers import CONTAINERS, dicom, mirax, svs_rgb, vms
from tools.hostile_escapes import ESCAPES
from tools.hostile_look import break_tile, look, look_naked
from tools.hostile_mutants import mutate

SEEDS = range(3)
TILED = [name for name in CONTAINERS if name not in {"plain", "vms", "leica", "ventana", "mirax"}]
"""Containers that our own readers open; in `plain` any byte is a pixel, so that no tile can be told to be broken."""

ALONE = ("dicom", "ome", "trestle")
"""Whose readers do without a companion that they cannot see, and show the slide's own pixels."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Each container's folder, and what to open in it."""
    root = tmp_path_factory.mktemp("good")
    found = {}
    for name, writer in CONTAINERS.items():
        (root / name).mkdir()
        found[name] = (root / name, writer(root / name).relative_to(root / name))
    return found


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_good_slides_are_good(good: dict[str, tuple[Path, Path]], tmp_path: Path, name: str) -> None:
    folder, slide = good[name]
    for layers in ("both", "guard alone", "jail alone"):
        verdict = look(folder / slide, tmp_path, layers)
        assert verdict.kind == "read", verdict
    assert look(folder / slide, tmp_path).kind == "read"


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_mutant_ends_in_a_typed_verdict(good: dict[str, tuple[Path, Path]], tmp_path: Path, name: str) -> None:
    folder, slide = good[name]
    for seed in SEEDS:
        copy = tmp_path / str(seed)
        shutil.copytree(folder, copy)
        what = mutate(copy, seed)
        for layers in ("both", "jail alone"):
            verdict = look(copy / slide, tmp_path / "deaths", layers)
            assert verdict.typed, (seed, what, verdict)
            assert verdict.seconds < 10, (seed, what, verdict)


def test_mutants_come_again(good: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    folder, slide = good["deflate"]
    for copy in ("one", "two"):
        shutil.copytree(folder, tmp_path / copy)
        mutate(tmp_path / copy, 11)
    assert (tmp_path / "one" / slide).read_bytes() == (tmp_path / "two" / slide).read_bytes()


@pytest.mark.parametrize("name", CLAIMS)
def test_a_huge_claim_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "slide").mkdir()
    path = CLAIMS[name](tmp_path / "slide")
    capabilities()  # the ancestor of the children is up
    verdict = look(path, tmp_path / "deaths")
    assert verdict.refused, verdict
    assert verdict.kind != "SlideCrashedError", verdict
    assert verdict.seconds < 1, verdict


@pytest.mark.parametrize("name", ESCAPES)
def test_the_guard_alone_refuses_files_of_others(tmp_path: Path, name: str) -> None:
    verdict = look(ESCAPES[name](tmp_path), tmp_path / "deaths", "guard alone")
    assert (verdict.kind, verdict.seconds < 1) == ("UnsafeSlideError", True), verdict


@pytest.mark.parametrize("name", ESCAPES)
def test_the_jail_alone_shows_nothing_of_others(tmp_path: Path, name: str) -> None:
    verdict = look(ESCAPES[name](tmp_path), tmp_path / "deaths", "jail alone", seconds=1.5)
    assert verdict.typed, verdict
    assert verdict.refused or (verdict.kind == "read" and name.startswith(ALONE)), verdict
    assert verdict.seconds < 4


@pytest.mark.parametrize("name", ["mirax data above", "mirax all links", "mirax links in a row", "vms image link"])
def test_without_both_others_would_be_seen(tmp_path: Path, name: str) -> None:
    """The tests above have teeth."""
    assert look_naked(ESCAPES[name](tmp_path), 20) == "foreign"


@pytest.mark.parametrize("name", TILED)
def test_a_broken_tile_is_reported_by_place(tmp_path: Path, name: str) -> None:
    """In the middle of the slide: tile (1, 2) and no other, also through the jail."""
    path = CONTAINERS[name](tmp_path)
    side = 240 if name == "svs_rgb" else 128
    break_tile(path, 1, 2)
    place = Region(2 * side + 10, side + 10, 64, 64)
    with open_slide(path) as slide, pytest.raises(DamagedSlideError, match=rf"\({2 * side}, {side}\)"):
        slide.read(place)
    verdict = look(path, tmp_path / "deaths")
    assert verdict.kind == "DamagedSlideError", verdict
    assert f"({2 * side}, {side})" in verdict.detail


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slide.svs")
    with pytest.raises(UnsafeSlideError):
        guard.check(tmp_path / "slide.svs")
    assert guard.visible(tmp_path / "slide.svs") == (tmp_path / "slide.svs",)
    with pytest.raises(SlideNotFoundError):
        guard.check(tmp_path / "nothing")


def test_a_slide_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    path = svs_rgb(tmp_path / "store")
    (tmp_path / "link.svs").symlink_to(path)
    guard.check(tmp_path / "link.svs")
    assert look(tmp_path / "link.svs", tmp_path / "deaths").kind == "read"


def test_links_that_stay_in_the_folder_are_good(tmp_path: Path) -> None:
    path = vms(tmp_path)
    (tmp_path / "image.jpg").rename(tmp_path / "elsewhere.jpg")
    (tmp_path / "image.jpg").symlink_to("elsewhere.jpg")
    guard.check(path)
    assert look(path, tmp_path / "deaths").kind == "read"


def test_a_jail_sees_what_the_format_needs(tmp_path: Path) -> None:
    for name, expected in [("svs_rgb", 1), ("deflate", 1), ("ome", "folder"), ("vms", "folder"), ("dicom", "slide")]:
        (tmp_path / name).mkdir()
        path = CONTAINERS[name](tmp_path / name)
        known = {1: (path,), "folder": (path.parent,), "slide": (path,)}
        assert guard.visible(path) == known[expected]
    path = mirax(tmp_path)
    assert guard.visible(path) == (path, tmp_path / "slide")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "a\0b"])
def test_names_with_a_way_in_them_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeSlideError):
        require_companion(tmp_path, name)


def test_names_may_not_hide_behind_words_of_the_xml(tmp_path: Path) -> None:
    check_ome(tmp_path, '<OME><UUID FileName="slide.ome.tiff"/></OME>')
    for hidden in ("<!DOCTYPE x><OME/>", '<OME><UUID FileName = "&#x2e;./b"/></OME>', "<OME MetadataFile='/b'/>"):
        with pytest.raises(UnsafeSlideError):
            check_ome(tmp_path, hidden)


def test_numbers_of_text_indices() -> None:
    texts = ["7", " 12abc", "-3", "", "x", "9" * 5000]
    assert [whole_number(text) for text in texts] == [7, 12, 3, 0, 0, 10**12]


def test_the_size_that_a_jpeg_states() -> None:
    frame = b"\xff\xc1\x00\x11\x08" + struct.pack(">HH", 480, 640) + b"\x03" + bytes(9)
    assert frame_size(b"\xff\xd8\xff\xdb\x00\x04ab" + frame) == (640, 480)
    assert frame_size(b"\xff\xd8\xff\xda\x00\x04ab" + b"\x00" * 20) is None
    assert frame_size(b"") is None


def test_a_chain_below_a_directory_may_join_the_main_one(tmp_path: Path) -> None:
    path = tiff(tmp_path / "s.tiff", [*image(), (330, 4, 1, 8)], tail=bytes(200))
    with path.open("rb") as file:
        header = TiffHeader.read(file)
    assert header is not None
    assert len(header.directories) == 1


def test_hamamatsus_offsets_are_64_bit(data_dir: Path, tmp_path: Path) -> None:
    """What comes after 4 GB is found: the first directory of a copy lies there, in a file with a hole."""
    source = data_dir / "slides" / "hamamatsu_fluorescence.ndpi"
    with source.open("rb") as file:
        header = TiffHeader.read(file)
    assert header is not None
    assert header.ndpi
    assert len(header.directories) == 6
    data = source.read_bytes()
    (first,) = struct.unpack_from("<Q", data, 4)
    path = tmp_path / "long.ndpi"
    with path.open("wb") as file:
        file.write(data[:4] + struct.pack("<Q", first + (1 << 32)) + data[12:])
        file.seek(first + (1 << 32))
        file.write(data[first:])
    with path.open("rb") as file:
        again = TiffHeader.read(file)
    assert again is not None
    assert again.ndpi
    assert len(again.directories) >= 1


@pytest.mark.parametrize("content", [b"II*\0", b"II*\0" + b"\xff" * 4, b"MM\0+" + b"\xff" * 40, b"II+\0" + bytes(60)])
def test_stumps_of_an_index_are_typed_errors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.tiff").write_bytes(content)
    with pytest.raises((DamagedSlideError, NotASlideError)):
        guard.check(tmp_path / "s.tiff")


def test_real_slides_pass(data_dir: Path) -> None:
    for path in sorted((data_dir / "slides").iterdir()):
        guard.check(path)


def test_dicom_in_other_encodings_is_walked(tmp_path: Path) -> None:
    import pydicom

    folder = dicom(tmp_path)
    data = pydicom.dcmread(folder / "slide.dcm")
    del data.PixelData
    for syntax in ("ImplicitVRLittleEndian", "ExplicitVRBigEndian"):
        data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        for columns, fine in ((640, True), (2**31, False)):
            data.TotalPixelMatrixColumns = columns
            little = syntax.startswith("Implicit")
            pydicom.dcmwrite(tmp_path / "slide.dcm", data, implicit_vr=little, little_endian=little)
            if fine:
                guard.check(tmp_path / "slide.dcm")
            else:
                with pytest.raises(SlideError):
                    guard.check(tmp_path / "slide.dcm")

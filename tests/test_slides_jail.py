"""The jail: slides read as if there were none, and what dies in it, dies alone."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from slides import (
    Address,
    DamagedSlideError,
    QuarantinedSlideError,
    Region,
    RegionError,
    Size,
    SlideCrashedError,
    UnsafeSlideError,
    open_slide,
)
from slides.jail import keeper
from slides.jail.launcher import capabilities
from slides.jail.slide import JailedSlide
from slides.jail.spec import Jail
from slides.testing import SlideConformance, draw, write_slide

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def no_cell_outlives_its_slide() -> Iterator[None]:
    yield
    keeper.clear()


def jailed(where: Address | Path, folder: Path, **limits: Any) -> Address:  # noqa: ANN401 - what `Jail` takes
    """An address whose deaths are remembered in a folder of the test."""
    return replace(Address.of(where), jail=Jail(quarantine=str(folder), **limits))


class TestJailed(SlideConformance):
    """The direct reader of tiled JPEG, behind bars."""

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        folder = tmp_path_factory.mktemp("jail")
        return jailed(write_slide(folder / "a-made-slide.svs", seed=2), folder / "deaths")


class TestJailedDeflate(SlideConformance):
    """Tiles without JPEG."""

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, tmp_path_factory: pytest.TempPathFactory) -> Address:
        folder = tmp_path_factory.mktemp("jail")
        how: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
        scale: dict[str, Any] = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(folder / "a-made-slide.tiff", draw(1500, 1200, 0.5, seed=4), **how, **scale)
        return jailed(folder / "a-made-slide.tiff", folder / "deaths")


@pytest.mark.parametrize(("name", "mpp0"), [("aperio_tcga_j2k_no_mpp.svs", 0.5), ("dicom_cmu1", None)])
class TestJailedRealSlides(SlideConformance):
    """Real files, one of them a folder."""

    @pytest.fixture
    def address(self, data_dir: Path, tmp_path: Path, name: str, mpp0: float | None) -> Address:
        return jailed(Address.of(data_dir / "slides" / name, mpp0), tmp_path)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "made.svs", size=(1200, 900), seed=3)


def child_of(slide: object) -> int:
    assert isinstance(slide, JailedSlide)
    return slide._cell._process


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def kill(slide: object, how: signal.Signals) -> None:
    """End the child of a slide, and wait until it has ended."""
    process, end = child_of(slide), time.monotonic() + 10
    os.kill(process, how)
    while is_alive(process):
        assert time.monotonic() < end
        time.sleep(0.002)


def test_pixels_and_description_are_those_of_an_open_prison(made: Path, tmp_path: Path) -> None:
    with open_slide(made) as free, open_slide(jailed(made, tmp_path)) as bound:
        assert isinstance(bound, JailedSlide)
        assert bound.info == free.info
        assert bound.sources == free.sources
        assert np.array_equal(bound.thumbnail(300), free.thumbnail(300))
        regions = [Region(x, 100, 200, 200) for x in range(-100, 1300, 200)]
        for wanted in (Size(200, 200), Size(100, 100), Size(37, 41)):
            assert np.array_equal(bound.read_tiles(regions, wanted), free.read_tiles(regions, wanted))
        source = bound.sources[1]
        one, other = (slide._read_source(source, 31, 77, Size(150, 120)) for slide in (bound, free))
        assert np.array_equal(one, other)
        out = np.empty((1, 50, 50, 3), np.uint8)
        assert bound.read_tiles(regions[3:4], Size(50, 50), out) is out
        assert np.array_equal(out, free.read_tiles(regions[3:4], Size(50, 50)))


def test_what_was_read_stays_whatever_is_read_later(made: Path, tmp_path: Path) -> None:
    """Answers lie in shared memory that is used again, but not while anybody can see it."""
    regions = [Region(x, y, 100, 100) for x in range(0, 1000, 100) for y in range(0, 800, 100)]
    with open_slide(made) as free, open_slide(jailed(made, tmp_path)) as bound:
        kept = [bound.read(region)[10:90] for region in regions]  # views of views
        bound.thumbnail(400)
        expected = [free.read(region)[10:90] for region in regions]
    keeper.clear()
    assert all(np.array_equal(a, b) for a, b in zip(kept, expected, strict=True))


def test_threads_share_one_child(made: Path, tmp_path: Path) -> None:
    regions = [Region(x, y, 150, 150) for x in range(0, 1000, 50) for y in range(0, 700, 100)]
    address = jailed(made, tmp_path, threads=3)
    with (
        open_slide(made) as free,
        open_slide(address) as one,
        open_slide(address) as two,
        ThreadPoolExecutor(8) as pool,
    ):
        assert child_of(one) == child_of(two)
        for region, a, b in zip(regions, pool.map(one.read, regions), pool.map(two.read, regions), strict=True):
            assert np.array_equal(a, free.read(region))
            assert np.array_equal(a, b)


def test_a_slide_that_is_opened_again_finds_its_child(made: Path, tmp_path: Path) -> None:
    address = jailed(made, tmp_path)
    with open_slide(address) as slide:
        first = child_of(slide)
    with open_slide(address) as slide:
        assert child_of(slide) == first
    keeper.clear()
    assert not is_alive(first)
    write_slide(made, size=(1000, 900), seed=4)
    with open_slide(address) as slide:
        assert slide.info.size == Size(1000, 900)


def test_an_address_with_its_jail_travels(made: Path, tmp_path: Path) -> None:
    address = pickle.loads(pickle.dumps(jailed(made, tmp_path)))  # noqa: S301 - what Dask does with our own object
    with open_slide(address) as slide:
        assert isinstance(slide, JailedSlide)


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_an_error_and_the_next_read_goes_on(made: Path, tmp_path: Path, how: signal.Signals) -> None:
    with open_slide(jailed(made, tmp_path / "deaths")) as slide:
        expected = slide.read(Region(0, 0, 300, 300)).copy()
        kill(slide, how)
        with pytest.raises(SlideCrashedError, match=f"signal {how.value}"):
            slide.read(Region(0, 0, 300, 300))
        assert np.array_equal(slide.read(Region(0, 0, 300, 300)), expected)
    assert len(list((tmp_path / "deaths").iterdir())) == 1


def test_a_child_that_does_not_answer_is_ended(made: Path, tmp_path: Path) -> None:
    with open_slide(jailed(made, tmp_path / "deaths", seconds=1.0)) as slide:
        silent = child_of(slide)
        os.kill(silent, signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(SlideCrashedError, match="longer than"):
            slide.read(Region(0, 0, 300, 300))
        assert time.monotonic() - begin < 5
        assert not is_alive(silent)


def test_after_three_deaths_the_content_is_quarantined(made: Path, tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    with open_slide(jailed(made, deaths)) as slide:
        for _ in range(3):
            kill(slide, signal.SIGSEGV)
            with pytest.raises(SlideCrashedError):
                slide.read(Region(0, 0, 100, 100))
            if len(list(deaths.iterdir())) < 3:
                slide.read(Region(0, 0, 100, 100))
        with pytest.raises(QuarantinedSlideError):
            slide.read(Region(0, 0, 100, 100))
    (tmp_path / "elsewhere").mkdir()
    twin = Path(shutil.copy(made, tmp_path / "elsewhere" / "another-name.svs"))
    with pytest.raises(QuarantinedSlideError):
        open_slide(jailed(twin, deaths))
    other = write_slide(tmp_path / "other.svs", size=(1200, 900), seed=5)
    open_slide(jailed(other, deaths)).close()
    assert not any("made" in path.name or "made" in path.read_text() for path in deaths.iterdir())
    for path in deaths.iterdir():
        path.unlink()
    open_slide(jailed(made, deaths)).close()


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "made.svs", size=(1200, 900), seed=3)
    with open_slide(jailed(path, tmp_path / "deaths", memory_bytes=100 << 20)) as slide:
        small = slide.read(Region(0, 0, 300, 300)).copy()
        with pytest.raises(DamagedSlideError):  # 184 MB of pixels to resample, most of them glass beyond the slide
            slide.read_to(Region(0, 0, 9600, 6400), Size(9000, 6000))
        assert np.array_equal(slide.read(Region(0, 0, 300, 300)), small)


def test_an_absurd_read_is_refused_before_anyone_allocates(made: Path, tmp_path: Path) -> None:
    with open_slide(jailed(made, tmp_path)) as slide, pytest.raises(RegionError):
        slide.read(Region(0, 0, 10**6, 10**6))


def test_a_broken_tile_is_reported_by_place_through_the_bars(made: Path, tmp_path: Path) -> None:
    with tifffile.TiffFile(made) as tiff:
        page = tiff.pages[0]
        cols = -(-1200 // 240)
        offset, length = page.dataoffsets[2 * cols + 3], page.databytecounts[2 * cols + 3]
    with made.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * length)
    with open_slide(jailed(made, tmp_path)) as slide:
        with pytest.raises(DamagedSlideError, match=r"\(720, 480\)") as error:
            slide.read(Region(0, 0, 1200, 900))
        assert not isinstance(error.value, SlideCrashedError)
        assert slide.read(Region(0, 0, 700, 480)).std() > 5


def test_children_go_with_their_parent(made: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "from dataclasses import replace\n"
        "from slides import Address, open_slide\n"
        "from slides.jail.spec import Jail\n"
        "slide = open_slide(replace(Address.of(sys.argv[1]), jail=Jail(quarantine=sys.argv[2])))\n"
        "print(slide._cell._process, slide._cell._zygote._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(made), str(tmp_path / "deaths")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        family = [int(word) for word in parent.stdout.readline().split()]
        assert all(is_alive(each) for each in family)
        parent.kill()
    end = time.monotonic() + 10
    while any(is_alive(each) for each in family):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_environment_stays_outside(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from slides import Address, open_slide\n"
        "from slides.jail.spec import Jail\n"
        "with open_slide(replace(Address.of(sys.argv[1]), jail=Jail(quarantine=sys.argv[2]))) as slide:\n"
        "    print(Path(f'/proc/{slide._cell._process}/environ').read_text())\n"
    )
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    command = [sys.executable, "-c", script, str(made), str(tmp_path / "deaths")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "OMP_NUM_THREADS" in said
    assert "hunter2" not in said


def test_a_remote_slide_is_not_read_in_isolation() -> None:
    with pytest.raises(UnsafeSlideError):
        open_slide(Address("https://example.org/slide.svs", jail=Jail()))


def test_the_machine_says_what_it_can_take_away() -> None:
    assert set(capabilities()) == {"landlock", "seccomp", "network"}

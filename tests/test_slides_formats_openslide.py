"""What only OpenSlide reads: a broken tile is named by its place, and costs no other region."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slides import Address, DamagedSlideError, Region, open_slide
from slides.formats.openslide import NARROW
from slides.jail import keeper
from slides.jail.spec import Jail
from tools.hostile_containers import CONTAINERS, HEIGHT, TILE, WIDTH, leica, mirax
from tools.hostile_look import break_tile

NAMES = ["leica", "ventana", "mirax"]
PLACE = re.compile(r"the region at level-0 pixel \((\d+), (\d+)\) of (\d+) x (\d+) cannot be decoded")
TILES = [Region(x, y, TILE, TILE) for y in range(0, 3 * TILE, TILE) for x in range(0, WIDTH, TILE)]
BROKEN = Region(2 * TILE, TILE, TILE, TILE)
GOOD = [region for region in TILES if region.clipped(Region(2 * TILE - 8, TILE - 8, TILE + 16, TILE + 16)) is None]
"""Not beside it: Leica's image begins at pixel (2, 2) of the slide."""


@pytest.fixture
def pair(tmp_path: Path, name: str) -> tuple[Path, Path]:
    """A good slide, and its copy with a broken tile in the middle."""
    for folder in ("good", "broken"):
        (tmp_path / folder).mkdir()
        path = CONTAINERS[name](tmp_path / folder)
    break_later(path)
    return tmp_path / "good" / path.name, path


def break_later(path: Path) -> None:
    """Break tile (1, 2) of a slide whose content hash is known; of slides so small it is made of all their pixels."""
    for jail in (None, Jail(quarantine=str(path.parent))):
        open_slide(replace(Address.of(path, 0.5), jail=jail)).close()
    keeper.clear()
    before = path.stat()
    break_tile(path, 1, 2)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_jail", [False, True])
def test_the_rest_of_a_broken_slide_is_read(pair: tuple[Path, Path], *, in_jail: bool) -> None:
    jail = Jail(quarantine=str(pair[1].parent)) if in_jail else None
    broken = replace(Address.of(pair[1], 0.5), jail=jail)
    with open_slide(Address.of(pair[0], 0.5)) as whole, open_slide(broken) as slide:
        assert slide.info.reader == "openslide"
        for region in GOOD:
            with pytest.raises(DamagedSlideError):
                slide.read(BROKEN)
            assert np.array_equal(slide.read(region), whole.read(region))


@pytest.mark.parametrize("name", NAMES)
def test_the_place_is_searched_for(pair: tuple[Path, Path]) -> None:
    with open_slide(Address.of(pair[1], 0.5)) as slide:
        with pytest.raises(DamagedSlideError) as error:
            slide.read(Region(0, 0, slide.info.size.width, slide.info.size.height))
        match = PLACE.fullmatch(str(error.value))
        assert match, error.value
        place = Region(*(int(number) for number in match.groups()))
        assert max(place.width, place.height) <= NARROW < min(WIDTH, HEIGHT)
        assert place.clipped(BROKEN)
        with pytest.raises(DamagedSlideError):
            slide.read(place)


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_tile_is_no_matter_of_other_threads(pair: tuple[Path, Path]) -> None:
    """One handle serves them all, and the error of one comes to all that use it then."""
    with open_slide(Address.of(pair[0], 0.5)) as slide:
        expected = [slide.read(region) for region in GOOD]
    with open_slide(Address.of(pair[1], 0.5)) as slide, ThreadPoolExecutor(4) as pool:

        def fail(_: int) -> str:
            with pytest.raises(DamagedSlideError, match=rf"\({BROKEN.x}, {BROKEN.y}\)") as error:
                slide.read(BROKEN)
            return str(error.value)

        for _ in range(5):
            failing = pool.map(fail, range(8))
            for read, wanted in zip(pool.map(slide.read, GOOD), expected, strict=True):
                assert np.array_equal(read, wanted)
            assert len(set(failing)) == 1


def test_another_slide_in_the_place_of_the_first_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    path, other = leica(tmp_path / "a"), mirax(tmp_path / "b")
    break_later(path)
    with open_slide(Address.of(path, 0.5)) as slide:
        path.unlink()
        shutil.copy(other.with_suffix("") / "Data0000.dat", path)
        with pytest.raises(DamagedSlideError, match="damaged"):
            slide.read(BROKEN)
        path.unlink()
        leica(tmp_path / "a")
        with path.open("r+b") as file:
            content = file.read().replace(b"<objective>20<", b"<objective>40<")
            file.seek(0)
            file.write(content)
        with pytest.raises(DamagedSlideError, match="changed"):
            slide.read(BROKEN)

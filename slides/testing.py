"""For tests of this and other distributions: slides to read, and what every reader must do.

A reader's own test is one subclass::

    class TestMyReader(SlideConformance):
        @pytest.fixture
        def address(self, tmp_path):
            return Address.of(write_my_format(tmp_path / "slide.xyz"))
"""

from __future__ import annotations

import gc
import json
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from slides.errors import DamagedSlideError, RegionError, SlideError
from slides.geometry import Region, Size
from slides.info import SlideInfo
from slides.plugins import open_slide
from slides.synthetic import Kind, draw, write_slide
from slides.units import Mpp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from slides.info import Address

__all__ = ["Kind", "SlideConformance", "draw", "write_slide"]

NEAR = 6.0
"""Mean difference in grey values that two roads to the same pixels may show: JPEG and resampling, not a shift."""


class SlideConformance:
    """What every reader must do; give the fixture `address`, a slide of at least 600 x 600 px with a known scale.

    What a file format may lack is proved by methods that may be left as they are, each given a folder to write to:
    `another` gives a slide of other pixels; `broken` a copy of which one tile cannot be decoded and the first 64 x 64
    px can; `see_through` a slide whose first 64 x 64 px are transparent.
    """

    def another(self, folder: Path) -> Address | None:
        """A slide of other pixels."""
        del folder
        return None

    def broken(self, address: Address, folder: Path) -> Address | None:
        """A copy with a tile that cannot be decoded."""
        del address, folder
        return None

    def see_through(self, folder: Path) -> Address | None:
        """A slide that begins with nothing."""
        del folder
        return None

    def test_describes_itself_without_patient_data(self, address: Address) -> None:
        """The description survives JSON and names neither file nor folder."""
        with open_slide(address) as slide:
            document = json.dumps(slide.info.to_json())
            assert SlideInfo.from_json(json.loads(document)) == slide.info
        assert address.path.stem not in document
        assert str(address.path.parent) not in document

    def test_levels_fall_from_the_full_size(self, address: Address) -> None:
        """Level 0 is the slide; each further level is coarser."""
        with open_slide(address) as slide:
            assert slide.info.levels[0].size == slide.info.size
            assert slide.info.levels[0].downsample == 1
            downsamples = [level.downsample for level in slide.info.levels]
        assert downsamples == sorted(set(downsamples))

    def test_identity_is_stable(self, address: Address) -> None:
        """Two handles of one slide have one content hash, of 64 hex digits."""
        with open_slide(address) as one, open_slide(address) as two:
            assert one.info.content_hash == two.info.content_hash
            assert len(bytes.fromhex(one.info.content_hash)) == 32

    def test_size_follows_scale(self, address: Address) -> None:
        """A region read at a scale has its size in micrometres divided by that scale."""
        with open_slide(address) as slide:
            mpp0 = slide.info.require_mpp()
            for factor in (1.0, 1.7, 2.0, 4.0):
                read = slide.read(Region(32, 64, 400, 300), mpp0.x * factor)
                expected = (round(300 * mpp0.y / (mpp0.x * factor)), round(400 / factor))
                assert read.shape == (*expected, 3)
                assert read.dtype == np.uint8

    def test_regions_fit_together(self, address: Address) -> None:
        """A region read at once equals the same region read in four parts."""
        with open_slide(address) as slide:
            whole = slide.read(Region(40, 40, 400, 400))
            parts = [[slide.read(Region(40 + x, 40 + y, 200, 200)) for x in (0, 200)] for y in (0, 200)]
        assert np.array_equal(whole, np.concatenate([np.concatenate(row, axis=1) for row in parts]))

    def test_scales_show_the_same_place(self, address: Address) -> None:
        """Reading at half the scale looks like reading in full and averaging, without a shift."""
        with open_slide(address) as slide:
            region = Region(64, 64, 512, 512)
            half = slide.read_to(region, Size(256, 256))
            full = cv2.resize(slide.read(region), (256, 256), interpolation=cv2.INTER_AREA)
        assert np.abs(half.astype(float) - full).mean() < NEAR
        (dx, dy), _ = cv2.phaseCorrelate(_grey(half), _grey(full))
        assert max(abs(dx), abs(dy)) < 0.5 or _grey(full).std() < 1

    def test_beyond_the_slide_is_white(self, address: Address) -> None:
        """Outside of the slide everything is white glass."""
        with open_slide(address) as slide:
            size = slide.info.size
            assert (slide.read(Region(-500, -500, 300, 300)) == 255).all()
            assert (slide.read(Region(size.width + 10, size.height + 10, 64, 64)) == 255).all()
            corner = slide.read(Region(size.width - 8, size.height - 8, 16, 16))
            assert (corner[8:, :] == 255).all()
            assert (corner[:, 8:] == 255).all()

    def test_a_tile_does_not_depend_on_its_neighbours(self, address: Address) -> None:
        """Regions read together equal regions read alone."""
        regions = [Region(10 + 131 * i, 77, 131, 131) for i in range(3)]
        with open_slide(address) as slide:
            together = slide.read_tiles(regions, Size(100, 100))
            for region, tile in zip(regions, together, strict=True):
                assert np.array_equal(tile, slide.read_to(region, Size(100, 100)))

    def test_threads_read_the_same(self, address: Address) -> None:
        """Many threads on one handle get what one thread gets."""
        regions = [Region(x, y, 128, 128) for x in range(0, 448, 64) for y in range(0, 448, 64)]
        with open_slide(address) as slide, ThreadPoolExecutor(4) as pool:
            for read, region in zip(pool.map(slide.read, regions), regions, strict=True):
                assert np.array_equal(read, slide.read(region))

    def test_the_address_travels(self, address: Address) -> None:
        """An address sent to another process opens the same slide."""
        travelled = pickle.loads(pickle.dumps(address))  # noqa: S301 - what a cluster does with our own object
        with open_slide(address) as here, open_slide(travelled) as there:
            assert here.info == there.info

    def test_an_absurd_read_is_refused(self, address: Address) -> None:
        """A read beyond all memory is a typed error, not a dead process."""
        with open_slide(address) as slide:
            refused = False
            try:
                slide.read(Region(0, 0, 10**6, 10**6))
            except RegionError:
                refused = True
        assert refused

    def test_the_thumbnail_covers_the_slide(self, address: Address) -> None:
        """The thumbnail has the slide's shape and mean colour."""
        with open_slide(address) as slide:
            size = slide.info.size
            small = slide.thumbnail(100)
            assert max(small.shape[:2]) == 100
            assert abs(small.shape[1] / small.shape[0] - size.width / size.height) < 0.1
            corner = slide.read(Region(0, 0, size.width // 2, size.height // 2))
        part = small[: small.shape[0] // 2, : small.shape[1] // 2]
        assert np.abs(part.mean((0, 1)) - corner.mean((0, 1))).max() < NEAR

    def test_bounds_lie_on_the_slide(self, address: Address) -> None:
        """The scanned part is a part of the slide."""
        with open_slide(address) as slide:
            assert slide.info.bounds.clipped(Region.whole(slide.info.size)) == slide.info.bounds

    def test_exact_reading_is_the_average_of_areas(self, address: Address) -> None:
        """Without shrinking decoders, and from level 0, half size is the average of 2 x 2 pixels."""
        with open_slide(replace(address, decode="exact")) as slide:
            assert all(source.shrink == 1 for source in slide.sources)
            if slide.source_for(2).level > 0:
                return  # the vendor's own level is the answer
            for corner in (64, 65):
                region = Region(corner, corner, 256, 256)
                average = cv2.resize(slide.read(region), (128, 128), interpolation=cv2.INTER_AREA)
                assert np.array_equal(slide.read_to(region, Size(128, 128)), average)

    def test_quick_reading_is_exact_off_its_grid(self, address: Address) -> None:
        """Where a decoder would have to move what is shown it does not shrink, so both ways agree in every pixel."""
        with open_slide(address) as quick, open_slide(replace(address, decode="exact")) as exact:
            for x, y, side, scale in ((33, 64, 256, 2), (64, 35, 256, 4), (64, 64, 254, 4), (37, 41, 320, 8)):
                region, wanted = Region(x, y, side, side), Size(side // scale, side // scale)
                used = quick.source_for(side / wanted.width, region)
                read = quick.read_to(region, wanted)
                assert used.holds(region) or used.shrink == 1
                if used.shrink == 1:
                    assert np.array_equal(read, exact.read_to(region, wanted))

    def test_threads_read_the_same_at_a_shrunken_scale(self, address: Address) -> None:
        """Many threads on one handle get what one thread gets, while the decoder shrinks."""
        regions = [Region(x, y, 256, 256) for x in range(0, 256, 64) for y in range(0, 256, 64)]
        with open_slide(address) as slide, ThreadPoolExecutor(4) as pool:
            half = Size(128, 128)
            for read, region in zip(pool.map(lambda each: slide.read_to(each, half), regions), regions, strict=True):
                assert np.array_equal(read, slide.read_to(region, half))

    def test_results_go_where_the_caller_wants_them(self, address: Address) -> None:
        """Into an array or into views of a larger one; no regions are no pixels."""
        regions = [Region(10 + 131 * i, 77 + i, 130, 130) for i in range(3)]
        with open_slide(address) as slide:
            expected = slide.read_tiles(regions, Size(65, 65))
            out = np.full((3, 65, 65, 3), 7, np.uint8)
            assert slide.read_tiles(regions, Size(65, 65), out) is out
            assert np.array_equal(out, expected)
            canvas = np.full((67, 197, 3), 7, np.uint8)
            views = [canvas[1:66, 1 + 65 * i : 66 + 65 * i] for i in range(3)]
            slide.read_tiles(regions, Size(65, 65), views)
            assert np.array_equal(np.stack(views), expected)
            assert (canvas[[0, -1]] == 7).all()
            assert (canvas[:, [0, -1]] == 7).all()
            assert np.asarray(slide.read_tiles([], Size(65, 65))).shape == (0, 65, 65, 3)

    def test_each_direction_has_its_scale(self, address: Address) -> None:
        """Pixels that are not square become square ones."""
        with open_slide(replace(address, mpp0=Mpp(0.5, 0.25))) as slide:
            read = slide.read(Region(64, 64, 256, 256), 0.5)
            full = slide.read(Region(64, 64, 256, 256))
            assert any("not square" in warning for warning in slide.info.warnings)
        assert read.shape == (128, 256, 3)
        assert np.array_equal(read, cv2.resize(full, (256, 128), interpolation=cv2.INTER_AREA))

    def test_a_closed_slide_says_so(self, address: Address) -> None:
        """Whatever is asked of its pixels; closing twice is no error."""
        slide = open_slide(address)
        slide.close()
        slide.close()
        for ask in (partial(slide.read, Region(0, 0, 9, 9)), partial(slide.thumbnail, 9)):
            assert "closed" in _refusal(ask, SlideError)

    def test_nothing_stays_open(self, address: Address) -> None:
        """A closed slide holds no file."""
        held = []
        for _ in range(4):
            with open_slide(address) as slide:
                slide.read(Region(0, 0, 64, 64))
            gc.collect()
            held.append(len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0)
        assert held[-1] < held[0] + len(held) - 1  # a client of a remote store may keep a connection or two

    def test_other_pixels_have_another_identity(self, address: Address, tmp_path: Path) -> None:
        """The content hash tells slides apart."""
        another = self.another(tmp_path)
        if another is not None:
            with open_slide(address) as one, open_slide(another) as two:
                assert one.info.content_hash != two.info.content_hash

    def test_a_broken_place_is_named_and_the_rest_is_read(self, address: Address, tmp_path: Path) -> None:
        """An error tells the place in level-0 pixels, and the handle lives on."""
        broken = self.broken(address, tmp_path)
        if broken is None:
            return
        with open_slide(address) as good, open_slide(broken) as slide:
            for _ in range(2):
                everything = Region.whole(slide.info.size)
                said = _refusal(partial(slide.read_to, everything, everything.size), DamagedSlideError)
                assert re.search(r"level-0 pixel \(\d+, \d+\)", said)
                start = Region(0, 0, 64, 64)
                assert np.array_equal(slide.read(start), good.read(start))

    def test_what_is_transparent_is_white(self, address: Address, tmp_path: Path) -> None:
        """Nothing is glass, and never black."""
        del address
        see_through = self.see_through(tmp_path)
        if see_through is not None:
            with open_slide(see_through) as slide:
                assert (slide.read(Region(0, 0, 64, 64)) == 255).all()


def _refusal(ask: Callable[[], object], kind: type[SlideError]) -> str:
    """What an error of a kind says; empty where there is none."""
    try:
        ask()
    except kind as error:
        return str(error)
    return ""


def _grey(image: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)

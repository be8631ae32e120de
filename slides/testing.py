"""For tests of this and other distributions: slides to read, and what every reader must do.

A reader's own test is one subclass::

    class TestMyReader(SlideConformance):
        @pytest.fixture
        def address(self, tmp_path):
            return Address.of(write_my_format(tmp_path / "slide.xyz"))
"""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from slides.errors import RegionError
from slides.geometry import Region, Size
from slides.info import SlideInfo
from slides.plugins import open_slide
from slides.synthetic import Kind, draw, write_slide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slides.info import Address

__all__ = ["Kind", "SlideConformance", "draw", "write_slide"]

NEAR = 6.0
"""Mean difference in grey values that two roads to the same pixels may show: JPEG and resampling, not a shift."""


class SlideConformance:
    """What every reader must do; give the fixture `address`, a slide of at least 600 x 600 px with a known scale."""

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


def _grey(image: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)

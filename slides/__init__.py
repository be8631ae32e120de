"""Slides: open any whole-slide image and read its pixels by place and scale.

>>> from slides import Mpp
>>> Mpp.square(0.5).ratio(Mpp.square(0.25))
(2.0, 2.0)
"""

from slides.errors import (
    BadMppError,
    DamagedSlideError,
    MissingMppError,
    NotASlideError,
    QuarantinedSlideError,
    RegionError,
    SlideCrashedError,
    SlideError,
    SlideNotFoundError,
    UnsafeSlideError,
)
from slides.geometry import Point, Region, Size
from slides.info import Address, Level, SlideInfo
from slides.plugins import open_slide
from slides.slide import Slide
from slides.units import Mpp

__all__ = [
    "Address",
    "BadMppError",
    "DamagedSlideError",
    "Level",
    "MissingMppError",
    "Mpp",
    "NotASlideError",
    "Point",
    "QuarantinedSlideError",
    "Region",
    "RegionError",
    "Size",
    "Slide",
    "SlideCrashedError",
    "SlideError",
    "SlideInfo",
    "SlideNotFoundError",
    "UnsafeSlideError",
    "open_slide",
]

"""Places on a slide, always in level-0 pixels with the origin at the top left."""

from __future__ import annotations

from dataclasses import dataclass

from slides.errors import RegionError


@dataclass(frozen=True, slots=True)
class Point:
    """A place in level-0 pixels."""

    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels.

    Raises:
        RegionError: If a side is not positive.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        """Refuse empty sizes.

        Raises:
            RegionError: If a side is not positive.
        """
        if self.width <= 0 or self.height <= 0:
            msg = f"a size must be positive, not {self.width} x {self.height}"
            raise RegionError(msg)


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle in level-0 pixels; it may reach beyond the slide, where everything is white.

    Raises:
        RegionError: If a side is not positive.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        """Refuse empty regions."""
        Size(self.width, self.height)

    @classmethod
    def whole(cls, size: Size) -> Region:
        """The region of all pixels of a slide.

        Args:
            size: The slide's size in level-0 pixels.

        Returns:
            The region from the origin to `size`.
        """
        return cls(0, 0, size.width, size.height)

    @property
    def size(self) -> Size:
        """Width and height in level-0 pixels."""
        return Size(self.width, self.height)

    @property
    def right(self) -> int:
        """The first column right of the region."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below the region."""
        return self.y + self.height

    def clipped(self, other: Region) -> Region | None:
        """The part that lies in another region.

        Args:
            other: The region to stay within.

        Returns:
            The common part, or None where there is none.
        """
        left, top = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - left, min(self.bottom, other.bottom) - top
        return Region(left, top, width, height) if width > 0 and height > 0 else None

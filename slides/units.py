"""Micrometres per pixel: the only scale that leaves the slide layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from slides.errors import BadMppError

PLAUSIBLE_UM = (0.01, 100.0)
"""The finest and coarsest pixel, in micrometres, that an optical microscope or a macro camera produces."""


@dataclass(frozen=True, slots=True)
class Mpp:
    """Size of one pixel in micrometres, in x and in y.

    Raises:
        BadMppError: If either value is not a finite number within `PLAUSIBLE_UM`.
    """

    x: float
    y: float

    def __post_init__(self) -> None:
        """Refuse what no microscope has, so that a wrong scale never travels further.

        Raises:
            BadMppError: If a value is not plausible.
        """
        for value in (self.x, self.y):
            if not (math.isfinite(value) and PLAUSIBLE_UM[0] <= value <= PLAUSIBLE_UM[1]):
                msg = f"{value} is not a plausible pixel size in micrometres"
                raise BadMppError(msg)

    @classmethod
    def square(cls, value: float) -> Mpp:
        """The same scale in both directions.

        Args:
            value: Micrometres per pixel.

        Returns:
            The scale.
        """
        return cls(float(value), float(value))

    @classmethod
    def of(cls, value: Mpp | float) -> Mpp:
        """Take a scale, or a number for both directions.

        Args:
            value: A scale or micrometres per pixel.

        Returns:
            The scale.
        """
        return value if isinstance(value, Mpp) else cls.square(value)

    def ratio(self, finer: Mpp) -> tuple[float, float]:
        """How many pixels of `finer` one pixel of this scale covers.

        Args:
            finer: The scale to divide by.

        Returns:
            The ratio in x and in y, without unit.
        """
        return self.x / finer.x, self.y / finer.y

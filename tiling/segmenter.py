"""What tells tissue from glass on a thumbnail: the interface, and a quick rule by absorbance.

A network that users bring is `tiling.onnx_segmenter.OnnxSegmenter`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import cv2
import numpy as np

from tiling.fingerprint import fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

Stain = Literal["he", "ihc", "any"]


class Segmenter(Protocol):
    """Tells tissue from glass. Holes and dust are not its business: `segment` treats them by area."""

    @property
    def name(self) -> str:
        """A short name for provenance, never a file name."""

    @property
    def digest(self) -> str:
        """64 hex digits that change whenever the answer may change; part of a store's fingerprint."""

    def __call__(self, image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
        """Find tissue.

        Args:
            image: RGB [h, w, 3].
            mpp: Its scale in um/px.

        Returns:
            [h, w], True where tissue is.
        """


@dataclass(frozen=True, slots=True)
class StainRule:
    """What counts as stained."""

    absorbance: float
    """Least natural-log absorbance against the slide's own glass, in any colour."""
    colour: float
    """Least difference between the colours' absorbances, as a share of the largest; 0 takes grey for tissue too."""


STAIN_RULES: dict[Stain, StainRule] = {
    "he": StainRule(0.06, 0.2),
    "ihc": StainRule(0.04, 0.0),
    "any": StainRule(0.06, 0.0),
}
"""`he`: haematoxylin absorbs red and green, eosin green; neither is grey, so what is grey is dust, the edge of a
coverslip or a shadow. `ihc`: a pale counterstain leaves stroma under 6 % of absorbance, and dense DAB is nearly black,
so the threshold is lower and grey counts. `any`: for an unknown stain; the noise of glass stays under 0.02, fat's
membranes reach 0.06 to 0.1 at 8 um/px."""

PADDING = 254
"""Pixels this white in every colour are filling that a scanner put around what it scanned, not glass."""
LEAST_GLASS = 0.02
"""Share of a thumbnail that must be left to judge glass by, once filling is set aside."""


@dataclass(frozen=True, slots=True)
class AbsorbanceSegmenter:
    """Tissue is what holds back more light than the slide's own glass does (Beer-Lambert)."""

    stain: Stain = "any"
    absorbance: float | None = None
    """Threshold; None takes that of the stain."""
    glass_floor: float = 215.0
    """Glass is at least this bright; a slide that is all tissue would otherwise pass its palest tissue for glass."""

    @property
    def name(self) -> str:
        """The name in provenance."""
        return "absorbance"

    @property
    def digest(self) -> str:
        """Digest of the rule."""
        rule = STAIN_RULES[self.stain]
        return fingerprint(segmenter=self.name, version=2, rule=asdict(rule), **asdict(self))

    def __call__(self, image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
        """Find tissue; see `Segmenter`.

        Args:
            image: RGB [h, w, 3].
            mpp: Its scale in um/px; pixels are judged one by one, so it does not matter.

        Returns:
            [h, w], True where tissue is.
        """
        del mpp
        rule = STAIN_RULES[self.stain]
        glass = glass_of(image, self.glass_floor)
        least = (glass + 1) * np.exp(-(rule.absorbance if self.absorbance is None else self.absorbance)) - 1
        clear = cv2.inRange(image, np.ceil(least), np.full(3, 255.0))  # glass in every colour
        stained = clear == 0
        if rule.colour:
            stained &= _coloured(image, glass, rule.colour)
        return np.asarray(stained, np.bool_)


def glass_of(image: NDArray[np.uint8], floor: float = 215.0) -> NDArray[np.float64]:
    """The colour of the slide's glass: the median of its brightest tenth, filling set aside.

    Args:
        image: RGB thumbnail [h, w, 3].
        floor: Glass is at least this bright.

    Returns:
        RGB [3].
    """
    step = max(1, min(image.shape[:2]) // 512)
    pixels = image[::step, ::step].reshape(-1, 3)
    scanned = pixels[pixels.min(axis=1) < PADDING]
    if len(scanned) >= LEAST_GLASS * len(pixels):
        pixels = scanned
    grey = pixels.mean(axis=1)
    glass = np.median(pixels[grey >= np.percentile(grey, 90)], axis=0)
    return np.asarray(np.maximum(glass, floor), np.float64)


def absorbances(image: NDArray[np.uint8], glass: NDArray[np.float64]) -> NDArray[np.float32]:
    """Absorbance of each colour, -ln(light / glass's light); what is brighter than glass has none.

    Args:
        image: RGB [h, w, 3].
        glass: Colour of glass, RGB [3].

    Returns:
        [h, w, 3], 0 to about 5.5.
    """
    values = np.arange(256, dtype=np.float64)[:, None]
    table = np.maximum(-np.log((values + 1) / (glass + 1)), 0).astype(np.float32)
    return np.asarray(cv2.LUT(image, table[None]), np.float32)


def _coloured(image: NDArray[np.uint8], glass: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """Where the colours are held back unequally."""
    red, green, blue = cv2.split(absorbances(image, glass))
    most, fewest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return np.asarray(most - fewest >= least * most, np.bool_)

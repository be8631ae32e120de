"""Features computed, not learned: stain, nuclei, texture and focus of a tile. Needs neither torch nor weights.

Every column has a name (`NAMES`) and a meaning, so it also serves where a learned encoder cannot be trusted or run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from foundation.errors import ContractError, RegistryError
from foundation.spec import EncoderSpec

Floats = NDArray[np.float32]
Numbers = NDArray[np.floating[Any]]
VERSION = 1
"""Raised whenever the same tile would give other features."""
HED = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
"""Absorption of haematoxylin, eosin and DAB in RGB (Ruifrok and Johnston, Anal Quant Cytol Histol 2001;23:291)."""
STAINS = ("haematoxylin", "eosin", "residual")
PERCENTILES = (5, 25, 50, 75, 95)
LEVELS = 16
"""Grey levels of the co-occurrence matrix."""
DISTANCES = (1, 3, 6)
DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
SIZES = (2.0, 3.2, 5.0)
"""Radii of nuclei in pixels, as the scales of the difference of Gaussians."""
RADII = (1, 2, 3)
BANDS = 4
_DENSITY = (-np.log((np.arange(256) + 1) / 256)).astype(np.float32)
_UNMIX = np.linalg.inv(HED / np.linalg.norm(HED, axis=1, keepdims=True)).T.astype(np.float32)


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> HandcraftedEncoder:
    """Make the encoder; there is nothing to load.

    Args:
        key: `handcrafted`.
        weights: Must be None or this module, where the table sends whoever looks for weights.
        spec: Its row of the table.

    Returns:
        The encoder.

    Raises:
        RegistryError: If the table has no row for it, or weights are given.
    """
    if spec is None or weights not in {None, Path(__file__)}:
        raise RegistryError(f"Encoder {key!r} needs a row in the table of encoders and takes no weights file.")
    return HandcraftedEncoder(spec)


class HandcraftedEncoder:
    """Stain, nuclei, texture and focus as an encoder.

    Args:
        spec: What it is.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec
        self.weights_digest = hashlib.sha256(f"handcrafted {VERSION} {NAMES}".encode()).hexdigest()

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the preprocessing, 64 hex digits."""
        return self.spec.preprocessing_digest

    def encode(self, tiles: NDArray[np.uint8]) -> Floats:
        """Compute the features of a batch; may be called from several threads at once.

        Args:
            tiles: RGB tiles [B, px, px, 3].

        Returns:
            Features [B, len(NAMES)].

        Raises:
            ContractError: If the tiles have another shape or kind.
        """
        side = self.spec.px
        if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[1:] != (side, side, 3):
            raise ContractError(
                f"Encoder {self.spec.key!r} takes RGB tiles of {side} x {side} bytes, not {tiles.dtype} {tiles.shape}."
            )
        return np.stack([features(np.ascontiguousarray(tile)) for tile in tiles]).astype(np.float32)


def features(tile: NDArray[np.uint8]) -> Floats:
    """All features of one tile.

    Args:
        tile: RGB [side, side, 3].

    Returns:
        One number for each of `NAMES`; finite whatever the tile is.
    """
    stains = np.asarray(cv2.transform(_DENSITY[tile], _UNMIX), np.float32)
    grey = np.asarray(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), np.uint8)
    planes = [np.ascontiguousarray(stains[:, :, i]) for i in range(2)]
    parts = [
        _stain(stains),
        _colour(tile),
        _nuclei(planes[0]),
        _patterns(grey),
        _patterns(np.asarray(np.clip(planes[0] * 80, 0, 255), np.uint8)),
        _cooccurrence(grey),
        _gradients(grey),
        *(_bands(plane) for plane in [np.asarray(grey / 255, np.float32), *planes]),
    ]
    return np.concatenate(parts).astype(np.float32)


def _stain(stains: Floats) -> Numbers:
    """Mean, deviation and percentiles of each stain's density, over every other row and column: sorting all is slow."""
    rows = np.sort(np.ascontiguousarray(stains[::2, ::2].reshape(-1, 3).T), axis=1)
    places = [round(p / 100 * (rows.shape[1] - 1)) for p in PERCENTILES]
    return np.column_stack([rows.mean(1), rows.std(1), rows[:, places]]).ravel()


def _colour(tile: NDArray[np.uint8]) -> Numbers:
    """Mean and deviation of the colours; saturation; shares of white and of dark."""
    mean, deviation = cv2.meanStdDev(tile)
    hsv = cv2.cvtColor(tile, cv2.COLOR_RGB2HSV)
    saturation, value = hsv[:, :, 1], hsv[:, :, 2]
    white, dark = ((saturation < 25) & (value > 200)).mean(), (value < 80).mean()
    red = ((tile[:, :, 0].astype(np.int16) - tile[:, :, 2]) > 60).mean()
    whole = np.array([saturation.mean(), saturation.std()]) / 255
    return np.concatenate([mean.ravel() / 255, deviation.ravel() / 255, whole, [white, dark, red]])


def _nuclei(haematoxylin: Floats) -> Numbers:
    """Blobs of haematoxylin: how many at each size and how strong; then the segmented ones."""
    plane = np.clip(haematoxylin, np.float32(0), np.float32(3))
    found = []
    for size in SIZES:
        blobs = cv2.GaussianBlur(plane, (0, 0), size) - cv2.GaussianBlur(plane, (0, 0), 1.6 * size)
        peaks = blobs[(blobs == cv2.dilate(blobs, np.ones((7, 7)))) & (blobs > 0.04)]
        found += [len(peaks) / plane.size * 1e4, float(peaks.mean()) if len(peaks) else 0.0, float(blobs.std())]
    return np.array([*found, *_segmented(plane)])


def _segmented(plane: Floats) -> list[float]:
    """Otsu's dark regions: share, count, area, spread of areas, elongation, contrast to their surroundings."""
    smooth = np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.2) * 85, np.uint8)
    _, mask = cv2.threshold(smooth, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    regions = stats[1:][stats[1:, cv2.CC_STAT_AREA] > 20]
    inside, outside = plane[mask > 0], plane[mask == 0]
    contrast = float(inside.mean() - outside.mean()) if inside.size and outside.size else 0.0
    texture = float(inside.std()) if inside.size else 0.0
    if not len(regions):
        return [float(mask.mean()), 0.0, 0.0, 0.0, 0.0, 0.0, contrast, texture]
    area = np.log(regions[:, cv2.CC_STAT_AREA].astype(float))
    width, height = regions[:, cv2.CC_STAT_WIDTH], regions[:, cv2.CC_STAT_HEIGHT]
    fill = regions[:, cv2.CC_STAT_AREA] / (width * height)
    return [
        float(mask.mean()),
        len(regions) / plane.size * 1e4,
        float(area.mean()),
        float(area.std()),
        float(np.abs(np.log(width / height)).mean()),
        float(fill.mean()),
        contrast,
        texture,
    ]


def _uniform_bins() -> NDArray[np.uint8]:
    """Bin of each 8-bit ring: its number of ones where it changes at most twice, else 9."""
    rings = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (rings != np.roll(rings, 1, axis=1)).sum(1)
    return np.where(changes <= 2, rings.sum(1), 9).astype(np.uint8)


_BINS = _uniform_bins()


def _patterns(grey: NDArray[np.uint8]) -> Numbers:
    """Uniform rotation-invariant local binary patterns at three radii (Ojala et al., TPAMI 2002;24:971)."""
    side, margin = grey.shape[0], max(RADII)
    centre = grey[margin:-margin, margin:-margin]
    shares = []
    for radius in RADII:
        codes = np.zeros(centre.shape, np.uint8)
        for bit in range(8):
            dy, dx = (round(radius * f(np.pi * bit / 4)) for f in (np.sin, np.cos))
            ring = grey[margin + dy : side - margin + dy, margin + dx : side - margin + dx]
            codes |= (ring >= centre).view(np.uint8) << np.uint8(bit)
        shares.append((np.bincount(codes.ravel(), minlength=256) @ np.eye(10)[_BINS]) / codes.size)
    return np.concatenate(shares)


def _cooccurrence(grey: NDArray[np.uint8]) -> Numbers:
    """Haralick's properties of grey-level pairs, averaged over directions (IEEE SMC 1973;3:610)."""
    levels = grey // (256 // LEVELS)
    return np.concatenate([_properties(_pairs(levels, distance)) for distance in DISTANCES])


def _pairs(levels: NDArray[np.uint8], distance: int) -> NDArray[np.float64]:
    """Symmetric co-occurrence matrix [16, 16] of four directions; it sums to 1."""
    side = levels.shape[0]
    codes = []
    for dy, dx in DIRECTIONS:
        y, x = dy * distance, abs(dx) * distance
        one, other = levels[: side - y, : side - x], levels[y:, x:]
        if dx < 0:
            one, other = levels[: side - y, x:], levels[y:, : side - x]
        codes.append((one * np.uint8(LEVELS) + other).ravel())
    matrix = np.bincount(np.concatenate(codes), minlength=LEVELS**2).reshape(LEVELS, LEVELS).astype(float)
    matrix += matrix.T
    return np.asarray(matrix / matrix.sum())


def _properties(matrix: NDArray[np.float64]) -> Numbers:
    one, other = np.indices(matrix.shape)
    gap = np.abs(one - other)
    mean = (matrix * one).sum()
    spread = (matrix * (one - mean) ** 2).sum()
    together = (matrix * (one - mean) * (other - mean)).sum() / spread if spread > 1e-9 else 1.0
    sums = [(matrix * gap**2).sum(), (matrix * gap).sum(), (matrix / (1 + gap**2)).sum(), np.sqrt((matrix**2).sum())]
    return np.array([*sums, together])


def _gradients(grey: NDArray[np.uint8]) -> Numbers:
    """Strength and order of edges, entropy of greys, focus."""
    dx, dy = (cv2.Sobel(grey, cv2.CV_32F, *order) / 255 for order in ((1, 0), (0, 1)))
    strength = np.sqrt(dx * dx + dy * dy)  # not cv2.magnitude: its last bits depend on where arrays lie in memory
    ranked = np.sort(strength[::2, ::2].ravel())
    xx, yy, xy = (cv2.GaussianBlur(p, (0, 0), 4) for p in (dx * dx, dy * dy, dx * dy))
    along, total = np.sqrt((xx - yy) ** 2 + 4 * xy * xy), xx + yy + 1e-4
    whole = np.hypot(float((xx - yy).mean()), 2 * float(xy.mean())) / float(total.mean())
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    entropy = -(shares * np.log2(shares + 1e-12)).sum()
    focus = np.log(cv2.Laplacian(grey, cv2.CV_32F).var() + 1)
    middle, high = ranked[len(ranked) // 2], ranked[len(ranked) * 9 // 10]
    return np.array([strength.mean(), strength.std(), middle, high, (along / total).mean(), whole, entropy, focus])


def _bands(plane: Numbers) -> Numbers:
    """Log energy of four octaves of detail."""
    energies = []
    for _ in range(BANDS):
        small = np.asarray(cv2.pyrDown(plane), np.float32)
        detail = plane - cv2.pyrUp(small, dstsize=plane.shape[::-1])
        energies.append(np.log(float((detail * detail).mean()) + 1e-6))
        plane = small
    return np.array(energies)


NAMES = (
    *(f"{stain}_{what}" for stain in STAINS for what in ("mean", "deviation", *(f"p{p}" for p in PERCENTILES))),
    *(f"{colour}_{what}" for what in ("mean", "deviation") for colour in ("red", "green", "blue")),
    *("saturation_mean", "saturation_deviation", "white_share", "dark_share", "red_share"),
    *(f"nuclei_{size}px_{what}" for size in SIZES for what in ("density", "strength", "variation")),
    *(f"regions_{what}" for what in ("share", "density", "area", "area_spread")),
    *(f"regions_{what}" for what in ("elongation", "fill", "contrast", "texture")),
    *(f"pattern_{plane}_r{r}_{b}" for plane in ("grey", "haematoxylin") for r in RADII for b in range(10)),
    *(f"pairs_{distance}px_{what}" for distance in DISTANCES for what in PROPERTIES),
    *("edges_mean", "edges_deviation", "edges_median", "edges_p90", "order_local", "order_whole", "entropy", "focus"),
    *(f"detail_{plane}_octave{band}" for plane in ("grey", *STAINS[:2]) for band in range(BANDS)),
)
"""What each column is, in order."""

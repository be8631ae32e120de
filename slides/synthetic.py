"""Make small slides that look like H&E sections: for tests, and for the demo where no network is.

They are drawn, not scanned: good for plumbing, worthless for science.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import tifffile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Kind = Literal["tissue", "glass", "fluorescence"]

GLASS = (242, 241, 243)
STROMA, NUCLEUS, FAT = (226, 160, 196), (92, 58, 132), (238, 228, 236)
TILE_PX = 240
QUALITY = 85
DOWNSAMPLES = (1, 4, 16)
UM_PER_NUCLEUS = 9.0
"""Diameter of a drawn nucleus: near that of a lymphocyte to a tumour cell."""


def draw(width: int, height: int, mpp: float, seed: int = 0, kind: Kind = "tissue") -> NDArray[np.uint8]:
    """Draw a section.

    Args:
        width: Pixels.
        height: Pixels.
        mpp: Micrometres per pixel, which sets the size of nuclei.
        seed: Same arguments, same pixels.
        kind: A stained section, empty glass, or bright spots on black.

    Returns:
        RGB [height, width, 3].
    """
    rng = np.random.default_rng(seed)
    if kind == "fluorescence":
        image = np.zeros((height, width, 3), np.uint8)
        _dots(image, rng, (40, 60, 210), mpp, share=0.05)
        return image
    image = np.full((height, width, 3), GLASS, np.uint8)
    if kind == "tissue":
        tissue = _blob(width, height, rng, 0.42)
        image[tissue] = STROMA
        image[tissue & (_blob(width, height, rng, 0.72))] = FAT
        nuclei = image.copy()
        _dots(nuclei, rng, NUCLEUS, mpp, share=0.25)
        image = np.where(tissue[..., None], nuclei, image)
    noise = rng.integers(-5, 6, (height, width, 1), dtype=np.int16)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def write_slide(
    path: Path, *, size: tuple[int, int] = (2000, 1500), mpp: float | None = 0.5, seed: int = 0, kind: Kind = "tissue"
) -> Path:
    """Write a drawn section the way Aperio does: tiled JPEG, a pyramid, scale in the description.

    Args:
        path: The file to write; its suffix should be .svs or .tiff.
        size: Width and height of level 0 in pixels.
        mpp: Micrometres per pixel for the header, or None to leave scale and power out (0.5 is then drawn).
        seed: Same arguments, same pixels.
        kind: What to draw.

    Returns:
        `path`.
    """
    width, height = size
    image = draw(width, height, mpp or 0.5, seed, kind)
    stated = "" if mpp is None else f"|AppMag = {10 / mpp:g}|MPP = {mpp:.4f}"
    geometry = f"{width}x{height} [0,0 {width}x{height}] ({TILE_PX}x{TILE_PX})"
    text = f"Aperio Image Library v12.0.15 \r\n{geometry} JPEG/RGB Q={QUALITY}{stated}"
    with tifffile.TiffWriter(path) as tiff:
        for downsample in DOWNSAMPLES:
            shape = (max(1, width // downsample), max(1, height // downsample))
            if min(shape) < TILE_PX // 2 and downsample > 1:
                break
            level = image if downsample == 1 else cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
            tiff.write(
                level,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": QUALITY, "outcolorspace": "rgb"},  # else tifffile declares RGB tiles as YCbCr
                metadata=None,
                software=None,
                description=text if downsample == 1 else text.split("|", maxsplit=1)[0],
            )
            if downsample == 1:
                _write_thumbnail(tiff, image, text)
    return path


def _write_thumbnail(tiff: tifffile.TiffWriter, image: NDArray[np.uint8], text: str) -> None:
    """The second image of an Aperio file is its thumbnail."""
    small = cv2.resize(image, (256, max(1, 256 * image.shape[0] // image.shape[1])), interpolation=cv2.INTER_AREA)
    tiff.write(
        small,
        photometric="rgb",
        rowsperstrip=16,
        metadata=None,
        software=None,
        description=text.split("|", maxsplit=1)[0],
    )


def _blob(width: int, height: int, rng: np.random.Generator, above: float) -> NDArray[np.bool_]:
    """A smooth random shape that stays away from the slide's edge; `above` is the share of the area left out."""
    coarse = rng.random((8, 8)).astype(np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    field -= np.asarray(np.maximum(np.abs(x), np.abs(y)) ** 8, np.float32)
    return np.asarray(field > np.quantile(field, above))


def _dots(
    image: NDArray[np.uint8], rng: np.random.Generator, colour: tuple[int, int, int], mpp: float, share: float
) -> None:
    """Draw nuclei that cover about `share` of the image, denser in some places than in others."""
    height, width = image.shape[:2]
    radius = max(1, round(UM_PER_NUCLEUS / 2 / mpp))
    count = int(share * height * width / (np.pi * radius**2))
    density = cv2.resize(rng.random((6, 6)).astype(np.float32), (width, height))
    for x, y, chance in zip(
        rng.integers(0, width, count), rng.integers(0, height, count), rng.random(count), strict=True
    ):
        if chance < density[y, x]:
            cv2.circle(image, (int(x), int(y)), radius, colour, -1, cv2.LINE_AA)

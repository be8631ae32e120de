"""Write small drawn slides as the other kinds of TIFF that are read: for tests, and to be mutated by proofs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from slides.geometry import Size
from slides.resampling import resample
from slides.synthetic import draw

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

TILE = (256, 256)
SIZE = (1500, 1200)
PHILIPS_SIZE = (1536, 1280)


def smaller(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """A coarser level.

    Args:
        image: RGB [H, W, 3].
        factor: How much coarser.

    Returns:
        RGB [H / factor, W / factor, 3], averaged.
    """
    return resample(image, Size(image.shape[1] // factor, image.shape[0] // factor))


def write_jpeg2000(path: Path, size: tuple[int, int] = SIZE, seed: int = 5) -> Path:
    """An Aperio-like slide in RGB JPEG 2000, levels 1 and 4.

    Args:
        path: The file to write.
        size: Width and height in pixels.
        seed: Same arguments, same pixels.

    Returns:
        `path`.
    """
    image = draw(*size, 0.5, seed=seed)
    with tifffile.TiffWriter(path) as tiff:
        for factor in (1, 4):
            tiff.write(
                smaller(image, factor),
                tile=TILE,
                photometric="rgb",
                compression=33005,
                compressionargs={"level": 38, "reversible": False, "codecformat": "J2K"},
                metadata=None,
                description="Aperio Image Library v12 |AppMag = 20|MPP = 0.5000",
            )
    return path


def write_lossless(path: Path, compression: str | None = "zlib", *, predictor: bool = False, seed: int = 4) -> Path:
    """A pyramid of no vendor whose pixels come back exactly, levels 1 and 2.

    Args:
        path: The file to write.
        compression: As tifffile names it, or None.
        predictor: Store differences of neighbours.
        seed: Same arguments, same pixels.

    Returns:
        `path`.
    """
    image = draw(*SIZE, 0.5, seed=seed)
    with tifffile.TiffWriter(path) as tiff:
        for factor in (1, 2):
            tiff.write(
                image[::factor, ::factor],
                tile=TILE,
                photometric="rgb",
                compression=compression,
                predictor=predictor,
                resolution=(20_000 / factor, 20_000 / factor),
                resolutionunit="CENTIMETER",
                subfiletype=int(factor > 1),
            )
    return path


def write_ome(path: Path, *, size_um: float = 0.5, unit: str = "µm", compression: str = "jpeg", seed: int = 6) -> Path:
    """An OME-TIFF whose coarser levels are SubIFDs, as Bio-Formats and QuPath write them.

    Args:
        path: The file to write; it should end in .ome.tiff.
        size_um: PhysicalSizeX and Y.
        unit: Their unit.
        compression: As tifffile names it.
        seed: Same arguments, same pixels.

    Returns:
        `path`.
    """
    image = draw(*SIZE, 0.5, seed=seed)
    metadata = {"axes": "YXS", "PhysicalSizeX": size_um, "PhysicalSizeY": size_um}
    metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    common: dict[str, Any] = {"tile": TILE, "photometric": "rgb", "compression": compression}
    if compression == "jpeg":
        common["compressionargs"] = {"outcolorspace": "rgb", "level": 90}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(image, subifds=2, metadata=metadata, **common)
        for factor in (2, 4):
            tiff.write(smaller(image, factor), subfiletype=1, **common)
    return path


def write_philips(path: Path, *, glass: Collection[int] = (), seed: int = 7) -> Path:
    """A Philips-like TIFF: levels 1, 2 and 4 padded to whole tiles, its scale in XML.

    Args:
        path: The file to write.
        glass: Level-0 tiles to leave out.
        seed: Same arguments, same pixels.

    Returns:
        `path`.
    """
    image = draw(*PHILIPS_SIZE, 0.25, seed=seed)
    with tifffile.TiffWriter(path) as tiff:
        for factor in (1, 2, 4):
            tiff.write(
                padded(smaller(image, factor)),
                tile=TILE,
                photometric="rgb",
                compression="jpeg",
                compressionargs={"outcolorspace": "rgb"},
                subfiletype=int(factor > 1),
                software="Philips DP v1.0",
                description=_philips_xml() if factor == 1 else "",
                metadata=None,
            )
    for name in ("TileOffsets", "TileByteCounts"):
        overwrite(path, name, glass, 0.0)
    return path


def overwrite(path: Path, tag: str, tiles: Collection[int], share: float) -> None:
    """Change entries of the level-0 tile index.

    Args:
        path: A TIFF.
        tag: `TileOffsets` or `TileByteCounts`.
        tiles: Which entries.
        share: What to multiply them by.
    """
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.pages[0]
        if isinstance(page, tifffile.TiffPage):
            entry = page.tags[tag]
            entry.overwrite([int(n * share) if i in tiles else n for i, n in enumerate(entry.value)])


def padded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image enlarged to whole tiles with grey.

    Args:
        image: RGB [H, W, 3].

    Returns:
        RGB, both sides multiples of a tile's.
    """
    sides = [(0, -side % step) for side, step in zip(image.shape[:2], TILE, strict=True)]
    return np.pad(image, [*sides, (0, 0)], constant_values=200)


def _philips_xml() -> str:
    """A description with the attributes that readers look for."""
    levels = "".join(
        '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">'
        f'"{0.00025 * factor}" "{0.00026 * factor}"</Attribute></DataObject>'
        for factor in (1, 2, 4)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        '<Attribute Name="PIM_DP_SCANNED_IMAGES"><Array><DataObject ObjectType="DPScannedImage">'
        '<Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute>'
        '<Attribute Name="DICOM_PIXEL_SPACING">"0.00025" "0.00026"</Attribute>'
        '<Attribute Name="DICOM_DERIVATION_DESCRIPTION">tiff-levels=40,10002,10000-processing=x</Attribute>'
        f'<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>{levels}</Array></Attribute>'
        "</DataObject></Array></Attribute></DataObject>"
    )

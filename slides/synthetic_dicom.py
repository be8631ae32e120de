"""Write small drawn DICOM whole-slide images in every coding and order of frames: for tests, and for proofs to mutate.

Nothing here is meant for archives: attributes that no reader of pixels needs are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import cv2
import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID, generate_uid

from slides.dicom_instance import WHOLE_SLIDE
from slides.geometry import Size
from slides.resampling import resample
from slides.synthetic import draw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
JPEG, J2K_LOSSLESS, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
WIDTH, HEIGHT, TILE = 1000, 800, 256
START_OF_FRAME, START_OF_SCAN, MARKERS = 0xC0, 0xDA, {0xE0, 0xEE}


@dataclass(frozen=True, slots=True)
class DicomSpec:
    """How to write one instance."""

    syntax: str = JPEG
    """Transfer syntax."""
    photometric: str = "YBR_FULL_422"
    """What the header calls the colours; whether that is true is another matter."""
    organization: str | None = "TILED_FULL"
    table: Literal["basic", "none", "extended"] = "basic"
    """Offsets of frames."""
    fragments: int = 1
    """Of a compressed frame."""
    planar: int = 0
    spacing_mm: float | None = 0.0005
    kind: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
    left_out: frozenset[int] = frozenset()
    """Tiles without a frame, by number in reading order."""
    series: str = "1.2.3.4"
    planes: int = 1
    """Focal planes; those after the first are negatives."""
    stream: Literal["jfif", "adobe-rgb", "bare-rgb"] = "jfif"
    """Of JPEG frames; `bare-rgb` has no marker, and component ids 0, 1, 2, as Aperio has."""
    shift: int = 0
    """Pixels by which positions of sparse frames are off the grid."""


def picture(seed: int = 8) -> NDArray[np.uint8]:
    """What is drawn.

    Args:
        seed: Same seed, same pixels.

    Returns:
        RGB [HEIGHT, WIDTH, 3], a copy.
    """
    return _drawn(seed).copy()


def write_dicom(path: Path, image: NDArray[np.uint8] | None = None, spec: DicomSpec | None = None) -> Path:
    """Write one instance; sparse frames last first, so that only their positions say where they belong.

    Args:
        path: The file to write.
        image: RGB [H, W, 3]; `picture()` where none is given.
        spec: How.

    Returns:
        `path`.
    """
    spec, image = spec or DicomSpec(), picture() if image is None else image
    tiles = _tiles_of(image)
    numbers = [n for n in range(len(tiles)) if n not in spec.left_out]
    if spec.organization == "TILED_SPARSE":
        numbers.reverse()
    streams = [_encoded(tiles[n], spec) for n in numbers]
    streams += [_encoded(255 - tiles[n], spec) for _ in range(spec.planes - 1) for n in numbers]
    data = _header(image, spec, len(streams))
    if spec.organization == "TILED_SPARSE":
        data.PerFrameFunctionalGroupsSequence = _positions(numbers, -(-image.shape[1] // TILE), spec.shift)
    _add_pixels(data, streams, spec)
    data.save_as(path, enforce_file_format=True)
    return path


def write_dicom_folder(folder: Path, spec: DicomSpec | None = None) -> Path:
    """Write three levels, a label and a thumbnail of one series, named so that their order says nothing.

    Args:
        folder: Made where it is missing.
        spec: How.

    Returns:
        `folder`.
    """
    folder.mkdir(exist_ok=True)
    image, spec = picture(), spec or DicomSpec()
    for factor, name in ((4, "a"), (1, "m"), (2, "z")):
        level = resample(image, Size(WIDTH // factor, HEIGHT // factor))
        resampled = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")
        write_dicom(folder / f"{name}.dcm", level, replace(spec, kind=spec.kind if factor == 1 else resampled))
    write_dicom(folder / "b.dcm", image[:300, :400], replace(spec, kind=("ORIGINAL", "PRIMARY", "LABEL", "NONE")))
    thumbnail = replace(spec, kind=("DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED"))
    write_dicom(folder / "c.dcm", image[::3, ::3], thumbnail)
    return folder


@cache
def _drawn(seed: int) -> NDArray[np.uint8]:
    return draw(WIDTH, HEIGHT, 0.5, seed=seed)


def _tiles_of(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Tiles in reading order, those at the edges filled up with white."""
    sides = [(0, -side % TILE) for side in image.shape[:2]]
    full = np.pad(image, [*sides, (0, 0)], constant_values=255)
    rows, cols = full.shape[0] // TILE, full.shape[1] // TILE
    return [full[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE] for r in range(rows) for c in range(cols)]


def _encoded(tile: NDArray[np.uint8], spec: DicomSpec) -> bytes:
    """One frame."""
    pixels = np.ascontiguousarray(tile)
    if spec.syntax in {J2K_LOSSLESS, J2K}:
        mixed = not spec.photometric.startswith("YBR_FULL")
        if not mixed:
            pixels = np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]], np.uint8)
        return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K", mct=mixed))
    if spec.syntax == JPEG:
        space = "YCBCR" if spec.stream == "jfif" else "RGB"
        jpeg = bytes(imagecodecs.jpeg8_encode(pixels, level=92, colorspace="RGB", outcolorspace=space))
        return _bare(jpeg) if spec.stream == "bare-rgb" else jpeg
    return np.ascontiguousarray(tile.transpose(2, 0, 1) if spec.planar else tile).tobytes()


def _bare(jpeg: bytes) -> bytes:
    """A JPEG stream without APP markers, its components numbered from 0."""
    out, at, marker = jpeg[:2], 2, 0
    while marker != START_OF_SCAN:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        segment, at = bytearray(jpeg[at : at + 2 + length]), at + 2 + length
        first, step = {START_OF_FRAME: (10, 3), START_OF_SCAN: (5, 2)}.get(marker, (0, 0))
        for i in range(3 if step else 0):
            segment[first + step * i] = i
        out += b"" if marker in MARKERS else bytes(segment)
    return out + jpeg[at:]


def _header(image: NDArray[np.uint8], spec: DicomSpec, frames: int) -> Dataset:
    """All but the pixels."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UID(WHOLE_SLIDE)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.file_meta.TransferSyntaxUID = UID(spec.syntax)
    data.SeriesInstanceUID, data.StudyInstanceUID = UID(spec.series), UID("1.2.3")
    data.PatientName, data.Modality, data.ImageType = "CANARY^PATIENT", "SM", list(spec.kind)
    data.Rows, data.Columns, data.NumberOfFrames = TILE, TILE, frames
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = image.shape[:2]
    data.TotalPixelMatrixFocalPlanes, data.PhotometricInterpretation = spec.planes, spec.photometric
    data.SamplesPerPixel, data.PlanarConfiguration, data.PixelRepresentation = 3, spec.planar, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    if spec.organization:
        data.DimensionOrganizationType = spec.organization
    path = Dataset()
    path.ObjectiveLensPower, path.OpticalPathIdentifier = "20", "1"
    data.OpticalPathSequence = [path]
    if spec.spacing_mm is not None:
        measures, group = Dataset(), Dataset()
        measures.PixelSpacing = [f"{spec.spacing_mm * WIDTH / image.shape[1]:.8f}"] * 2
        group.PixelMeasuresSequence = [measures]
        data.SharedFunctionalGroupsSequence = [group]
    return data


def _positions(numbers: Sequence[int], cols: int, shift: int) -> list[Dataset]:
    """Functional groups that say where each frame belongs."""
    groups = []
    for number in numbers:
        plane, group = Dataset(), Dataset()
        plane.RowPositionInTotalImagePixelMatrix = number // cols * TILE + 1 + shift
        plane.ColumnPositionInTotalImagePixelMatrix = number % cols * TILE + 1
        group.PlanePositionSlideSequence = [plane]
        groups.append(group)
    return groups


def _add_pixels(data: Dataset, streams: Sequence[bytes], spec: DicomSpec) -> None:
    """The pixel data element."""
    if spec.syntax in {EXPLICIT, IMPLICIT}:
        data.PixelData = b"".join(streams)
    elif spec.table == "extended":
        data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(list(streams))
    else:
        data.PixelData = encapsulate(list(streams), fragments_per_frame=spec.fragments, has_bot=spec.table == "basic")
    data["PixelData"].VR = "OW" if spec.syntax == IMPLICIT else "OB"

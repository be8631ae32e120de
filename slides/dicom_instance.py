"""One file of a DICOM whole-slide image: what its header says of size, place and coding, free of patient data.

Attributes and rules are those of the VL Whole Slide Microscopy Image (PS3.3 A.32.8, C.8.12.4); only the attributes
named here are kept when a file is parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from slides.dicom_frames import frame_spans
from slides.errors import DamagedSlideError
from slides.geometry import Size
from slides.malformed import MALFORMED, header_is_read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom import Dataset

    from slides.storage import ByteSource

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
KEPT = (
    *("SOPInstanceUID", "SeriesInstanceUID", "SOPInstanceUIDOfConcatenationSource", "ConcatenationFrameOffsetNumber"),
    *("ImageType", "Rows", "Columns", "NumberOfFrames", "TotalPixelMatrixColumns", "TotalPixelMatrixRows"),
    *("TotalPixelMatrixFocalPlanes", "DimensionOrganizationType", "SharedFunctionalGroupsSequence"),
    *("ImagedVolumeWidth", "ImagedVolumeHeight", "OpticalPathSequence", "ExtendedOffsetTable"),
    *("ExtendedOffsetTableLengths", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("PlanarConfiguration", "PhotometricInterpretation", "SpecificCharacterSet"),
)
PREAMBLE = 132
NOT_SLIDE = {"LABEL", "OVERVIEW", "THUMBNAIL", "LOCALIZER"}
"""Flavours of image that are no level: pictures of label and glass, and a thumbnail of other framing."""
UM_PER_MM = 1000.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A file with frames of one level."""

    path: Path
    header: Dataset
    pixels_at: int
    """Offset of the pixel data element."""

    @property
    def series(self) -> str:
        """Series instance UID."""
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def image(self) -> str:
        """UID of the image that the frames belong to; parts of a concatenation share it."""
        return str(self.header.get("SOPInstanceUIDOfConcatenationSource") or self.header.get("SOPInstanceUID", ""))

    @property
    def uid(self) -> str:
        """UID of the file."""
        return str(self.header.get("SOPInstanceUID", ""))

    @property
    def part(self) -> int:
        """Number of its first frame in a concatenation."""
        return int(self.header.get("ConcatenationFrameOffsetNumber") or 0)

    @property
    def is_encapsulated(self) -> bool:
        """Whether its frames are compressed."""
        return bool(self.header.file_meta.TransferSyntaxUID.is_encapsulated)

    @property
    def organization(self) -> str | None:
        """`TILED_FULL`, `TILED_SPARSE`, or None where the header does not say."""
        return self.header.get("DimensionOrganizationType") or None

    @property
    def is_full(self) -> bool:
        """Whether every tile has a frame and they come in reading order."""
        return self.organization == "TILED_FULL"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of it."""
        planes, paths = (
            self.header.get("TotalPixelMatrixFocalPlanes") or 1,
            self.header.get("OpticalPathSequence") or (),
        )
        many = [f"{n} {name}" for n, name in ((planes, "focal planes"), (len(paths), "optical paths")) if n > 1]
        return (f"the slide has {' and '.join(many)}; the first is read",) if many else ()

    @property
    def is_level(self) -> bool:
        """Whether it holds the specimen itself and not label, overview or thumbnail."""
        return not NOT_SLIDE & {str(value).upper() for value in self.header.get("ImageType") or ()}

    @property
    def size(self) -> Size:
        """The level in pixels."""
        return _size(self.header, "TotalPixelMatrixColumns", "TotalPixelMatrixRows")

    @property
    def tile(self) -> Size:
        """A frame in pixels."""
        return _size(self.header, "Columns", "Rows")

    @property
    def spacing_um(self) -> tuple[float, float] | None:
        """Size of a pixel in x and y in micrometres: by the pixel measures, else by the imaged volume."""
        for group in self.header.get("SharedFunctionalGroupsSequence") or ():
            for measures in group.get("PixelMeasuresSequence") or ():
                rows_columns = measures.get("PixelSpacing")
                if rows_columns is not None and len(rows_columns) == 2:
                    return float(rows_columns[1]) * UM_PER_MM, float(rows_columns[0]) * UM_PER_MM
        width, height = (self.header.get(f"ImagedVolume{side}") for side in ("Width", "Height"))
        if not width or not height:
            return None
        return float(width) * UM_PER_MM / self.size.width, float(height) * UM_PER_MM / self.size.height

    def optical(self, attribute: str) -> object:
        """An attribute of the first optical path.

        Args:
            attribute: Its keyword.

        Returns:
            The value, or None.
        """
        paths = list(self.header.get("OpticalPathSequence") or [])
        return paths[0].get(attribute) if paths else None

    def frames(self, data: ByteSource) -> NDArray[np.int64]:
        """Where the frames lie and where they belong.

        Args:
            data: The file.

        Returns:
            int64 [frames, 4]: row, column of the tile, offset, length. Of several focal planes or optical paths, the
            first of each place only.
        """
        tile = self.tile
        spans = frame_spans(data, self.pixels_at, self.header, tile.width * tile.height * 3)
        rows, cols = -(-self.size.height // tile.height), -(-self.size.width // tile.width)
        if self.is_full or (self.organization is None and len(spans) == rows * cols):
            number = np.arange(len(spans)) + self.part
            places = np.stack(np.divmod(number, cols), axis=1)
        else:
            places = self._sparse_places(len(spans))
        kept = np.flatnonzero((places >= 0).all(axis=1) & (places[:, 0] < rows) & (places[:, 1] < cols))
        _, first = np.unique(places[kept], axis=0, return_index=True)
        chosen = kept[np.sort(first)]
        return np.concatenate([places[chosen], spans[chosen]], axis=1)

    def _sparse_places(self, count: int) -> NDArray[np.int64]:
        """Row and column of each frame, by the plane positions of TILED_SPARSE.

        Raises:
            DamagedSlideError: If a frame has no position, or one off the grid.
        """
        try:
            groups = read_header(self.path, ("PerFrameFunctionalGroupsSequence",))[0].PerFrameFunctionalGroupsSequence
            planes = [group.PlanePositionSlideSequence[0] for group in groups]
            corners = np.array(
                [(p.RowPositionInTotalImagePixelMatrix, p.ColumnPositionInTotalImagePixelMatrix) for p in planes],
                np.int64,
            ).reshape(-1, 2)
        except (AttributeError, IndexError, TypeError) as error:
            msg = "the slide does not say where its frames belong"
            raise DamagedSlideError(msg) from error
        step = np.array([self.tile.height, self.tile.width])
        if len(corners) != count or ((corners - 1) % step).any():
            msg = "the frames of the slide do not lie on one grid"
            raise DamagedSlideError(msg)
        places: NDArray[np.int64] = (corners - 1) // step
        return places


def read_instance(path: Path) -> Instance | None:
    """Read the header of a file.

    Args:
        path: Any file.

    Returns:
        The instance, or None for a file that is not a part of a DICOM whole-slide image.
    """
    if not is_whole_slide(path):
        return None
    with header_is_read():
        header, at = read_header(path, KEPT)
    return Instance(path, header, at)


def is_whole_slide(path: Path) -> bool:
    """Whether a file says that it is a part of a DICOM whole-slide image.

    Args:
        path: A regular file.

    Returns:
        True where it does.
    """
    try:
        with path.open("rb") as file:
            if file.read(PREAMBLE)[128:] != b"DICM":
                return False
        return str(read_file_meta_info(path).get("MediaStorageSOPClassUID", "")) == WHOLE_SLIDE
    except (*MALFORMED, InvalidDicomError, OSError):
        return False


def read_header(path: Path, keywords: tuple[str, ...]) -> tuple[Dataset, int]:
    """Parse a file up to its pixel data.

    Args:
        path: A DICOM file.
        keywords: The attributes to keep.

    Returns:
        Those attributes, and the offset of the pixel data.
    """
    with path.open("rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(keywords))
        return header, file.tell()


def _size(header: Dataset, width: str, height: str) -> Size:
    """Two attributes as a size.

    Raises:
        DamagedSlideError: If one is missing or not positive.
    """
    values = [header.get(keyword) for keyword in (width, height)]
    if not all(isinstance(value, int) and value > 0 for value in values):
        msg = "the DICOM header does not state the size of the slide or of its frames"
        raise DamagedSlideError(msg)
    return Size(int(values[0]), int(values[1]))

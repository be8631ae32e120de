"""Small good slides of every container that can be written without a scanner: what the mutants are made of.

Each writer puts one slide into an empty folder and returns what to open. Pixels are drawn, see `slides.synthetic`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, generate_uid

from slides.testing import draw, write_slide
from tools.mirax_slide import write_mirax

WIDTH, HEIGHT, TILE = 640, 480, 128
MPP: Final = 0.5
PER_CM: Final = (20000, 20000)
WSI_CLASS: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
Writer = Callable[[Path], Path]


def picture(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """What is on every slide.

    Returns:
        RGB [height, width, 3].
    """
    return draw(width, height, MPP, seed=7)


def _tiff(path: Path, **how: Any) -> Path:  # noqa: ANN401 - tifffile's own arguments
    """A pyramid of two levels."""
    big, order = how.pop("bigtiff", False), how.pop("byteorder", None)
    image = picture()
    common = {"tile": (TILE, TILE), "metadata": None, "software": None, "resolutionunit": "CENTIMETER", **how}
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as tiff:
        tiff.write(image, resolution=PER_CM, **common)
        half = cv2.resize(image, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
        tiff.write(half, resolution=(10000, 10000), subfiletype=1, **common)
    return path


def svs_rgb(folder: Path) -> Path:
    """Aperio, JPEG in RGB."""
    return write_slide(folder / "slide.svs", size=(WIDTH, HEIGHT), mpp=MPP, seed=7)


def svs_ycc(folder: Path) -> Path:
    """JPEG in YCbCr with halved colours."""
    how: dict[str, Any] = {"compression": "jpeg", "compressionargs": {"level": 85}, "subsampling": (2, 2)}
    return _tiff(folder / "slide.tiff", photometric="rgb", **how)


def svs_jpeg2000(folder: Path) -> Path:
    """Aperio, JPEG 2000."""
    text = f"Aperio Image Library v12.0.15 \r\n{WIDTH}x{HEIGHT} [0,0 {WIDTH}x{HEIGHT}] (128x128) J2K|MPP = {MPP}"
    how = {"photometric": "rgb", "compression": 33005, "compressionargs": {"codecformat": "J2K"}, "description": text}
    return _tiff(folder / "slide.svs", **how)


def big_jpeg(folder: Path) -> Path:
    """BigTIFF, JPEG in RGB."""
    args = {"level": 85, "outcolorspace": "rgb"}
    return _tiff(folder / "slide.tiff", photometric="rgb", compression="jpeg", compressionargs=args, bigtiff=True)


def deflate(folder: Path) -> Path:
    """Deflate with a predictor."""
    return _tiff(folder / "slide.tiff", photometric="rgb", compression="zlib", predictor=True)


def lzw_motorola(folder: Path) -> Path:
    """LZW, the high byte first."""
    return _tiff(folder / "slide.tiff", photometric="rgb", compression="lzw", byteorder=">")


def plain(folder: Path) -> Path:
    """Not compressed."""
    return _tiff(folder / "slide.tiff", photometric="rgb")


def zstd(folder: Path) -> Path:
    """Zstandard."""
    return _tiff(folder / "slide.tiff", photometric="rgb", compression="zstd")


def ome(folder: Path) -> Path:
    """OME-TIFF, its coarser level in a SubIFD."""
    image, path = picture(), folder / "slide.ome.tiff"
    scale = {"axes": "YXS", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP}
    how: dict[str, Any] = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "zlib"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(image, subifds=1, metadata=scale, **how)
        tiff.write(cv2.resize(image, (WIDTH // 2, HEIGHT // 2)), subfiletype=1, **how)
    return path


def leica(folder: Path) -> Path:
    """Leica SCN: BigTIFF whose XML names the images."""
    clicks, path = 500, folder / "slide.scn"
    sizes = [(WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)]
    dimensions = "".join(f'<dimension sizeX="{w}" sizeY="{h}" ifd="{i}" r="{i}"/>' for i, (w, h) in enumerate(sizes))
    light = "<illuminationSettings><illuminationSource>brightfield</illuminationSource></illuminationSettings>"
    lens = "<objectiveSettings><objective>20</objective></objectiveSettings>"
    image = (
        f'<image><view sizeX="{WIDTH * clicks}" sizeY="{HEIGHT * clicks}" offsetX="1000" offsetY="1000"/>'
        f"<pixels>{dimensions}</pixels><scanSettings>{light}{lens}</scanSettings></image>"
    )
    size = f'sizeX="{WIDTH * clicks + 5000}" sizeY="{HEIGHT * clicks + 5000}"'
    xml = f'<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection {size}>{image}</collection></scn>'
    return _tiff(path, photometric="rgb", compression="jpeg", bigtiff=True, description=xml)


def ventana(folder: Path) -> Path:
    """Ventana BIF: tiles placed by XML."""
    return ventana_claiming(folder, HEIGHT // TILE, WIDTH // TILE)


def ventana_claiming(folder: Path, stated_rows: int, stated_cols: int) -> Path:
    """Ventana BIF whose XML states how many tiles it has.

    Args:
        folder: Where to write.
        stated_rows: Rows of tiles, by the XML.
        stated_cols: Columns of tiles, by the XML.

    Returns:
        What to open.
    """
    cols, rows = WIDTH // TILE, HEIGHT // TILE
    joints = "".join(
        f'<TileJointInfo FlagJoined="1" Confidence="100" Direction="RIGHT" Tile1="{_snake(r, c, cols)}" '
        f'Tile2="{_snake(r, c + 1, cols)}" OverlapX="0" OverlapY="0"/>'
        for r in range(rows)
        for c in range(cols - 1)
    ) + "".join(
        f'<TileJointInfo FlagJoined="1" Confidence="100" Direction="UP" Tile1="{_snake(r, c, cols)}" '
        f'Tile2="{_snake(r + 1, c, cols)}" OverlapX="0" OverlapY="0"/>'
        for r in range(rows - 1)
        for c in range(cols)
    )
    area = f'<ImageInfo AOIScanned="1" Width="{TILE}" Height="{TILE}" NumRows="{stated_rows}" '
    area += f'NumCols="{stated_cols}" AOIIndex="0" Pos-X="0" Pos-Y="0"'
    info = f"<SlideStitchInfo>{area}>{joints}</ImageInfo></SlideStitchInfo>"
    encode = f'<EncodeInfo Ver="2">{info}<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    scan = '<iScan Z-layers="1" Magnification="20" ScanRes="0.5"/>'
    image = np.ascontiguousarray(picture()[: rows * TILE, : cols * TILE])
    how: dict[str, Any] = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(folder / "slide.bif", bigtiff=True) as tiff:
        label = cv2.resize(image, (64, 64))
        xmp = [(700, 7, len(scan), scan.encode(), True)]
        tiff.write(label, photometric="rgb", description="Label Image", metadata=None, extratags=xmp)
        xmp = [(700, 7, len(encode), encode.encode(), True)]
        tiff.write(image, description="level=0 mag=20 quality=90", extratags=xmp, **how)
        half = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2))
        tiff.write(half, description="level=1 mag=10 quality=90", **how)
    return folder / "slide.bif"


def _snake(row: int, col: int, cols: int) -> int:
    """Ventana's number of a tile: rows are scanned to and fro."""
    return row * cols + (cols - 1 - col if row % 2 else col) + 1


def dicom(folder: Path) -> Path:
    """One DICOM instance of JPEG frames."""
    image = picture()
    frames = [
        cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(tile), cv2.COLOR_RGB2BGR))[1].tobytes()
        for row in np.split(image[: HEIGHT // TILE * TILE], HEIGHT // TILE)
        for tile in np.split(row, WIDTH // TILE, axis=1)
    ]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(WSI_CLASS), generate_uid(entropy_srcs=["a"])
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    data = FileDataset(str(folder / "slide.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = WSI_CLASS, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SeriesInstanceUID = "SM", generate_uid(entropy_srcs=["b"])
    data.StudyInstanceUID, data.FrameOfReferenceUID = (generate_uid(entropy_srcs=[word]) for word in "cd")
    data.ImageType, data.DimensionOrganizationType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "TILED_FULL"
    data.Rows = data.Columns = TILE
    data.NumberOfFrames, data.SamplesPerPixel, data.PlanarConfiguration = len(frames), 3, 0
    data.PhotometricInterpretation = "YBR_FULL_422"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = WIDTH // TILE * TILE, HEIGHT // TILE * TILE
    data.NumberOfOpticalPaths = data.TotalPixelMatrixFocalPlanes = 1
    data.LossyImageCompression = "01"
    measures, shared, path, origin = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [MPP / 1000, MPP / 1000], 0.001
    shared.PixelMeasuresSequence = [measures]
    path.OpticalPathIdentifier = "1"
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    data.SharedFunctionalGroupsSequence, data.OpticalPathSequence = [shared], [path]
    data.TotalPixelMatrixOriginSequence, data.ImageOrientationSlide = [origin], [0, -1, 0, -1, 0, 0]
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    data.save_as(folder / "slide.dcm", enforce_file_format=True)
    return folder


def vms(folder: Path) -> Path:
    """Hamamatsu VMS: a text index and JPEG files with restart markers."""
    image = cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR)
    for name, size in (("image.jpg", (WIDTH, HEIGHT)), ("map.jpg", (WIDTH // 8, HEIGHT // 8)), ("macro.jpg", (64, 64))):
        every = size[0] // 32  # units between restart markers: a quarter of a row
        full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        cv2.imwrite(str(folder / name), cv2.resize(image, size), [*full, cv2.IMWRITE_JPEG_RST_INTERVAL, every])
    names = "ImageFile=image.jpg\nMapFile=map.jpg\nMacroImage=macro.jpg\n"
    counts = f"NoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\nPhysicalWidth={WIDTH * 500}\nPhysicalHeight={HEIGHT * 500}\n"
    (folder / "slide.vms").write_text(f"[Virtual Microscope Specimen]\n{counts}{names}SourceLens=20\n")
    return folder / "slide.vms"


def mirax(folder: Path) -> Path:
    """3DHISTECH MIRAX: a text index, a binary index, and JPEG tiles in a data file."""
    return write_mirax(folder, picture(), tile=TILE, mpp=MPP)


def ome_zarr(folder: Path) -> Path:
    """OME-Zarr 0.4: a folder of chunks."""
    image, path = picture(), folder / "slide.ome.zarr"
    axes: list[Any] = [{"name": name, "type": "space", "unit": "micrometer"} for name in ("y", "x")]
    levels: list[Any] = []
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for level in range(2):
        pixels = cv2.resize(image, (WIDTH >> level, HEIGHT >> level)).transpose(2, 0, 1)
        array = group.create_array(str(level), shape=pixels.shape, chunks=(3, TILE, TILE), dtype="uint8")
        array[:] = pixels
        scale = [1.0, MPP * 2**level, MPP * 2**level]
        levels.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": [{"name": "c", "type": "channel"}, *axes], "datasets": levels}
    ]
    return path


WRITERS: Final = (svs_rgb, svs_ycc, svs_jpeg2000, big_jpeg, deflate, lzw_motorola, plain, zstd)
CONTAINERS: Final[dict[str, Writer]] = {
    writer.__name__: writer for writer in (*WRITERS, ome, ome_zarr, leica, ventana, dicom, vms, mirax)
}
"""Name -> what writes it."""

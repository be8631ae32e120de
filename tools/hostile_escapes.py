"""Slides that reach for files of others: a neighbour's pixels by name or link, or a pipe on which a reader waits.

Each writer puts a slide of tenant A into `root/a` and returns what to open; `root/b` has tenant B's pixels, all of one
colour that drawn slides do not have.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
import tifffile
from numpy.typing import NDArray

from tools import hostile_containers
from tools.hostile_containers import dicom, mirax, ome, ome_zarr, svs_rgb, vms

CANARY: Final = (10, 200, 30)
"""A green that no stain has."""
SHARE: Final = 0.01
Escape = Callable[[Path], Path]


def is_foreign(pixels: NDArray[np.uint8]) -> bool:
    """Whether pixels of tenant B are among these.

    Args:
        pixels: RGB [H, W, 3].

    Returns:
        True if one in a hundred is of B's colour, compression allowed for.
    """
    near = np.abs(pixels.astype(int) - np.array(CANARY)).max(axis=-1) < 24
    return bool(near.mean() > SHARE)


def _tenants(root: Path, writer: hostile_containers.Writer) -> tuple[Path, Path]:
    """A slide of A and the same kind of slide of B, in B's colour.

    Returns:
        What to open of A, and B's folder.
    """
    (root / "a").mkdir()
    (root / "b").mkdir()
    drawn = hostile_containers.picture

    def green(width: int = hostile_containers.WIDTH, height: int = hostile_containers.HEIGHT) -> NDArray[np.uint8]:
        return np.full((height, width, 3), CANARY, np.uint8)

    hostile_containers.picture = green
    try:
        writer(root / "b")
    finally:
        hostile_containers.picture = drawn
    return writer(root / "a"), root / "b"


def _edit(path: Path, pattern: str, put: str) -> None:
    """Change a text index.

    Raises:
        ValueError: If the pattern is not there.
    """
    text, count = re.subn(pattern, lambda _: put, path.read_text())
    if not count:
        msg = "nothing to change"
        raise ValueError(msg)
    path.write_text(text)


def _link(path: Path, target: Path) -> None:
    """Put a link where a file was."""
    path.unlink()
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    """Put a named pipe where a file was, or nothing was."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def mirax_name(root: Path, key: str, there: str) -> Path:
    """MIRAX whose text index names B's file."""
    path, other = _tenants(root, mirax)
    _edit(root / "a" / "slide" / "Slidedat.ini", rf"{key} = .*", f"{key} = {there.format(root=root)}")
    shutil.copy(other / "slide" / "Index.dat", root / "a" / "slide")  # whoever asks for B's tiles knows where they are
    return path


def mirax_link(root: Path, *files: str) -> Path:
    """MIRAX whose data file, and others, are links."""
    path, other = _tenants(root, mirax)
    for file in ("Data0000.dat", *files):
        _link(root / "a" / "slide" / file, other / "slide" / file)
    if not files:
        shutil.copy(other / "slide" / "Index.dat", root / "a" / "slide")
    return path


def mirax_links_in_a_row(root: Path) -> Path:
    """MIRAX whose data file is a link to a link beside it that leads out."""
    path = mirax_link(root)
    data = root / "a" / "slide" / "Data0000.dat"
    data.rename(data.with_name("second.dat"))
    data.symlink_to("second.dat")
    return path


def mirax_folder_link(root: Path) -> Path:
    """MIRAX whose whole folder is a link."""
    path, other = _tenants(root, mirax)
    shutil.rmtree(root / "a" / "slide")
    (root / "a" / "slide").symlink_to(other / "slide")
    return path


def mirax_pipe(root: Path, file: str) -> Path:
    """MIRAX with a pipe among its files."""
    path, _ = _tenants(root, mirax)
    _pipe(root / "a" / "slide" / file)
    return path


def vms_name(root: Path, key: str, there: str) -> Path:
    """VMS whose index names B's file."""
    path, _ = _tenants(root, vms)
    _edit(path, rf"{key}=.*", f"{key}={there.format(root=root)}")
    return path


def vms_link(root: Path, *files: str) -> Path:
    """VMS of whose images some are links."""
    path, other = _tenants(root, vms)
    for file in files:
        _link(root / "a" / file, other / file)
    return path


def vms_pipe(root: Path, file: str) -> Path:
    """VMS with a pipe among its files."""
    path, _ = _tenants(root, vms)
    _pipe(root / "a" / file)
    return path


def dicom_link(root: Path) -> Path:
    """A DICOM folder with B's instance as a level of the same series: finer, so that it would be level 0."""
    path, other = _tenants(root, dicom)
    foreign = pydicom.dcmread(other / "slide.dcm")
    foreign.SOPInstanceUID = foreign.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    foreign.TotalPixelMatrixColumns, foreign.TotalPixelMatrixRows = 2 * 640, 2 * 384
    foreign.NumberOfFrames, frames = 60, list(pydicom.encaps.generate_frames(foreign.PixelData, number_of_frames=15))
    foreign.PixelData = pydicom.encaps.encapsulate(frames * 4)
    foreign.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.00025, 0.00025]
    foreign.save_as(other / "finer.dcm", enforce_file_format=True)
    (root / "a" / "z.dcm").symlink_to(other / "finer.dcm")
    return path


def dicom_pipe(root: Path) -> Path:
    """A DICOM folder with a pipe in it."""
    path, _ = _tenants(root, dicom)
    os.mkfifo(root / "a" / "a.dcm")
    return path


def dicom_file(writer: Escape, root: Path) -> Path:
    """Not the folder is opened but a file in it."""
    return writer(root) / "slide.dcm"


def ome_name(root: Path, there: str) -> Path:
    """OME-TIFF whose XML says that its pixels are in B's file."""
    path, _ = _tenants(root, ome)
    with tifffile.TiffFile(path) as tiff:
        text = tiff.pages[0].tags["ImageDescription"].value  # type: ignore[union-attr]
    uuid = f'<UUID FileName="{there.format(root=root)}">urn:uuid:0</UUID>'
    text = re.sub(r"<TiffData[^>]*/>|<TiffData.*?</TiffData>", f"<TiffData>{uuid}</TiffData>", text, flags=re.DOTALL)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageDescription"].overwrite(text)  # type: ignore[union-attr]
    return path


def ome_link(root: Path) -> Path:
    """OME-TIFF whose second file is a link to B's."""
    path = ome_name(root, "other.ome.tiff")
    (root / "a" / "other.ome.tiff").symlink_to(root / "b" / "slide.ome.tiff")
    return path


def ome_pipe(root: Path) -> Path:
    """OME-TIFF whose second file is a pipe."""
    path = ome_name(root, "other.ome.tiff")
    _pipe(root / "a" / "other.ome.tiff")
    return path


def zarr_link(root: Path) -> Path:
    """OME-Zarr of which a chunk is a link to B's."""
    path, other = _tenants(root, ome_zarr)
    for chunk in ("0.1.1", "0.1.2", "0.2.1", "0.2.2"):
        _link(path / "0" / chunk, other / path.name / "0" / chunk)
    return path


def zarr_folder_link(root: Path) -> Path:
    """OME-Zarr of which a level is a link to B's."""
    path, other = _tenants(root, ome_zarr)
    shutil.rmtree(path / "0")
    (path / "0").symlink_to(other / path.name / "0")
    return path


def zarr_pipe(root: Path) -> Path:
    """OME-Zarr with a pipe for a chunk."""
    path, _ = _tenants(root, ome_zarr)
    _pipe(path / "0" / "0.1.1")
    return path


def pipe(root: Path) -> Path:
    """The slide itself is a pipe."""
    (root / "a").mkdir()
    os.mkfifo(root / "a" / "slide.svs")
    return root / "a" / "slide.svs"


def trestle_pipe(root: Path) -> Path:
    """A pipe where Trestle's reader looks for a macro image."""
    (root / "a").mkdir()
    path = svs_rgb(root / "a")
    os.mkfifo(path.with_suffix(".Full"))
    return path


ESCAPES: Final[dict[str, Escape]] = {
    "mirax data above": partial(mirax_name, key="FILE_0", there="../../b/slide/Data0000.dat"),
    "mirax data absolute": partial(mirax_name, key="FILE_0", there="{root}/b/slide/Data0000.dat"),
    "mirax index above": partial(mirax_name, key="INDEXFILE", there="../../b/slide/Index.dat"),
    "mirax data link": mirax_link,
    "mirax all links": lambda root: mirax_link(root, "Index.dat", "Slidedat.ini"),
    "mirax links in a row": mirax_links_in_a_row,
    "mirax folder link": mirax_folder_link,
    "mirax data pipe": partial(mirax_pipe, file="Data0000.dat"),
    "mirax index pipe": partial(mirax_pipe, file="Index.dat"),
    "mirax text pipe": partial(mirax_pipe, file="Slidedat.ini"),
    "vms image above": partial(vms_name, key="ImageFile", there="../b/image.jpg"),
    "vms image absolute": partial(vms_name, key="ImageFile", there="{root}/b/image.jpg"),
    "vms map above": partial(vms_name, key="MapFile", there="../b/map.jpg"),
    "vms image link": lambda root: vms_link(root, "image.jpg"),
    "vms map link": lambda root: vms_link(root, "map.jpg"),
    "vms macro link": lambda root: vms_link(root, "macro.jpg"),
    "vms image pipe": partial(vms_pipe, file="image.jpg"),
    "vms macro pipe": partial(vms_pipe, file="macro.jpg"),
    "dicom link": dicom_link,
    "dicom pipe": dicom_pipe,
    "dicom file link": partial(dicom_file, dicom_link),
    "dicom file pipe": partial(dicom_file, dicom_pipe),
    "ome name above": partial(ome_name, there="../b/slide.ome.tiff"),
    "ome name escaped": partial(ome_name, there="&#46;&#46;/b/slide.ome.tiff"),
    "ome name absolute": partial(ome_name, there="{root}/b/slide.ome.tiff"),
    "ome link": ome_link,
    "ome pipe": ome_pipe,
    "zarr chunk link": zarr_link,
    "zarr level link": zarr_folder_link,
    "zarr chunk pipe": zarr_pipe,
    "slide pipe": pipe,
    "trestle pipe": trestle_pipe,
}
"""Name -> what writes the slide."""

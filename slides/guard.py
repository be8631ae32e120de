"""The gate before every reader: a slide's own claims, checked in pure Python with bounded reads.

Native decoders crash, hang or take gigabytes on headers that claim absurd sizes, and follow names to files of others.
What fails here was seen by no decoder. It is one of two layers: `slides.jail` holds where this one errs.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from slides.errors import SlideError, SlideNotFoundError
from slides.guard_companions import (
    MOST_VMS_BYTES,
    check_mirax,
    check_ome,
    check_vms,
    is_vms,
    require_inside,
)
from slides.guard_dicom import check_dicom
from slides.guard_limits import require_safe
from slides.guard_tiff import DESCRIPTION, MOST_TEXT, check_tiff
from slides.guard_zarr import NAMES, check_array, check_zarr
from slides.tiff_header import TiffHeader

if TYPE_CHECKING:
    from slides.info import Address

MOST_IN_FOLDER: Final = 2_000_000
"""Files below a slide that is a folder; a Zarr slide of 2^36 px in chunks of 256 x 256 has a million."""
MOST_DICOM_FILES: Final = 10_000


def check(path: Path) -> None:
    """Refuse a slide that claims what no slide has, or that reaches for files outside of its folder.

    Args:
        path: A file or folder.

    Raises:
        SlideNotFoundError: If nothing readable stands there.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            _check_folder(path, found)
        elif stat.S_ISREG(found.st_mode):
            _check_file(path)
        else:
            require_safe("the slide is a pipe, a socket or a device, not a file", holds=False)
    except OSError as error:
        msg = "there is no file or folder that can be read at the slide's address"
        raise SlideNotFoundError(msg) from error


def check_remote(address: Address) -> None:
    """Refuse a remote slide that claims what no slide has; its metadata alone are fetched.

    Names of other files are not followed there, so they are not looked at.

    Args:
        address: Where a TIFF or Zarr slide is; nothing else is read remotely.
    """
    from slides.storage import is_zarr, open_bytes  # a local slide needs none of it

    if is_zarr(address):
        _check_remote_zarr(address)
        return
    data = open_bytes(address)
    try:
        with data.open() as file:
            header = TiffHeader.read(file)
            if header is not None:
                check_tiff(header)
    finally:
        data.close()


def _check_remote_zarr(address: Address) -> None:
    """Check the arrays that the image names."""
    from slides.ome_zarr import multiscale
    from slides.zarr_store import open_store

    fetch = open_store(address).fetch
    image = multiscale(fetch)
    for path in () if image is None else image.paths:
        for name in NAMES:
            check_array(fetch(f"{path}/{name}") or b"")


def visible(path: Path) -> tuple[Path, ...]:
    """What a reader of a slide needs to see, and no more.

    Args:
        path: A file or folder.

    Returns:
        The file alone, where its format keeps everything in one; else the folder that its companions are in.
    """
    if not path.is_file():  # a pipe would never let go of whoever opens it
        return (path,)
    if path.suffix.lower() == ".mrxs":
        folder = path.with_suffix("")
        return (path,) if folder.is_symlink() else (path, folder)
    with path.open("rb") as file:
        start = file.read(MOST_VMS_BYTES)
        several = is_vms(start) or start[128:132] == b"DICM" or _names_others(file)
    return (path.parent,) if several else (path,)


def _names_others(file: BinaryIO) -> bool:
    """Whether a TIFF may be one of several files."""
    try:
        header = TiffHeader.read(file)
        return header is not None and bool(_ome(header))
    except SlideError:
        return False


def _check_file(path: Path) -> None:
    """Check one file by its kind, and what it names."""
    if path.suffix.lower() == ".mrxs":
        check_mirax(path)
        return
    with path.open("rb") as file:
        header = TiffHeader.read(file)
        if header is not None:
            check_tiff(header)
            require_inside(path.parent, path.with_suffix(".Full"))  # what Trestle's reader opens besides
            check_ome(path.parent, _ome(header))
            return
        file.seek(0)
        if is_vms(file.read(MOST_VMS_BYTES)):
            check_vms(path)
        elif check_dicom(file):
            _check_dicom_folder(path.parent)


def _ome(header: TiffHeader) -> str:
    """The OME-XML of a TIFF, empty where it has none."""
    entry = header.directories[0].get(DESCRIPTION)
    text = "" if entry is None else header.text(entry, MOST_TEXT)
    return text if "<OME" in text or ":OME" in text else ""


def _check_folder(path: Path, found: os.stat_result) -> None:
    """Check a slide that is a folder."""
    _check_tree(str(path), found.st_mtime_ns, found.st_ino)
    _check_dicom_folder(path)


def _check_dicom_folder(folder: Path) -> None:
    """Readers of DICOM open every file of the folder: none may lead out of it or make absurd claims."""
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            require_inside(folder, Path(entry.path))
            if number > MOST_DICOM_FILES:
                break
            if entry.is_file():
                with Path(entry.path).open("rb") as file:
                    check_dicom(file)


@lru_cache(maxsize=64)
def _check_tree(folder: str, _changed: int, _inode: int) -> None:
    """Everything below a folder stays in it and claims little; not walked again while the folder is unchanged."""
    root, count = Path(folder), 0
    for place, folders, files in os.walk(root):
        count += len(files) + len(folders)
        require_safe("the slide's folder holds more files than a slide can have", holds=count <= MOST_IN_FOLDER)
        with os.scandir(place) as entries:
            odd = [entry.path for entry in entries if entry.is_symlink() or not (entry.is_file() or entry.is_dir())]
        for path in odd:
            require_inside(root, Path(path))
        for name in NAMES.intersection(files):
            check_zarr(Path(place) / name)

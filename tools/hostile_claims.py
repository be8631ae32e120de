"""Small files that claim to be huge: each must be refused at once, in words, without anyone allocating what it claims.

Hand-made; most are under 1 kB. Each writer puts one slide into an empty folder and returns what to open.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tools.hostile_containers import dicom, mirax, ome_zarr, svs_jpeg2000, svs_rgb, ventana_claiming, vms

BIG: Final = 2**31 - 1
Claim = Callable[[Path], Path]
Row = tuple[int, int, int, int]
"""Tag, type, count, value."""
SHORT, LONG, LONG8 = 3, 4, 16


def tiff(path: Path, *directories: list[Row], tail: bytes = b"") -> Path:
    """Write a little-endian TIFF of bare directories.

    Args:
        path: The file.
        directories: Their rows; values that need room are offsets.
        tail: What follows them.

    Returns:
        `path`.
    """
    data = bytearray(b"II*\0" + struct.pack("<I", 8))
    for number, rows in enumerate(directories):
        after = len(data) + 2 + 12 * len(rows) + 4
        following = after if number + 1 < len(directories) else 0
        data += struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in sorted(rows))
        data += struct.pack("<I", following)
    path.write_bytes(bytes(data) + tail)
    return path


def image(**changes: int) -> list[Row]:
    """Rows of a tiled deflate image with one tile of 256 x 256.

    Args:
        changes: Tags by name with other values; `None`-like -1 leaves one out.

    Returns:
        The rows.
    """
    tags = {"width": 256, "length": 257, "bits": 258, "compression": 259, "photometric": 262, "samples": 277}
    tags |= {"planar": 284, "tile_width": 322, "tile_length": 323, "offsets": 324, "counts": 325}
    tags |= {"strips": 273, "rows": 278, "strip_counts": 279}
    values = {"width": 256, "length": 256, "bits": 8, "compression": 8, "photometric": 2, "samples": 3, "planar": 1}
    values |= {"tile_width": 256, "tile_length": 256, "offsets": 8, "counts": 16} | changes
    return [(tags[name], LONG, 1, value) for name, value in values.items() if value >= 0]


def _tiff_of(folder: Path, changes: dict[str, int]) -> Path:
    return tiff(folder / "slide.tiff", image(**changes), tail=bytes(200))


def _tiff_rows(folder: Path, rows: list[Row], drop: set[int]) -> Path:
    kept = [row for row in image() if row[0] not in drop]
    return tiff(folder / "slide.tiff", kept + rows, tail=bytes(200))


def _stripped(folder: Path, width: int, length: int) -> Path:
    """An image without tiles, as labels are."""
    gone = dict.fromkeys(("tile_width", "tile_length", "offsets", "counts"), -1)
    rows = image(**gone, width=width, length=length, strips=8, rows=length, strip_counts=64)
    return tiff(folder / "slide.svs", image(), rows, tail=bytes(400))


def _many_directories(folder: Path) -> Path:
    """As many images as fit into 7 MB."""
    return tiff(folder / "slide.tiff", *[[(256, LONG, 1, 1), (257, LONG, 1, 1)]] * 65_000)


def _loop(folder: Path) -> Path:
    path = tiff(folder / "slide.tiff", image(), tail=bytes(200))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 8 + 2 + 12 * len(image()), 8)
    path.write_bytes(data)
    return path


def _fan_out(folder: Path) -> Path:
    """Every directory names a thousand below it."""
    rows = [*image(), (330, LONG, 1000, 300)]
    offsets = b"".join(struct.pack("<I", 8) for _ in range(1000))
    return tiff(folder / "slide.tiff", rows, tail=bytes(300 - 8 - 2 - 12 * len(rows) - 4) + offsets)


def _big_tiff(folder: Path) -> Path:
    """A table of 2^63 tiles."""
    rows = [(tag, kind, 2**63 if tag in {324, 325} else count, value) for tag, kind, count, value in image()]
    data = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + struct.pack("<Q", len(rows))
    data += b"".join(struct.pack("<HHQQ", tag, LONG8, count, value) for tag, _, count, value in rows)
    (folder / "slide.tiff").write_bytes(data + bytes(200))
    return folder / "slide.tiff"


def _packed(packer: zlib._Compress) -> bytes:
    """256 MB of zeros."""
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()


def _deflate_bomb(folder: Path) -> Path:
    """A tile of 250 kB that unpacks to 256 MB."""
    packed = _packed(zlib.compressobj(9))
    rows = image(offsets=0, counts=len(packed))
    rows = [(tag, kind, count, 8 + 2 + 12 * len(rows) + 4 if tag == 324 else value) for tag, kind, count, value in rows]
    return tiff(folder / "slide.tiff", rows, tail=packed)


def _changed(writer: Claim, file: str, pattern: bytes, put: bytes, folder: Path) -> Path:
    """A good slide in which one thing is claimed otherwise.

    Raises:
        ValueError: If it is not there.
    """
    path = writer(folder)
    target = next(folder.rglob(file))
    found, count = re.subn(pattern, lambda _: put, target.read_bytes(), flags=re.DOTALL)
    if not count:
        msg = f"nothing to change in {file}"
        raise ValueError(msg)
    target.write_bytes(found)
    return path


def _jpeg_size(folder: Path) -> Path:
    """Every JPEG tile says that it has 65,500 x 65,500 px."""
    return _changed(svs_rgb, "*.svs", rb"(?<=\xff\xc0\x00\x11\x08)....", struct.pack(">HH", 65500, 65500), folder)


def _jpeg2000_size(folder: Path) -> Path:
    """Every JPEG 2000 tile says that it has 2^31 px a side."""
    pattern = rb"(?<=\xff\x51..\x00\x00).{8}"
    return _changed(svs_jpeg2000, "*.svs", pattern, struct.pack(">II", BIG, BIG), folder)


def _dicom_value(tag: bytes, form: str, value: int, folder: Path) -> Path:
    """A DICOM slide with another number."""
    size = struct.calcsize(form)
    return _changed(dicom, "*.dcm", b"(?<=" + re.escape(tag) + b").{%d}" % size, struct.pack(form, value), folder)


def _dicom_frames(folder: Path) -> Path:
    pattern = rb"\x28\x00\x08\x00IS..(?:\d| )+"
    put = b"\x28\x00\x08\x00IS\x0a\x00" + str(BIG).encode()
    return _changed(dicom, "*.dcm", pattern, put, folder)


def _dicom_syntax(folder: Path) -> Path:
    """A header of 250 kB that unpacks to 256 MB."""
    deflated = b"1.2.840.10008.1.2.1.99"
    path = _changed(dicom, "*.dcm", rb"1\.2\.840\.10008\.1\.2\.4\.50", deflated, folder)
    data = next(folder.rglob("*.dcm")).read_bytes()
    packed = _packed(zlib.compressobj(9, wbits=-15))
    next(folder.rglob("*.dcm")).write_bytes(data[: data.index(deflated) + len(deflated)] + packed)
    return path


def _dicom_nest(folder: Path) -> Path:
    """Sequences in sequences, 20,000 deep."""
    path = dicom(folder)
    file = next(folder.rglob("*.dcm"))
    data = file.read_bytes()
    at = data.index(b"\x08\x00\x08\x00CS")
    nest = b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    file.write_bytes(data[:at] + nest * 20_000 + data[at:])
    return path


def _mirax_key(key: str, value: int, folder: Path) -> Path:
    return _changed(
        mirax, "Slidedat.ini", rb"(?<=\n)%s = \d+" % key.encode(), b"%s = %d" % (key.encode(), value), folder
    )


def _mirax_square(folder: Path) -> Path:
    """60,000 images each way: the product counts."""
    _changed(mirax, "Slidedat.ini", rb"IMAGENUMBER_X = \d+", b"IMAGENUMBER_X = 60000", folder)
    target = next(folder.rglob("Slidedat.ini"))
    target.write_text(re.sub(r"IMAGENUMBER_Y = \d+", "IMAGENUMBER_Y = 60000", target.read_text()))
    return folder / "slide.mrxs"


def _mirax_long(folder: Path) -> Path:
    """A text index of 100 MB."""
    path = mirax(folder)
    with next(folder.rglob("Slidedat.ini")).open("ab") as file:
        file.truncate(100 << 20)
    return path


def _vms_key(key: str, folder: Path) -> Path:
    return _changed(vms, "slide.vms", rb"%s=\d+" % key.encode(), b"%s=%d" % (key.encode(), 10**6), folder)


def _ventana(rows: int, cols: int, folder: Path) -> Path:
    return ventana_claiming(folder, rows, cols)


def _zarr(pattern: bytes, put: bytes, folder: Path) -> Path:
    """OME-Zarr whose finest level claims another shape."""
    return _changed(ome_zarr, "0/.zarray", pattern, put, folder)


CLAIMS: Final[dict[str, Claim]] = {
    "tiff width": partial(_tiff_of, changes={"width": 2**32 - 1}),
    "tiff length": partial(_tiff_of, changes={"length": 2**32 - 1}),
    "tiff area": partial(_tiff_of, changes={"width": 2**20, "length": 2**20}),
    "tiff one tile 32k": partial(
        _tiff_of, changes=dict.fromkeys(("width", "length", "tile_width", "tile_length"), 32768)
    ),
    "tiff tile width": partial(_tiff_of, changes={"tile_width": 2**31}),
    "tiff tile 1 px": partial(_tiff_of, changes={"width": 2**19, "length": 2**18, "tile_width": 1, "tile_length": 1}),
    "tiff tile 0 px": partial(_tiff_of, changes={"tile_width": 0}),
    "tiff samples": partial(_tiff_of, changes={"samples": 65535}),
    "tiff bits": partial(_tiff_of, changes={"bits": 65535}),
    "tiff planes": partial(_tiff_of, changes={"samples": 60, "planar": 2, "width": 2**19, "length": 2**18}),
    "tiff count of tiles": partial(_tiff_rows, rows=[(324, LONG, 2**32 - 1, 8)], drop={324}),
    "tiff counts elsewhere": partial(_tiff_rows, rows=[(325, LONG, 2**22, 8)], drop={325}),
    "tiff tile bytes": partial(_tiff_of, changes={"counts": 2**32 - 1}),
    "tiff tile place": partial(_tiff_of, changes={"offsets": 2**32 - 1}),
    "tiff grid": partial(_tiff_of, changes={"width": 2**18, "length": 2**18}),
    "tiff description": partial(_tiff_rows, rows=[(270, 2, 2**32 - 1, 8)], drop=set()),
    "tiff tables": partial(_tiff_rows, rows=[(347, 7, 2**31, 8)], drop=set()),
    "tiff xml": partial(_tiff_rows, rows=[(700, 7, 2**32 - 1, 8)], drop=set()),
    "tiff profile": partial(_tiff_rows, rows=[(34675, 7, 2**32 - 1, 8)], drop=set()),
    "tiff sub-directories": partial(_tiff_rows, rows=[(330, LONG, 2**30, 8)], drop=set()),
    "tiff label 30k": partial(_stripped, width=30_000, length=30_000),
    "tiff label one row": partial(_stripped, width=2**20, length=1 << 12),
    "tiff 65,000 directories": _many_directories,
    "tiff loop": _loop,
    "tiff fan-out": _fan_out,
    "bigtiff table": _big_tiff,
    "tiff deflate bomb": _deflate_bomb,
    "jpeg size": _jpeg_size,
    "jpeg 2000 size": _jpeg2000_size,
    "dicom matrix": partial(_dicom_value, b"\x48\x00\x06\x00UL\x04\x00", "<I", 2**32 - 1),
    "dicom rows": partial(_dicom_value, b"\x28\x00\x10\x00US\x02\x00", "<H", 65535),
    "dicom samples": partial(_dicom_value, b"\x28\x00\x02\x00US\x02\x00", "<H", 65535),
    "dicom frames": _dicom_frames,
    "dicom packed header": _dicom_syntax,
    "dicom nest": _dicom_nest,
    **{f"mirax {key}": partial(_mirax_key, key, BIG) for key in ("IMAGENUMBER_X", "IMAGENUMBER_Y", "HIER_COUNT")},
    **{f"mirax {key}": partial(_mirax_key, key, BIG) for key in ("NONHIER_COUNT", "HIER_0_COUNT", "FILE_COUNT")},
    **{f"mirax {key}": partial(_mirax_key, key, 30_000) for key in ("DIGITIZER_WIDTH", "IMAGE_CONCAT_FACTOR")},
    "mirax images": _mirax_square,
    "mirax long index": _mirax_long,
    "vms columns": partial(_vms_key, "NoJpegColumns"),
    "vms rows": partial(_vms_key, "NoJpegRows"),
    "zarr shape": partial(_zarr, rb'"shape": \[[^\]]*\]', b'"shape": [3, 1099511627776, 1099511627776]'),
    "zarr chunks": partial(_zarr, rb'"chunks": \[[^\]]*\]', b'"chunks": [3, 1048576, 1048576]'),
    "zarr many chunks": partial(_zarr, rb'"chunks": \[[^\]]*\]', b'"chunks": [1, 1, 1]'),
    "ventana rows": partial(_ventana, BIG, 5),
    "ventana area": partial(_ventana, 60_000, 60_000),
    "ventana less than none": partial(_ventana, -5, -5),
}
"""Name -> what writes the file."""

"""Feature files as others write them, and as nobody should: HDF5 that leads elsewhere, claims too much or says nothing.

Used by the tests of `foundation.interchange`; every file is a TRIDENT file of twelve tiles with one thing wrong.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

CANARY = "DOE_JOHN_19570312"
ROWS = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
PLACES = np.stack([np.arange(12) % 4, np.arange(12) // 4], axis=1).astype(np.int64) * 256
HUGE = 1 << 40
Change = Callable[[h5py.File, Path], None]


def write(path: Path, change: Change | None = None, **replaced: Any) -> Path:  # noqa: ANN401 - arrays and attributes
    """A TRIDENT file of twelve tiles, changed; `replaced` are arrays in the place of `features` and `coords`."""
    with h5py.File(path, "w") as file:
        for name, rows in ({"features": ROWS, "coords": PLACES} | replaced).items():
            if rows is not None:
                file[name] = rows
        if change:
            change(file, path.parent)
        if isinstance(file.get("coords", getlink=True), h5py.HardLink):
            file["coords"].attrs.update(patch_size=256, patch_size_level0=256, name=CANARY)
    return path


def _external_features(file: h5py.File, folder: Path) -> None:
    write(folder / "other.h5")
    del file["features"]
    file["features"] = h5py.ExternalLink("other.h5", "/features")


def _external_elsewhere(file: h5py.File, _folder: Path) -> None:
    file["a/b/unread"] = h5py.ExternalLink("/etc/hostname", "/")


def _soft(file: h5py.File, _folder: Path) -> None:
    file.move("features", "hidden")
    file["features"] = h5py.SoftLink("/hidden")


def _dangling(file: h5py.File, _folder: Path) -> None:
    file["a/loop"] = h5py.SoftLink("/a/loop")


def _raw_outside(file: h5py.File, folder: Path) -> None:
    (folder / "secret.bin").write_bytes(ROWS.tobytes())
    del file["features"]
    file.create_dataset("features", ROWS.shape, "f4", external=[(str(folder / "secret.bin"), 0, ROWS.nbytes)])


def _virtual(file: h5py.File, folder: Path) -> None:
    write(folder / "other.h5")
    layout = h5py.VirtualLayout(ROWS.shape, "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "features", ROWS.shape)
    del file["features"]
    file.create_virtual_dataset("features", layout)


def _virtual_elsewhere(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "x.h5"), "x", (4,))
    file.create_virtual_dataset("deep/down", layout)


LEADING: dict[str, tuple[Change, str]] = {
    "external features": (_external_features, "external or soft link"),
    "external elsewhere": (_external_elsewhere, "external or soft link"),
    "soft": (_soft, "external or soft link"),
    "dangling": (_dangling, "external or soft link"),
    "raw outside": (_raw_outside, "bytes lie in another file"),
    "virtual": (_virtual, "virtual dataset"),
    "virtual elsewhere": (_virtual_elsewhere, "virtual dataset"),
}
"""Name -> what makes the file lead elsewhere, and words of the sentence that refuses it."""


def _replacing(name: str = "features", **how: Any) -> Change:  # noqa: ANN401 - what create_dataset takes
    def change(file: h5py.File, _folder: Path) -> None:
        del file[name]
        file.create_dataset(name, **how)

    return change


def _plug_in(file: h5py.File, _folder: Path) -> None:
    """Blosc, by its number; what the chunk holds is no matter, for it is never unpacked."""
    del file["features"]
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_chunk(ROWS.shape)
    how.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (0, 0, 0, 0))
    kind, space = h5py.h5t.py_create(ROWS.dtype), h5py.h5s.create_simple(ROWS.shape)
    table = h5py.h5d.create(file.id, b"features", kind, space, how)
    table.write_direct_chunk((0, 0), b"x" * 40)


def packed(chunk: bytes, rows: int = 12, *, fletcher32: bool = False) -> Change:
    """The features with a chunk that somebody packed by hand."""

    def change(file: h5py.File, _folder: Path) -> None:
        del file["features"]
        how = {"chunks": (rows, 5), "compression": "gzip", "fletcher32": fletcher32}
        table = file.create_dataset("features", (rows, 5), "f4", **how)
        table.id.write_direct_chunk((0, 0), chunk)

    return change


def _bypassed(file: h5py.File, _folder: Path) -> None:
    packed(b"x")(file, _folder)
    file["features"].id.write_direct_chunk((0, 0), ROWS.tobytes(), filter_mask=1)


def _twice_packed(file: h5py.File, _folder: Path) -> None:
    del file["features"]
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_chunk(ROWS.shape)
    how.set_deflate(9)
    how.set_deflate(9)
    kind, space = h5py.h5t.py_create(ROWS.dtype), h5py.h5s.create_simple(ROWS.shape)
    table = h5py.Dataset(h5py.h5d.create(file.id, b"features", kind, space, how))
    table[...] = ROWS


WRONG: dict[str, tuple[Change, str]] = {
    "texts": (_replacing(data=np.array([["a", "b"]] * 12, object), dtype=h5py.string_dtype()), "plain numbers"),
    "rows of any length": (_replacing(shape=(12, 5), dtype=h5py.vlen_dtype(np.float32)), "plain numbers"),
    "compound": (_replacing(data=np.zeros((12, 5), "f4,f4")), "plain numbers"),
    "whole numbers": (_replacing(data=np.ones((12, 5), np.int32)), "plain numbers"),
    "128 bits": (_replacing(data=ROWS.astype(np.longdouble)), "plain numbers"),
    "one row": (_replacing(data=ROWS[0]), "no table"),
    "three axes": (_replacing(data=ROWS[None]), "no table"),
    "no axes": (_replacing(data=h5py.Empty("f4")), "no table"),
    "no tiles": (_replacing(data=ROWS[:0]), "nothing, or too much"),
    "no features": (_replacing(data=ROWS[:, :0]), "nothing, or too much"),
    "too many tiles": (_replacing(shape=(HUGE, 5), dtype="f4", chunks=(12, 5)), "nothing, or too much"),
    "too many features": (_replacing(shape=(12, HUGE), dtype="f4", chunks=(12, 5)), "nothing, or too much"),
    "2 TB": (_replacing(shape=(9_000_000, 60_000), dtype="f4", chunks=(12, 5)), "claims 2160000000000 bytes and has 0"),
    "no chunks": (_replacing(shape=(10**6, 100), dtype="f4", chunks=(1000, 100)), "claims 400000000 bytes and has 0"),
    "no bytes": (_replacing(shape=(10**6, 100), dtype="f4"), "claims 400000000 bytes and has 0"),
    "a huge chunk": (
        _replacing(shape=(12, 5), dtype="f4", chunks=(10**6, 100), maxshape=(None, None)),
        "chunks of 400000000 bytes",
    ),
    "lzf": (_replacing(data=ROWS, compression="lzf"), "something else than gzip"),
    "scale and offset": (_replacing(data=ROWS, chunks=(12, 5), scaleoffset=2), "something else than gzip"),
    "a plug-in": (_plug_in, "something else than gzip"),
    "gzip twice": (_twice_packed, "something else than gzip"),
    "a bomb": (packed(zlib.compress(bytes(64 << 20), 9)), "larger packed than unpacked"),
    "a small bomb": (packed(zlib.compress(bytes(1 << 20), 9), 64), "unpacks to another size"),
    "too little": (packed(zlib.compress(bytes(8))), "unpacks to another size"),
    "no gzip": (packed(b"no gzip"), "is damaged"),
    "a wrong checksum": (packed(zlib.compress(ROWS.tobytes()) + bytes(4), fletcher32=True), "damaged"),
    "a chunk of its own": (_bypassed, "packed in different ways"),
    "places of fewer tiles": (_replacing("coords", data=PLACES[:-1]), "does not fit"),
    "places on a line": (_replacing("coords", data=PLACES[:, :1]), "does not fit"),
    "half pixels": (_replacing("coords", data=PLACES + 0.5), "not whole level-0 pixels"),
    "no place": (_replacing("coords", data=np.where(PLACES == 256, np.nan, PLACES)), "not whole level-0 pixels"),
    "far": (_replacing("coords", data=np.full((12, 2), 1e300)), "on no slide"),
    "beyond 64 bits": (_replacing("coords", data=np.full((12, 2), 2**63, np.uint64)), "on no slide"),
    "far the other way": (_replacing("coords", data=np.full((12, 2), -(2**62))), "on no slide"),
}
"""Name -> what makes an array another thing than it says, and words of the sentence that refuses it."""

"""Files of bags that lie: every byte of a small file is cut or turned, and claims are made that it cannot keep."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mil import Bag, EmptyBagError
from mil.cohort import rows
from mil.cohort.bags_file import BagsFile
from mil.cohort.write import write_bags
from mil.errors import CohortError, MilError


def small(path: Path, *, pack: bool) -> bytes:
    made = [Bag(f"s{n}", np.full((2, 2), n, np.float32), np.zeros((2, 2), np.int64), encoder="e") for n in range(2)]
    write_bags(path, made, pack=pack)
    return path.read_bytes()


def read_all(path: Path) -> None:
    found = BagsFile(path)
    for row in range(len(found.ids)):
        found.features(row)
        found.coords(row)
    assert len(found.fingerprint) == 64


@pytest.mark.parametrize("pack", [True, False])
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, *, pack: bool) -> None:
    whole = small(tmp_path / "b.npz", pack=pack)
    for size in range(0, len(whole), 13):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(MilError):
            read_all(tmp_path / "cut.npz")


@pytest.mark.parametrize("pack", [True, False])
def test_a_byte_that_is_turned_is_refused_or_changes_no_feature(tmp_path: Path, *, pack: bool) -> None:
    whole = small(tmp_path / "b.npz", pack=pack)
    refused = 0
    for at in range(0, len(whole), 11):
        turned = bytearray(whole)
        turned[at] ^= 0x15
        (tmp_path / "turned.npz").write_bytes(turned)
        try:
            read_all(tmp_path / "turned.npz")
        except MilError:
            refused += 1
        else:  # a time, or something else that nobody reads
            assert BagsFile(tmp_path / "turned.npz").features(1).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert refused > len(whole) / 11 / 2


@pytest.mark.parametrize("pack", [True, False])
def test_a_checksum_that_does_not_fit_is_refused(tmp_path: Path, *, pack: bool) -> None:
    numbers = np.random.default_rng(0).normal(size=(200, 400)).astype(np.float32)  # more than is read for the header
    write_bags(tmp_path / "b.npz", [Bag("s", numbers, np.zeros((200, 2), np.int64))], pack=pack)
    turned = bytearray((tmp_path / "b.npz").read_bytes())
    entry = turned.index(b"PK\x01\x02")
    turned[entry + 16] ^= 1
    (tmp_path / "b.npz").write_bytes(turned)
    with pytest.raises(CohortError, match="damaged"):
        read_all(tmp_path / "b.npz")


def npy(descr: str, shape: str, order: str = "False", version: bytes = b"\x01\x00") -> bytes:
    said = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    said += b" " * (-(len(said) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(said)) + said


def zipped(path: Path, features: bytes, packing: int = zipfile.ZIP_STORED) -> Path:
    """A file of bags with these bytes as features."""
    offsets = io.BytesIO()
    np.save(offsets, np.array([0, 1]))
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("features.npy", features)
        file.writestr("offsets.npy", offsets.getvalue())
    return path


@pytest.mark.parametrize(
    "features",
    [
        npy("'<f4'", "(1000000000000, 1000000000000)"),
        npy("'<f4'", "(2, 2)") + bytes(8),
        npy("'<f4'", "(1, 3)") + bytes(4),
        npy("'<f4'", "(1, 1)") + bytes(8),
        npy("'<f4'", "(2, -2)") + bytes(16),
        npy("'<f4'", "(-2, -2)") + bytes(16),
        npy("'<f4'", "(" * 2000),
        npy("'<f4'", "(1, 1)", version=b"\x03\x00") + bytes(4),
        npy("[('a', '<f4')]", "(1, 1)") + bytes(4),
        npy("'|O'", "(1, 1)") + bytes(8),
        npy("'|V4'", "(1, 1)") + bytes(4),
        npy("__import__('os')", "(1, 1)") + bytes(4),
        b"\x93NUMPY",
        b"",
    ],
)
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_headers_that_claim_what_is_not_there_are_refused(tmp_path: Path, features: bytes, packing: int) -> None:
    with pytest.raises(CohortError):
        BagsFile(zipped(tmp_path / "b.npz", features, packing))


def test_a_packing_that_numpy_does_not_know_is_refused(tmp_path: Path) -> None:
    features = npy("'<f4'", "(1, 1)") + bytes(4)
    with pytest.raises(CohortError, match="packed by something else"):
        BagsFile(zipped(tmp_path / "b.npz", features, zipfile.ZIP_LZMA))


def test_a_claim_beyond_what_deflate_can_pack_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "b.npz", npy("'<f4'", "(1, 1)") + bytes(4), zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = struct.pack("<I", 0xF0000000)
    path.write_bytes(raw)
    with pytest.raises(CohortError, match="more than its bytes can hold"):
        BagsFile(path)


def test_a_place_that_is_not_a_local_header_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "b.npz", npy("'<f4'", "(1, 1)") + bytes(4))
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\x01\x02")
    raw[entry + 42 : entry + 46] = struct.pack("<I", 3)
    path.write_bytes(raw)
    with pytest.raises(CohortError):
        BagsFile(path)


def test_a_file_cut_off_after_it_was_opened_ends_typed_and_not_in_a_dead_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "SMALL", 0)
    made = [Bag("s", np.ones((100, 2), np.float32), np.zeros((100, 2), np.int64))]
    write_bags(tmp_path / "b.npz", made)
    found = BagsFile(tmp_path / "b.npz")
    with (tmp_path / "b.npz").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(CohortError, match="cut off while it was read"):
        found.features(0)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "b.npz", npy("'<f4'", "(1, 1)") + bytes(4))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("features", b"")
    with pytest.raises(CohortError, match="two of one name"):
        BagsFile(path)


@pytest.mark.parametrize("what", [b"", b"no zip", None])
def test_what_is_no_file_of_bags_is_refused(tmp_path: Path, what: bytes | None) -> None:
    if what is not None:
        (tmp_path / "b.npz").write_bytes(what)
    with pytest.raises(CohortError, match=r"no \.npz"):
        BagsFile(tmp_path / "b.npz")


def test_an_array_without_rows_is_an_empty_bag(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", features=np.zeros((0, 3), np.float16), offsets=np.array([0, 0]))
    with pytest.raises(EmptyBagError, match="Slide 0 "):
        BagsFile(tmp_path / "b.npz")

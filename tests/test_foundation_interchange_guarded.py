"""HDF5 files of others: what leads elsewhere, claims too much, or says nothing is refused with one plain sentence."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from api.errors import safe_detail
from foundation import BadFeaturesError, Embeddings, FoundationError
from foundation.interchange import READERS, ImportOptions, guarded, import_features
from slides import Mpp
from tools.hostile_features import CANARY, LEADING, ROWS, WRONG, Change, packed, write

HIT = np.isclose(ROWS, ROWS[3, 2])


def read(path: Path, **told: Any) -> Embeddings:  # noqa: ANN401 - what the caller knows
    options = replace(ImportOptions(mpp0=Mpp.square(0.5), encoder="theirs"), **told)
    return import_features(path, "trident", path.parent / "out", options)


def refused(path: Path, **told: Any) -> str:  # noqa: ANN401 - what the caller knows
    """The sentence; nothing is left, and nothing of the file's name or texts is in it."""
    with pytest.raises(FoundationError) as caught:
        read(path, **told)
    sentence = str(caught.value)
    assert safe_detail(caught.value) == sentence
    assert CANARY not in sentence
    assert not list(path.parent.glob("out/*"))
    return sentence


@pytest.mark.parametrize(("change", "sentence"), LEADING.values(), ids=LEADING)
def test_files_that_lead_elsewhere_are_refused(change: Change, sentence: str, tmp_path: Path) -> None:
    assert sentence in refused(write(tmp_path / f"{CANARY}.h5", change))


def test_hard_links_may_go_round(tmp_path: Path) -> None:
    def circle(file: h5py.File, _folder: Path) -> None:
        file.create_group("a/b")
        file["a/b/up"] = file["a"]
        file["again"] = file["features"]

    assert len(read(write(tmp_path / "x.h5", circle)).coords(0.5)) == 12


def test_a_file_of_many_objects_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "MAX_OBJECTS", 3)

    def many(file: h5py.File, _folder: Path) -> None:
        file["a"] = file["b"] = 0

    assert "more than 3 objects" in refused(write(tmp_path / "x.h5", many))


@pytest.mark.parametrize(("change", "sentence"), WRONG.values(), ids=WRONG)
def test_arrays_that_are_not_what_they_say_are_refused(change: Change, sentence: str, tmp_path: Path) -> None:
    assert sentence in refused(write(tmp_path / f"{CANARY}.h5", change))


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Counting:
        def decompress(self, data: bytes, most: int) -> bytes:
            asked.append(most)
            return real.decompress(data, most)

    real = zlib.decompressobj()
    monkeypatch.setattr("foundation.interchange.guarded.zlib.decompressobj", Counting)
    refused(write(tmp_path / "x.h5", packed(zlib.compress(bytes(1 << 20), 9), 64)))
    assert asked == [64 * 5 * 4 + 1]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (np.where(HIT, np.nan, ROWS), "not finite"),
        (np.where(HIT, np.inf, ROWS), "not finite"),
        (np.where(HIT, np.float64(1e300), ROWS), "not finite numbers or too large"),
        (ROWS * 0, "all zero"),
        (np.where(np.arange(12)[:, None] == 7, 3, ROWS), "all alike"),
        (np.tile(ROWS[0], (12, 1)), "same features"),
    ],
    ids=["nan", "infinite", "too large", "zero", "constant", "the same for all"],
)
def test_features_that_say_nothing_are_refused(rows: Any, sentence: str, tmp_path: Path) -> None:  # noqa: ANN401
    path = write(tmp_path / "x.h5", features=rows.astype(np.float64))
    assert sentence in refused(path)
    with pytest.raises(BadFeaturesError):
        read(path)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.h5").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("no HDF5")
    (tmp_path / "cut").write_bytes(whole[:-500])
    for name in ("pipe", "absent", "text", "cut", "."):
        assert refused(tmp_path / name).startswith(("There is no file", "The file is not HDF5"))


def test_no_flipped_byte_ends_in_another_error(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "whole.h5").read_bytes())
    random = np.random.default_rng(1)
    for number in range(400):
        flipped = bytearray(whole)
        flipped[random.integers(len(whole) if number % 2 else 800)] ^= 1 << int(random.integers(8))
        (tmp_path / "x.h5").write_bytes(flipped)
        with suppress(FoundationError), guarded.opened(tmp_path / "x.h5") as file:
            READERS["trident"](file, None)


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    assert "no array 'features'" in refused(write(tmp_path / "a.h5", features=None))
    assert "no array 'coords'" in refused(write(tmp_path / "b.h5", coords=None))

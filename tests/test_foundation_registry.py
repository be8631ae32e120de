"""The table of encoders is read strictly, and names that are not in it are met with the nearest."""

from __future__ import annotations

from dataclasses import fields
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation import EncoderSpec, RegistryError, list_encoders
from foundation.registry import nearest, read_registry

TABLE = files("foundation").joinpath("registry.toml").read_text(encoding="utf-8")


def test_the_table_that_ships_is_whole() -> None:
    spec = list_encoders()[0]
    assert (spec.key, spec.dim, spec.px, spec.mpp) == ("builtin", 1280, 224, (0.5, 1.0, 2.0))
    assert spec.commercial
    assert not spec.gated
    assert set(spec.to_json()) == {item.name for item in fields(EncoderSpec)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dim = 1280", ""),
        ("dim = 1280", "dim = 1280\ndims = 1"),
        ("dim = 1280", "dim = '1280'"),
        ("dim = 1280", "dim = true"),
        ("gated = false", "gated = 0"),
        ("mean = [0.485, 0.456, 0.406]", "mean = [0.485, 0.456]"),
        ("mpp = [0.5, 1.0, 2.0]", "mpp = ['0.5']"),
        ("[[encoder]]", "[encoder]"),
        ("[[encoder]]", "[["),
        ("[[encoder]]", "extra = 1\n[[encoder]]"),
    ],
)
def test_a_table_that_is_not_well_formed_is_refused(old: str, new: str) -> None:
    assert old in TABLE
    with pytest.raises(RegistryError):
        read_registry(TABLE.replace(old, new))


def test_a_key_stands_once() -> None:
    with pytest.raises(RegistryError, match="same key"):
        read_registry(TABLE + TABLE[TABLE.rindex("[[encoder]]") :])


def test_weights_of_any_checksum_may_be_allowed() -> None:
    lines = [line for line in TABLE.splitlines() if not line.startswith("weights_sha256")]
    assert read_registry("\n".join(lines))[0].weights_sha256 is None


@given(st.text(max_size=30))
def test_some_name_is_always_given(word: str) -> None:
    assert "builtin" in nearest(word, ["builtin"])

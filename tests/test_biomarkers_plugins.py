"""Another distribution adds an encoder, a head and a card by entry point, as CONTRIBUTING.md says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from biomarkers import CardError, list_cards, load_card
from biomarkers.card import CARDS
from foundation import UnknownEncoderError, load_encoder
from mil import build_head

ENTRY_POINTS = """
[oncoscope.biomarkers]
their-card = their_package:their_card.toml
tissue-composition = their_package:their_card.toml
[oncoscope.encoders]
theirs = their_package.parts:load
[oncoscope.heads]
theirs = their_package.parts:TheirHead
mean = their_package.parts:TheirHead
"""
PARTS = """
from foundation import load_encoder
from mil.heads.mean import MeanHead


class TheirHead(MeanHead):
    pass


def load(key, weights, spec):
    encoder = load_encoder("builtin")
    encoder.asked = (key, weights, spec)
    return encoder
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution as an installer leaves it: a package and its metadata, on the path."""
    package, about = tmp_path / "their_package", tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(PARTS)
    card = (CARDS / "tissue-composition.toml").read_text(encoding="utf-8")
    (package / "their_card.toml").write_text(card.replace('name = "tissue-composition"', 'name = "their-card"'))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("their_package", "their_package.parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return package


def test_a_card_is_found_by_its_name_and_knows_its_folder(installed: Path) -> None:
    assert load_card("their-card").folder == str(installed)
    assert "their-card" in [card.name for card in list_cards()]
    with pytest.raises(CardError, match=r'did you mean "their-card"'):
        load_card("their-crad")


def test_a_card_of_ours_wins(installed: Path) -> None:
    assert installed.is_dir()
    assert (load_card("tissue-composition").name, load_card("tissue-composition").folder) == (
        "tissue-composition",
        None,
    )
    assert len(list_cards()) == 3


def test_a_card_whose_package_is_gone_is_a_card_error(installed: Path) -> None:
    (installed / "their_card.toml").unlink()
    with pytest.raises(CardError, match="no biomarker"):
        load_card("their-card")
    points = installed.parent / "theirs-1.0.dist-info" / "entry_points.txt"
    points.write_text("[oncoscope.biomarkers]\nlost = no_such_package:lost.toml\n")
    with pytest.raises(CardError, match='"lost" is damaged'):
        load_card("lost")


def test_a_family_of_encoders_is_asked_for_by_prefix(installed: Path) -> None:
    encoder = load_encoder("theirs:large", installed)
    assert vars(encoder)["asked"] == ("theirs:large", installed, None)
    with pytest.raises(UnknownEncoderError):
        load_encoder("theirs")


def test_a_head_is_built_by_its_name_and_ours_wins(installed: Path) -> None:
    assert type(build_head("theirs", 4)).__module__ == f"{installed.name}.parts"
    assert type(build_head("mean", 4)).__module__ == "mil.heads.mean"

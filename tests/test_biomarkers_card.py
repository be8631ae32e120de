"""Cards are read strictly, and say what a result means."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from biomarkers import Biomarker, CardError, UnknownBiomarkerError, list_cards, load_card
from biomarkers.card import CARDS


@pytest.fixture
def text() -> str:
    return (CARDS / "tissue-composition.toml").read_text(encoding="utf-8")


def card_of(tmp_path: Path, text: str) -> Biomarker:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_card(path)


def test_both_cards_are_listed_by_name() -> None:
    assert [card.name for card in list_cards()] == ["demo-response", "tissue-composition"]


def test_only_the_demonstration_calls_itself_one() -> None:
    assert "Demonstration" in load_card("demo-response").notice
    assert "Demonstration" not in load_card("tissue-composition").notice
    assert all(card.notice.endswith("Research use only. Not for diagnosis.") for card in list_cards())


def test_a_card_from_a_path_equals_the_one_by_name_but_for_its_folder(tmp_path: Path, text: str) -> None:
    assert dataclasses.replace(card_of(tmp_path, text), folder=None) == load_card("tissue-composition")
    assert card_of(tmp_path, text).digest() == load_card("tissue-composition").digest()


def test_a_card_travels_between_processes() -> None:
    assert all(pickle.loads(pickle.dumps(card)) == card for card in list_cards())  # noqa: S301 - our own bytes


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownBiomarkerError, match=r'did you mean "tissue-composition"'):
        load_card("tissue-compositon")


def test_no_message_names_the_folder_of_a_card(tmp_path: Path) -> None:
    with pytest.raises(UnknownBiomarkerError) as caught:
        load_card(tmp_path / "doe-jane.toml")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('version = "1.0.0"', 'verison = "1.0.0"', 'unknown key "verison"; did you mean "version"'),
        ("min_tiles = 20", "min_tile = 20", 'gates.* unknown key "min_tile"; did you mean "min_tiles"'),
        ("px = 224\n", "", 'lacks the key "px"'),
        ("px = 224\n", 'folder = "/"\npx = 224\n', "where the card stands"),
        ("px = 224\n", "px = 224.0\n", '"px" of the card must be int, not float'),
        ("px = 224\n", "px = true\n", "must be int, not bool"),
        ("px = 224\n", "px = 16\n", "between 32 and 1024"),
        ("zooms = [0.5]", "zooms = 0.5", "must be a list"),
        ("zooms = [0.5]", "zooms = []", "finest first"),
        ("zooms = [0.5]", "zooms = [0.5, 1.0]", "one zoom"),
        ("zooms = [0.5]", "zooms = [0.001]", "between 0.05 and 20"),
        ("zooms = [0.5]", "zooms = [nan]", "must be finite"),
        ("zooms = [0.5]", "zooms = [5.0]", "cell must not be smaller"),
        ("demonstration = false", "demonstration = 0", "must be bool, not int"),
        ('kind = "composition"', 'kind = "compositon"', 'did you mean "composition"'),
        ('score = "immune_share"', 'score = "probability"', "unknown for composition"),
        ('kind = "composition"', 'kind = "composition"\nhead = "x"', "no other, names a head"),
        ("min_tissue_mm2 = 0.5", "min_tissue_mm2 = 0", "min_tissue_mm2 must be positive"),
        ("min_tiles = 20", "min_tiles = 0", "at least 1"),
        ("immune_share = 0.2", "immune_share = 1.2", "immune_share must lie"),
        ("[gates]", "[cutoffs]\nedges = [0.5]\ncategories = ['a']\norigin = 'o'\n[gates]", "one more than edges"),
        ("[gates]", "[cutoffs]\nedges = [0.5, 0.4]\ncategories = ['a', 'b', 'c']\norigin = 'o'\n[gates]", "rise"),
        ("[gates]", "[gates", "not valid TOML"),
        ("[cells]", "[cells]\n[cells.more]", 'unknown key "more"'),
    ],
)
def test_a_bad_card_is_refused_with_a_reason(tmp_path: Path, text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(CardError, match=message):
        card_of(tmp_path, text.replace(old, new, 1))


def test_a_score_at_an_edge_belongs_to_the_category_above(tmp_path: Path, text: str) -> None:
    cutoffs = "[cutoffs]\nedges = [0.2, 0.6]\ncategories = ['low', 'middle', 'high']\norigin = 'a test'\n"
    card = card_of(tmp_path, text + cutoffs)
    assert [card.category(score) for score in (0.0, 0.19, 0.2, 0.59, 0.6, 1.0)] == [
        "low",
        "low",
        "middle",
        "middle",
        "high",
        "high",
    ]
    assert load_card("tissue-composition").category(0.9) == "uncut"


def test_the_digest_follows_every_field_and_every_number_of_the_head(tmp_path: Path, text: str) -> None:
    card = load_card("tissue-composition")
    assert dataclasses.replace(card, version="1.0.1").digest() != card.digest()
    demo = (CARDS / "demo-response.toml").read_text(encoding="utf-8")
    head = tmp_path / "demo_response" / "head.json"
    head.parent.mkdir()
    head.write_bytes(b"1")
    first = card_of(tmp_path, demo).digest()
    (head.parent / "MODEL_CARD.md").write_text("words")
    assert card_of(tmp_path, demo).digest() == first
    head.write_bytes(b"2")
    assert card_of(tmp_path, demo).digest() != first
    with pytest.raises(CardError, match="names no head"):
        _ = card_of(tmp_path, text).head_dir


def test_importing_biomarkers_loads_no_torch() -> None:
    code = "import sys, biomarkers, biomarkers.cohort, biomarkers.report.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=CARDS.parents[1]).returncode == 0

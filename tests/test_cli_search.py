"""`index` and `search` as people call them: from slides to found tiles, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from api.cli.searching import wheres
from api.errors import BadRequestError
from foundation import Embeddings, SearchIndex
from foundation.registry import DEFAULT_ENCODER
from slides.testing import write_slide

CANARY = "DOE_JOHN_19570312"
Said = Callable[..., "tuple[dict[str, Any], str]"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides that were embedded, one that was not, and a table of them."""
    folder = tmp_path_factory.mktemp("cohort")
    for number, size in enumerate([(1000, 800), (800, 1000), (700, 700)], start=1):
        slide = write_slide(folder / f"{CANARY}_{number}.svs", size=size, mpp=0.5)
        if number < 3:
            assert main(["tile", str(slide), "--mpp", "0.5", "--tile", "128", "--out", str(folder / f"t{number}")]) == 0
            (store,) = (folder / f"t{number}").glob("*.zarr")
            assert main(["embed", str(store), "--out", str(folder / "e")]) == 0
    (folder / "m.csv").write_text(
        "slide,path,patient,site\n"
        + "".join(f"S-{n},{CANARY}_{n}.svs,P-{n % 2},{'AB'[n % 2]}\n" for n in (1, 2, 3))
        + f"S-4,{CANARY}_none.svs,P-4,A\n"
    )
    return folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Calls the command line with --json; gives the document and what stands on standard error."""

    def call(status: int, *arguments: object) -> tuple[dict[str, Any], str]:
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == status, capsys.readouterr().err
        out, err = capsys.readouterr()
        assert CANARY not in out + err
        assert "Traceback" not in err
        return (json.loads(out) if out else {}), err

    return call


@pytest.fixture(scope="module")
def index(cohort: Path) -> Path:
    assert main(["index", str(cohort / "m.csv"), "--embeddings", str(cohort / "e"), "--out", str(cohort / "i")]) == 1
    return cohort / "i"


def test_a_cohort_becomes_searchable_and_says_which_slides_did_not(cohort: Path, tmp_path: Path, said: Said) -> None:
    call = ("index", cohort / "m.csv", "--embeddings", cohort / "e", "--out", tmp_path / "i")
    document, err = said(1, *call)
    assert [one["state"] for one in document["slides"]] == ["added", "added", "failed", "failed"]
    assert [one["slide"] for one in document["slides"]] == ["S-1", "S-2", "S-3", "S-4"]
    assert "no embeddings of this slide" in document["slides"][2]["reason"]
    assert "there is no file" in document["slides"][3]["reason"]
    assert "2 of 4 slides are not in the index" in err
    assert (document["mpp"], document["encoder"]["key"]) == (0.5, DEFAULT_ENCODER)
    assert document["tiles"] == sum(one["tiles"] for one in document["slides"])
    again, _ = said(1, *call)
    assert [one["state"] for one in again["slides"]] == ["unchanged", "unchanged", "failed", "failed"]
    assert said(0, "verify", tmp_path / "i")[0] == {
        "notice": document["notice"],
        "path": str(tmp_path / "i"),
        "kind": "index",
        "whole": True,
        "damaged": [],
        "tiles": [],
    }


def test_stores_may_be_named_in_the_table_and_slides_be_removed(cohort: Path, tmp_path: Path, said: Said) -> None:
    stores = sorted((cohort / "e").iterdir())
    (tmp_path / "m.csv").write_text(f"slide\n{stores[0]}\n{stores[1]}\n")
    other, _ = said(1, "index", tmp_path / "m.csv", "--out", tmp_path / "i", "--encoder", "builtin")
    assert [(one["state"], "another encoder" in one["reason"]) for one in other["slides"]] == [("failed", True)] * 2
    document, _ = said(0, "index", tmp_path / "m.csv", "--out", tmp_path / "i")
    names = [f"slide-{Embeddings.open(store).slide['content_hash'][:12]}" for store in stores]
    assert [one["slide"] for one in document["slides"]] == names
    assert said(0, "index", "--out", tmp_path / "i", "--remove", names[0])[0]["tiles"] > document["tiles"] - 100
    assert [entry.slide for entry in SearchIndex.open(tmp_path / "i").entries] == names[1:]
    assert "no slide" in said(2, "index", "--out", tmp_path / "i", "--remove", names[0])[1]


def test_words_find_tiles(index: Path, said: Said) -> None:
    document, err = said(0, "search", index, "--text", "lymphocytes", "--k", 5)
    assert err == ""
    assert document["query"] == {"kind": "text", "text": "lymphocytes"}
    assert (document["meaning"], document["exact"]) == ("immune_cells", True)
    assert [hit["rank"] for hit in document["hits"]] == [1, 2, 3, 4, 5]
    scores = [hit["score"] for hit in document["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert {one["slide"] for one in document["slides"]} == {"S-1", "S-2"}
    assert document["searched"]["slides"] == 2
    assert "Closed vocabulary" in document["note"]


def test_a_tile_and_a_slide_find_their_like(cohort: Path, index: Path, said: Said) -> None:
    first = said(0, "search", index, "--text", "stroma", "--k", 1)[0]["hits"][0]
    at = f"{first['slide']},{first['x'] + 3},{first['y'] + 3}"
    same = said(0, "search", index, "--tile", at, "--k", 1)[0]["hits"][0]
    assert (same["slide"], same["x"], same["y"]) == (first["slide"], first["x"], first["y"])
    others = said(0, "search", index, "--slide", "S-1", "--without", "S-1", "--k", 3)[0]
    assert {hit["slide"] for hit in others["hits"]} == {"S-2"}
    store = next(iter(sorted((cohort / "e").iterdir())))
    assert len(said(0, "search", index, "--embeddings", store, "--per-slide", 1)[0]["hits"]) == 2
    assert len(said(0, "search", index, "--embeddings", store, "--mmr", "--overlap", "--k", 4)[0]["hits"]) == 4


def test_filters_choose_slides(index: Path, said: Said) -> None:
    document, _ = said(0, "search", index, "--text", "fat", "--where", "site=B,C", "--where", "patient=P-1")
    assert {hit["slide"] for hit in document["hits"]} == {"S-1"}
    assert wheres(["a=1,2", "a=3", "b= x = y"]) == {"a": {"1", "2", "3"}, "b": {"x = y"}}
    with pytest.raises(BadRequestError):
        wheres(["a"])


WRONG: list[tuple[list[str], str]] = [
    (["--text", "cartilage"], "closed vocabulary"),
    (["--text", ""], "between 1 and"),
    (["--text", "fat\x1b[2J"], "control characters"),
    (["--text", "f" * 201], "between 1 and"),
    (["--text", "fat", "--k", "0"], "between 1 and 10000 tiles, not 0"),
    (["--text", "fat", "--where", "grade=2"], "no column 'grade'"),
    (["--text", "fat", "--where", "grade"], "COLUMN=VALUE"),
    (["--text", "fat", "--where", "site=Z"], "fits the filter"),
    (["--text", "fat", "--per-slide", "0"], "least one tile"),
    (["--tile", "S-1,5"], "SLIDE,X,Y"),
    (["--tile", "S-1,-9,-9"], "covers that place"),
    (["--slide", "S-9"], "no slide 'S-9'"),
    (["--text", "fat", "--approximate"], "no approximate one"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=str)
def test_a_wrong_call_is_2_and_says_why(index: Path, said: Said, arguments: list[str], words: str) -> None:
    _, err = said(2, "search", index, *arguments)
    assert words in err
    assert "\x1b" not in err


def test_nothing_to_do_and_no_index_are_said(tmp_path: Path, said: Said) -> None:
    assert "MANIFEST.csv" in said(2, "index", "--out", tmp_path / "i")[1]
    assert "--text --tile" in said(2, "search", tmp_path)[1]
    assert "no search index" in said(1, "search", tmp_path, "--text", "fat")[1]


def test_people_read_what_was_found(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["search", str(index), "--text", "tumour", "--k", "2"]) == 0
    out = capsys.readouterr().out
    assert "tumour: " in out
    assert "exact" in out
    assert "slides:" in out
    assert "research use only" in out.lower()


def test_damage_is_named_and_not_searched(index: Path, tmp_path: Path, said: Said) -> None:
    shutil.copytree(index, tmp_path / "i")
    path = SearchIndex.open(tmp_path / "i").segments[0].path / "tissue" / "c" / "0" / "0"
    data = bytearray(path.read_bytes())
    data[1] ^= 1
    path.write_bytes(data)
    document, _ = said(1, "verify", tmp_path / "i")
    assert document["damaged"] == [str(path.relative_to(tmp_path / "i"))]
    document, err = said(1, "search", tmp_path / "i", "--text", "fat")
    assert document["error"]["code"] == "index-store"
    assert "damaged" in err

"""`ask` and `bank` as commands: any text encoder, sets, examples, banks; and nothing that is typed leaves unescaped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.answer_files import plain
from api.cli import main
from foundation import Embeddings, embed, load_encoder
from foundation.query import unit
from foundation.testing import TINY_PAIR, TINY_TIMM, write_tiny_pair, write_tiny_timm
from slides import Address
from slides.testing import write_slide
from tiling import TileSpec, tile

Run = Callable[..., tuple[int, dict[str, Any], str]]
SET = 'title = "T"\n[[class]]\nname = "tumour"\nsynonyms = ["cancer"]\n[[class]]\nname = "fat"\nbackground = true\n'
SCRIPT = "<script>alert(1)</script> & =cmd|tumour"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json and gives status, document and standard error."""

    def run(*arguments: object) -> tuple[int, dict[str, Any], str]:
        status = main([*map(str, arguments), "--json"])
        said = capsys.readouterr()
        return status, json.loads(said.out), said.err

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A slide, its tiles of 32 px, and their features by a tiny pair."""
    folder = tmp_path_factory.mktemp("made")
    slide = write_slide(folder / "DOE_JOHN.svs", size=(700, 500), mpp=0.5)
    weights = write_tiny_pair(folder / "pair")
    tiles = tile(Address.of(slide), [TileSpec(mpp=0.5, px=32)], folder)
    features = embed(tiles, load_encoder(TINY_PAIR, weights), folder)
    other = write_tiny_pair(folder / "other", seed=1)
    return {"slide": slide, "pair": weights, "other": other, "tiles": tiles.path, "features": features.path}


def asking(made: dict[str, Path], what: str = "features") -> list[object]:
    return ["ask", made[what], "--encoder", TINY_PAIR, "--weights", made["pair"]]


def test_a_store_is_asked_with_any_text_encoder(run: Run, made: dict[str, Path], tmp_path: Path) -> None:
    words = ["--prompt", "no mitosis", "--unlike", "apoptosis"]
    status, answer, said = run(*asking(made), *words, "--out", tmp_path / "a")
    assert (status, answer["closed_vocabulary"]) == (0, False)
    assert said.count("oncoscope: warning: Prompt 1 holds a negation") == 1
    assert len(answer["warnings"]) == 1
    assert 0 < answer["prompts"][0]["score"] < 1
    assert all(Path(path).is_file() for path in answer["prompts"][0]["files"].values())
    status, again, _ = run(*asking(made, "tiles"), *words, "--out", tmp_path / "b")
    assert (status, again["prompts"][0]["score"]) == (0, answer["prompts"][0]["score"])
    status, refused, _ = run(*asking(made, "slide"), *words, "--out", tmp_path / "c")
    assert (status, refused["error"]["detail"]) == (2, "this encoder states no scale; give --mpp")
    status, whole, _ = run(*asking(made, "slide"), *words, "--mpp", "1", "--out", tmp_path / "c")
    assert (status, whole["mpp"]) == (0, 1)


def test_a_set_is_asked_and_screened(run: Run, made: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "set.toml").write_text(SET)
    how = [*asking(made), "--prompts", tmp_path / "set.toml", "--screen", "--out", tmp_path / "out"]
    status, answer, _ = run(*how)
    assert (status, [one["prompt"] for one in answer["prompts"]]) == (0, ["tumour", "fat"])
    assert answer["choice"]["by_top_k"] == "tumour"
    assert answer["screening"]["tried"] == 12
    assert sum(one["share"] for one in answer["prompts"]) == pytest.approx(1)
    assert run(*asking(made), "--prompts", "breast-tissue", "--out", tmp_path / "out")[0] == 0
    assert main(list(map(str, how))) == 0


def test_examples_need_no_text_encoder(
    run: Run, made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Embeddings.open(made["features"])
    rows = unit(found.features(0.5))
    odd = int((rows @ rows.mean(axis=0)).argmin())  # with what is most like it: random weights know no other kinds
    one, two, three, *_, far = np.argsort(-(rows @ rows[odd])).tolist()
    (x, y), (left, top) = ((found.coords(0.5)[k] + 1).tolist() for k in (two, three))
    ring = [[left, top], [left + 28, top], [left + 28, top + 28], [left, top + 28], [left, top]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    (tmp_path / "r.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    given = ["--example", one, "--example", f"{x},{y}", "--example", tmp_path / "r.geojson", "--unlike-example", far]
    status, answer, _ = run("ask", made["features"], *given, "--out", tmp_path / "out")
    assert status == 0, answer
    assert answer["examples"]["tiles"] == [one, two, three]
    assert answer["examples"]["leave_one_out"]["std"] >= 0
    assert main(["ask", str(made["features"]), *map(str, given), "--out", str(tmp_path / "out")]) == 0
    assert "examples, each left out in turn: cosine" in capsys.readouterr().out
    for wrong in ("none.geojson", "1,2,3", "99999", "-5", "1e9,3"):
        status, refused, _ = run("ask", made["features"], f"--example={wrong}", "--out", tmp_path / "no")
        assert (status, refused["state"]) == (2, "failed")
        assert wrong not in refused["error"]["detail"]
    assert not (tmp_path / "no").exists()


def test_a_bank_gives_percentiles(run: Run, made: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "b" / "bank.safetensors"
    status, document, _ = run("bank", made["features"], "--tiles", "50", "--out", path)
    assert (status, document["slides"]) == (0, 1)
    assert 25 <= document["tiles"] <= 50
    how = [*asking(made), "--prompt", "fat", "--out", tmp_path / "out", "--bank"]
    status, refused, _ = run(*how, path)
    assert (status, "no slide but the one" in refused["error"]["detail"]) == (2, True)
    other = write_slide(tmp_path / "other.svs", size=(600, 500), mpp=0.5, kind="tissue")
    tiles = tile(Address.of(other, 0.6), [TileSpec(mpp=0.6, px=32)], tmp_path)
    assert run(*how, tmp_path / "none")[0] == 1
    made_of = embed(tiles, load_encoder(TINY_PAIR, made["pair"]), tmp_path)
    assert run("bank", made_of.path, "--out", path)[0] == 0
    status, refused, _ = run(*how, path)
    assert (status, refused["error"]["code"]) == (2, "contract")


def test_what_cannot_be_asked_is_said_in_a_sentence(run: Run, made: dict[str, Path], tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out"]
    (tmp_path / "set.toml").write_text("title = 3")
    timm = ["--encoder", TINY_TIMM, "--weights", write_tiny_timm(tmp_path / "timm.safetensors")]
    wrong = {
        "between 1 and 64": ["ask", made["features"], *out],
        "letters": [*asking(made), "--prompt", "", *out],
        "not 201": [*asking(made), "--prompt", "a" * 201, *out],
        "English": [*asking(made), "--prompt", "опухоль", *out],
        "control characters": [*asking(made), "--prompt", "\x1b[31mtumour", *out],
        "holds words": [*asking(made), "--prompt", "=1+1", *out],
        "outside the closed vocabulary": ["ask", made["features"], "--prompt", "mitosis", *out],
        "needs the text side": ["ask", made["features"], "--prompt", "fat", *out],
        "no text side": ["ask", made["features"], *timm, "--prompt", "fat", *out],
        "weights digest differs": [*asking(made)[:-1], made["other"], "--prompt", "fat", *out],
        "A prompt set holds": [*asking(made), "--prompts", tmp_path / "set.toml", *out],
        "cannot be read": [*asking(made), "--prompts", tmp_path / "none.toml", *out],
        "belongs to an --encoder": ["ask", made["features"], "--prompt", "fat", "--weights", "x", *out],
    }
    for sentence, command in wrong.items():
        status, refused, said = run(*command)
        assert (status, sentence in refused["error"]["detail"]) == (2, True), refused
        assert len(said.splitlines()) == 1
        assert "\x1b" not in said
    assert not (tmp_path / "out").exists()


def test_nothing_that_is_typed_leaves_unescaped(
    made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*map(str, asking(made)), "--prompt", SCRIPT, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert not any(ord(letter) < 32 and letter != "\n" for letter in shown.out + shown.err)
    text = (tmp_path / "answer.json").read_text()
    assert not set("<>&") & set(text)
    assert json.loads(text)["prompts"][0]["prompt"] == SCRIPT
    for path in tmp_path.glob("prompt-1.*"):
        assert b"<script" not in path.read_bytes()
    document = json.loads((tmp_path / "prompt-1.geojson").read_text())
    names = set(document["features"][0]["properties"]["measurements"])
    assert names == {f"probability of {plain(SCRIPT)}", "raw"}
    assert not {name for name in names if name[0] in "=+-@<"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "=-+"])
def test_a_name_inside_files_begins_with_a_word(start: str) -> None:
    assert plain(f"{start}cmd|' /C calc'!A0") == "cmd C calc A0"

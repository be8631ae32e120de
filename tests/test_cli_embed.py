"""`oncoscope embed --one-pass` gives what `oncoscope embed` gives, here and on workers; nothing else takes workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.cli import main
from foundation import Embeddings
from foundation.registry import DEFAULT_ENCODER
from foundation.testing import TINY_TIMM, write_tiny_timm
from slides.testing import write_slide
from tiling import TileSpec, TileStore, tile

CANARY = "DOE_JOHN_19570312"
ZOOMS = (1.0, 2.0)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / f"{CANARY}.svs", size=(800, 600), mpp=1.0)


@pytest.fixture(scope="module")
def embed(command: Callable[..., Any]) -> Callable[..., tuple[dict[str, Any], Any]]:
    """Embeds a slide at two zooms and gives the document and the command."""

    def embed(slide: Path, out: Path, *more: str) -> tuple[dict[str, Any], Any]:
        zooms = [word for mpp in ZOOMS for word in ("--mpp", f"{mpp:g}")]
        options = ["--encoder", "builtin", "--out", out, *zooms, *more, "--json"]
        done = command("embed", slide, *options, cwd=out.parent)
        return json.loads(done.stdout), done

    return embed


@pytest.fixture(scope="module")
def plain(embed: Callable[..., Any], slide: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    document, done = embed(slide, tmp_path_factory.mktemp("plain"))
    assert done.returncode == 0, done.stderr
    return dict(document)


@pytest.mark.parametrize("more", [(), ("--workers", "1")], ids=["here", "on a worker"])
def test_one_pass_gives_the_same_features(
    embed: Callable[..., Any], slide: Path, plain: dict[str, Any], tmp_path: Path, more: tuple[str, ...]
) -> None:
    document, done = embed(slide, tmp_path, "--one-pass", *more)
    assert (done.returncode, done.stderr) == (0, "")
    assert CANARY not in done.stdout
    assert document["fingerprint"] == plain["fingerprint"]
    assert document["tiles"] == plain["tiles"]
    one, two = Embeddings.open(Path(document["store"])), Embeddings.open(Path(plain["store"]))
    for mpp in ZOOMS:
        assert len(one.features(mpp)) > 0
        assert np.array_equal(one.features(mpp), two.features(mpp))
    (tiles,) = tmp_path.glob("*.tiles.zarr")
    assert TileStore.open(tiles).keep == "no"


def test_no_tile_is_read_again(slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_args: object, **_more: object) -> None:
        raise AssertionError

    monkeypatch.setattr(TileStore, "batches", again)
    call = ["embed", str(slide), "--encoder", "builtin", "--mpp", "2", "--out"]
    assert main([*call, str(tmp_path / "engine")]) == 0
    assert main([*call, str(tmp_path / "one pass"), "--one-pass"]) == 0


def test_a_run_reports_what_the_device_did(plain: dict[str, Any]) -> None:
    report = plain["report"]
    assert report["tiles"] == sum(plain["tiles"].values())
    assert {"idle_share", "longest_gap_s", "tiles_per_s", "flops_per_s", "seconds", "batch", "slides"} <= set(report)
    assert set(report["seconds"]) == {"open", "segment", "read", "wait", "encode", "write"}
    (device,) = report["devices"]
    assert (device["name"], device["oom_halvings"]) == ("cpu", 0)
    assert report["slides"] == [{"slide": 0, "encoder": "builtin", "state": "done"}]


def test_one_bad_slide_does_not_stop_the_others(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / f"{CANARY}_broken.svs"
    broken.write_bytes(slide.read_bytes()[:1000])
    store = tile(slide, [TileSpec(2.0)], tmp_path / "tiles")
    call = ["embed", str(broken), str(store.path), str(slide), "--encoder", "builtin", "--mpp", "2"]
    assert main([*call, "--out", str(tmp_path / "out"), "--device", "cpu", "--batch", "4", "--json"]) == 1
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert [each["state"] for each in document["slides"]] == ["failed", "done", "done"]
    assert [each["slide"] for each in document["slides"]] == [1, 2, 3]
    assert document["slides"][0]["reason"]
    assert shown.err == "oncoscope: 1 of 3 failed\n"
    assert CANARY not in shown.out
    for each in document["slides"][1:]:
        assert len(Embeddings.open(Path(each["store"])).features(2.0)) == each["tiles"]["2"]
    assert main([*call[:1], *call[2:], "--out", str(tmp_path / "out")]) == 0
    assert [state["state"] for state in document["report"]["slides"]].count("done") == 2


def test_the_contract_is_overridden_by_name_only(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--encoder", "builtin", "--mpp", "1.5", "--out", tmp_path / "out")
    assert "can be overridden" in refused(capsys, slide, *options)
    assert not (tmp_path / "out").exists()
    assert main(["embed", *map(str, (slide, *options)), "--override", "--json"]) == 0
    made = Embeddings.open(Path(json.loads(capsys.readouterr().out)["store"]))
    assert len(made.provenance["overridden"]) == 1


def test_who_names_no_encoder_gets_ours(slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(slide), "--mpp", "2", "--override", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["encoder"]["key"] == DEFAULT_ENCODER


@pytest.mark.parametrize("more", [(), ("--one-pass",)], ids=["engine", "one pass"])
def test_who_names_no_scale_gets_those_of_the_encoder_that_the_slide_has(
    more: tuple[str, ...], slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(slide), "--encoder", "builtin", "--out", str(tmp_path), "--json", *more]) == 0
    assert set(json.loads(capsys.readouterr().out)["tiles"]) == {"1", "2"}  # builtin takes 0.5 too; the scan does not


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The sentence of a call that is wrong."""
    assert main(["embed", *map(str, arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (sentence,) = shown.err.splitlines()
    assert CANARY not in sentence
    return sentence


@pytest.mark.parametrize(
    "more", [("--workers", "2"), ("--scheduler", "tcp://host:8786"), ("--certs", "folder")], ids=lambda more: more[0]
)
def test_workers_are_for_one_pass(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, str]
) -> None:
    sentence = refused(capsys, slide, "--encoder", "builtin", "--out", tmp_path / "out", *more)
    assert sentence.startswith("oncoscope: --scheduler, --workers and --certs belong to --one-pass")
    assert not (tmp_path / "out").exists()


def test_one_pass_wants_a_slide_and_a_sound_pool(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tile(slide, [TileSpec(2.0)], tmp_path / "tiles")
    options = ("--encoder", "builtin", "--one-pass", "--out", tmp_path / "out")
    assert "a slide and not a store" in refused(capsys, store.path, *options)
    assert "--workers is a positive number" in refused(capsys, slide, *options, "--workers", 0)
    assert "a slide and not a store" in refused(capsys, slide, slide, *options)
    two = ("--encoder", "builtin", "--encoder", TINY_TIMM, "--weights", slide, "--out", tmp_path / "out")
    assert "--weights belongs to one" in refused(capsys, slide, *two)
    assert "are positive numbers" in refused(capsys, slide, *options, "--batch", 0)
    assert "leave --device away" in refused(capsys, slide, *options, "--device", "cuda")
    own = ("--encoder", TINY_TIMM, "--weights", write_tiny_timm(tmp_path / "weights.safetensors"))
    assert "give --mpp" in refused(capsys, slide, *own, "--one-pass", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()

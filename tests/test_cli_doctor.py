"""`encoders` and `doctor`: what is known, what can run here, and what the others lack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from foundation.access import Access, configure
from slides.testing import write_slide


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine without weights, and the settings of nobody."""
    for name in ("WEIGHTS", "ONLINE", "POLICY"):
        monkeypatch.delenv(f"ONCOSCOPE_{name}", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield
    configure(Access())


def told(capsys: pytest.CaptureFixture[str], *call: str) -> dict[str, Any]:
    assert main([*call, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def states(document: dict[str, Any], kind: str = "encoders") -> dict[str, str]:
    return {row["key"]: row["state"] for row in document[kind]}


def test_encoders_are_a_list_of_objects(capsys: pytest.CaptureFixture[str]) -> None:
    document = told(capsys, "encoders")
    wanted = {
        "key",
        "licence",
        "commercial",
        "gated",
        "dim",
        "px",
        "tile_px",
        "mpp",
        "family",
        "ready",
        "state",
        "detail",
    }
    assert all(wanted <= set(row) for row in document["encoders"])
    assert {"key", "licence", "tile_encoders", "dim", "ready"} <= set(document["slide_encoders"][0])
    assert len(document["encoders"]) > 60
    assert len(document["slide_encoders"]) > 15


def test_people_read_one_line_an_encoder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encoders"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("virchow2 ")]
    assert all(word in line for word in ("timm", "research", "gated", "missing weights", "2560", "CC-BY-NC-ND-4.0"))


def test_doctor_says_what_each_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    document = told(capsys, "doctor")
    found = states(document)
    assert document["policy"] == "research"
    assert found["builtin"] == "ready"
    assert found["uni"] == "missing weights"
    assert found["mascaret"] == "needs remote code"
    assert found["musk"] == "missing package"
    assert found["kronos"] == "no loader"
    slides = states(document, "slide_encoders")
    assert (slides["mean"], slides["titan"], slides["chief"]) == ("ready", "needs remote code", "no loader")
    detail = next(row["detail"] for row in document["encoders"] if row["key"] == "uni")
    assert "uni/pytorch_model.bin" in detail
    assert "huggingface.co/MahmoodLab/uni" in detail


def test_doctor_holds_the_policy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = states(told(capsys, "doctor", "--policy", "commercial"))
    assert found["uni"] == found["gigapath"] == "refused by policy"
    assert found["virchow"] == "missing weights"
    monkeypatch.setenv("ONCOSCOPE_POLICY", "commercial")
    assert states(told(capsys, "doctor"))["uni"] == "refused by policy"
    assert states(told(capsys, "doctor", "--policy", "research"))["uni"] == "missing weights"


def test_weights_in_the_folder_make_an_encoder_ready(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONCOSCOPE_WEIGHTS", str(tmp_path))
    for key, file in (("uni", "pytorch_model.bin"), ("kaiko-vits16", "model.safetensors")):
        (tmp_path / key).mkdir()
        (tmp_path / key / file).write_bytes(b"weights")
    found = states(told(capsys, "doctor"))
    assert found["uni"] == "ready"  # the digest is held against the file when it is loaded
    assert found["kaiko-vits16"] == "missing weights"  # nobody states a digest yet
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "kaiko-vits16" / "model.safetensors.sha256").write_text(digest)
    assert states(told(capsys, "doctor"))["kaiko-vits16"] == "ready"


def test_one_broken_digest_does_not_hide_the_other_encoders(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONCOSCOPE_WEIGHTS", str(tmp_path))
    (tmp_path / "crisp").mkdir()
    (tmp_path / "crisp" / "CRISP.pth").write_bytes(b"weights")
    (tmp_path / "crisp" / "CRISP.pth.sha256").write_text("to be done")
    for command in ("encoders", "doctor"):
        document = told(capsys, command)
        assert (states(document)["crisp"], states(document)["builtin"]) == ("missing weights", "ready")
        assert "no SHA-256" in next(row["detail"] for row in document["encoders"] if row["key"] == "crisp")


def test_doctor_is_compact_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) < 50
    assert "  ready: builtin" in text
    assert "ONCOSCOPE_WEIGHTS" in text


def test_loading_says_the_same_in_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "slide.svs", size=(300, 300), mpp=0.5)
    call = ["embed", str(slide), "--out", str(tmp_path / "out"), "--encoder"]
    assert main([*call, "uni"]) == 1
    assert "uni/pytorch_model.bin" in capsys.readouterr().err
    assert main([*call, "uni", "--policy", "commercial"]) == 2
    assert "CC-BY-NC-ND-4.0" in capsys.readouterr().err
    assert main([*call, "unni"]) == 2
    assert "did you mean uni" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""The benchmarks of embedding run where there is no GPU, and end with one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _embed_like_trident, feed, gpu_embed


def last(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return document


@pytest.fixture(autouse=True)
def _drawn_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_embed_like_trident, "MAKE_SLIDE", Path("nowhere"))


def test_without_a_gpu_nothing_is_claimed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    gpu_embed.main([])
    document = last(capsys)
    assert document["gpu"] is None
    assert {verdict["met"] for verdict in document["targets"].values()} == {None}


def test_a_tiny_network_runs_both_ways_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    gpu_embed.main(["--device", "cpu", "--tiny"])
    document = last(capsys)
    tiny = document["models"]["tiny"]
    assert tiny["report"]["tiles"] > 0
    assert {each["state"] for each in tiny["report"]["slides"]} == {"done"}
    assert min(document["matmul_flops_per_s"], tiny["ratio_trident_like"], tiny["share_of_matmul"]) > 0


def test_feeding_is_measured_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    feed.main(["--slides", "2", "--cells", "16", "--rounds", "1", "--batch", "4", "--rate", "200"])
    document = last(capsys)
    (found,) = document["rounds"]
    assert found["ours"]["tiles"] == found["trident_like"]["tiles"] > 8
    assert 0 <= document["idle_share"] <= 1
    assert document["idle_share_trident_like"] > 0

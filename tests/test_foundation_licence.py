"""A lab's policy holds for every encoder, whoever wrote it and wherever its weights are."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.access import allow
from api.errors import problem_of
from api.settings import Settings
from foundation import LicenceError, MissingWeightsError, list_encoders, load_encoder
from foundation.access import Access, configure
from foundation.registry import list_slide_encoders
from foundation.slide_encoder import load_slide_encoder
from foundation.testing import TINY_TIMM, write_tiny_timm

COMMERCIAL = Access(policy="commercial", cache=Path("nowhere"))


@pytest.mark.parametrize("key", [spec.key for spec in list_encoders() if not spec.commercial])
def test_what_is_not_free_is_refused_by_name_licence_and_source(key: str) -> None:
    spec = next(spec for spec in list_encoders() if spec.key == key)
    with pytest.raises(LicenceError) as caught:
        load_encoder(key, access=COMMERCIAL)
    assert spec.licence in str(caught.value)
    assert spec.licence_source in str(caught.value)


def test_a_dispute_is_named() -> None:
    with pytest.raises(LicenceError, match="card excludes deployed use"):
        load_encoder("gigapath", access=COMMERCIAL)


def test_what_is_free_is_not_refused() -> None:
    with pytest.raises(MissingWeightsError):
        load_encoder("virchow", access=COMMERCIAL)
    assert load_encoder("builtin", access=COMMERCIAL).spec.commercial


def test_weights_of_unknown_licence_are_refused_too(tmp_path: Path) -> None:
    weights = write_tiny_timm(tmp_path / "weights.safetensors")
    assert load_encoder(TINY_TIMM, weights, Access()).spec.licence == "as stated with the weights file"
    with pytest.raises(LicenceError, match="as stated with the weights file"):
        load_encoder(TINY_TIMM, weights, COMMERCIAL)


def test_slide_encoders_are_under_the_same_policy() -> None:
    assert load_slide_encoder("mean", COMMERCIAL).spec.commercial
    for spec in list_slide_encoders():
        if not spec.commercial:
            with pytest.raises(LicenceError):
                load_slide_encoder(spec.key, COMMERCIAL)


def test_the_environment_sets_the_policy_and_the_command_line_may_change_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONCOSCOPE_POLICY", "commercial")
    monkeypatch.setenv("ONCOSCOPE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("ONCOSCOPE_ONLINE", "1")
    try:
        assert allow(Settings()) == Access(folder=tmp_path, online=True, policy="commercial")
        with pytest.raises(LicenceError) as caught:
            load_encoder("uni")
        assert problem_of(caught.value)["status"] == 403
        assert problem_of(caught.value)["code"] == "licence"
        assert "CC-BY-NC-ND-4.0" in problem_of(caught.value)["detail"]
        assert allow(Settings(), policy="research").policy == "research"
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ONCOSCOPE_WEIGHTS", "own")  # workers elsewhere are told of the folder too
        assert allow(Settings()).folder == tmp_path / "own"
    finally:
        configure(Access())

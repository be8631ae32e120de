"""Every head passes the conformance kit, whatever the padding; the table refuses what it does not know."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mil import HEADS, Fit, FitSpec, HeadError, build_head, load_fit, save_fit
from mil.head import Setting
from mil.pooling import masked_softmax
from mil.testing import HeadConformance


class TestMeanHead(HeadConformance):
    name = "mean"


class TestMeanMlpHead(HeadConformance):
    name = "mean_mlp"


class TestAbmilHead(HeadConformance):
    name = "abmil"


class TestAbmilHeadOfOneLogit(HeadConformance):
    name = "abmil"
    out_dim = 1
    settings: Mapping[str, Setting] = {"hidden": 16, "attention": 4, "dropout": 0.5}


class TestAbmilMultiHead(HeadConformance):
    name = "abmil_multi"


class TestAbmilMultiHeadOfBranches(HeadConformance):
    name = "abmil_multi"
    out_dim = 3
    settings: Mapping[str, Setting] = {"heads": 2, "branches": True}


class TestAdditiveHead(HeadConformance):
    name = "additive"


class TestClamSbHead(HeadConformance):
    name = "clam_sb"


class TestClamSbHeadOfOneLogit(HeadConformance):
    name = "clam_sb"
    out_dim = 1


class TestClamMbHead(HeadConformance):
    name = "clam_mb"
    out_dim = 3
    settings: Mapping[str, Setting] = {"k": 2, "subtyping": False}


class TestDsmilHead(HeadConformance):
    name = "dsmil"


class TestDsmilHeadOfOneLogit(HeadConformance):
    name = "dsmil"
    out_dim = 1


class TestInstanceMaxHead(HeadConformance):
    name = "instance_max"


class TestNoisyOrHead(HeadConformance):
    name = "noisy_or"
    duplicate_invariant = False


class TestNoisyOrHeadOfOneConcept(HeadConformance):
    name = "noisy_or"
    out_dim = 1
    duplicate_invariant = False
    settings: Mapping[str, Setting] = {"concepts": 1, "tiles": 500.0}


class TestTransformerHead(HeadConformance):
    name = "transformer"


class TestTransformerHeadOfThreeLayers(HeadConformance):
    name = "transformer"
    out_dim = 1
    settings: Mapping[str, Setting] = {"layers": 3, "heads": 2, "hidden": 16}


class TestTransformerHeadOnBagsLongerThanItsContext(HeadConformance):
    name = "transformer"
    settings: Mapping[str, Setting] = {"context": 3, "hidden": 16}
    duplicate_invariant = False  # twice the tiles are dealt into twice the groups


class TestIlraHead(HeadConformance):
    name = "ilra"
    settings: Mapping[str, Setting] = {"latents": 8}


class TestDtfdHead(HeadConformance):
    name = "dtfd"
    settings: Mapping[str, Setting] = {"groups": 3}


class TestDtfdHeadOfMoreGroupsThanTiles(HeadConformance):
    name = "dtfd"
    out_dim = 1
    settings: Mapping[str, Setting] = {"groups": 20, "splits": 2, "inner": "dsmil"}


class TestDtfdHeadAroundClam(HeadConformance):
    name = "dtfd"
    settings: Mapping[str, Setting] = {"groups": 2, "inner": "clam_sb"}


@settings(max_examples=8)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5), extra=st.integers(0, 6), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_bag_scores_the_same_in_any_company(name: str, sizes: list[int], extra: int, seed: int) -> None:
    torch.manual_seed(seed)
    head = build_head(name, 6).eval()
    longest = max(sizes) + extra
    features = torch.randn(len(sizes), longest, 6)
    mask = torch.arange(longest)[None] < torch.tensor(sizes)[:, None]
    together = head(features, mask, explain=True)
    for i, size in enumerate(sizes):
        alone = head(features[i : i + 1, :size], mask[i : i + 1, :size], explain=True)
        torch.testing.assert_close(together.logits[i], alone.logits[0])
        if head.additive:
            torch.testing.assert_close(together.contributions[i, :size], alone.contributions[0])


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), spread=st.floats(0, 1e4))
def test_masked_softmax_is_a_distribution_over_tiles_only(sizes: list[int], spread: float) -> None:
    mask = torch.arange(9)[None] < torch.tensor(sizes)[:, None]
    weight = masked_softmax(torch.randn(len(sizes), 9) * spread, mask)
    assert not bool(weight[~mask].any())
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(len(sizes)))


def test_attention_is_equation_9_of_ilse() -> None:
    torch.manual_seed(0)
    head = build_head("abmil", 5, 1, {"hidden": 4, "attention": 3}).eval()
    tiles = torch.randn(7, 5)
    weights = dict(head.named_parameters())
    hidden = torch.relu(tiles @ weights["embed.0.weight"].T + weights["embed.0.bias"])
    content = torch.tanh(hidden @ weights["content.weight"].T + weights["content.bias"])
    gate = torch.sigmoid(hidden @ weights["gate.weight"].T + weights["gate.bias"])
    alpha = torch.softmax(((content * gate) @ weights["weigh.weight"].T)[:, 0], dim=0)
    logit = (alpha @ hidden) @ weights["read.weight"].T + weights["read.bias"]
    output = head(tiles[None], torch.ones(1, 7, dtype=torch.bool), explain=True)
    torch.testing.assert_close(output.attention[0], alpha)
    torch.testing.assert_close(output.logits[0], logit)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("transformer-xl", {}, "there are abmil, abmil_multi"),
        ("mean", {"attention": 3}, "no setting attention"),
        ("abmil", {"dropout": 7}, "cannot be built"),
        ("abmil", {"hidden": 0}, "cannot be built"),
        ("abmil", {"dropout": float("nan")}, "cannot be built"),
        ("noisy_or", {"concepts": 0}, "cannot be built"),
        ("clam_sb", {"k": -5}, "cannot be built"),
        ("clam_mb", {"bag_weight": 7.0}, "cannot be built"),
        ("dtfd", {"bag_weight": 7.0}, "cannot be built"),
        ("abmil", {"hidden": 8.0}, "hidden of a head must be a whole number"),
        ("abmil", {"hidden": True}, "hidden of a head must be a whole number"),
        ("abmil", {"dropout": "0.5"}, "dropout of a head must be a number"),
        ("abmil_multi", {"branches": 1}, "branches of a head must be true or false"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, settings: dict[str, Setting], words: str) -> None:
    with pytest.raises(HeadError, match=words):
        build_head(name, 4, settings=settings)


def test_a_text_among_the_settings_is_saved_and_loaded(tmp_path: Path) -> None:
    head = build_head("dtfd", 6, 1, {"inner": "dsmil", "hidden": 8}).eval()
    fitted = Fit("dtfd", head, FitSpec(settings=(("inner", "dsmil"), ("hidden", 8))))
    save_fit(fitted, tmp_path)
    again = load_fit(tmp_path)
    assert (again.digest, again.spec) == (fitted.digest, fitted.spec)
    tiles, mask = torch.randn(1, 9, 6), torch.ones(1, 9, dtype=torch.bool)
    assert torch.equal(again.head(tiles, mask).logits, head(tiles, mask).logits)


def test_weights_keep_the_names_under_which_heads_were_saved() -> None:
    names = {"mean", "scale", "embed.0.weight", "embed.0.bias", "read.weight", "read.bias"}
    assert set(build_head("mean", 3).state_dict()) == names
    names |= {"content.weight", "content.bias", "gate.weight", "gate.bias", "weigh.weight"}
    assert set(build_head("abmil", 3).state_dict()) == names


def test_importing_mil_loads_no_torch() -> None:
    code = "import mil, sys; mil.roc_auc; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there() -> None:
    import mil

    assert all(getattr(mil, name) is not None for name in mil.__all__)
    assert callable(mil.fit)
    with pytest.raises(AttributeError):
        mil.nothing_of_the_kind  # noqa: B018

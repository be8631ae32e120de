"""The fused head: all that heads must do, zooms that are absent, and what each tile and zoom added."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil import Head, HeadError, build_head
from mil.head import Setting, settings_of
from mil.testing import HeadConformance
from mil.zoom.head import ZoomHead, ZoomSettings
from mil.zoom.plan import Zoom, ZoomPlan

PLAN = ZoomPlan((Zoom(0.5, "a@0", 5), Zoom(0.5, "b@0", 3), Zoom(2.0, "c@0", 4)))
SIZES = (9, 9, 4)


class TestZooms(HeadConformance):
    name = "zooms"
    in_dim = PLAN.width
    settings: Mapping[str, Setting] = {"widths": PLAN.widths, "hidden": 8, "attention": 4, "fused": 6, "absent": 0.5}


def rows(seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    widths = [zoom.width for zoom in PLAN.zooms]
    parts = [rng.normal(slot, 2 + slot, (SIZES[slot], width)).astype(np.float32) for slot, width in enumerate(widths)]
    return np.concatenate([PLAN.rows(slot, part) for slot, part in enumerate(parts)])


def made() -> ZoomHead:
    head = TestZooms().make()
    assert isinstance(head, ZoomHead)
    return head


def run(head: Head, features: NDArray[np.float32], mask: NDArray[np.bool_] | None = None) -> Tensor:
    shown = np.ones(len(features), bool) if mask is None else mask
    with torch.no_grad():
        logits: Tensor = head(torch.from_numpy(features)[None], torch.from_numpy(shown)[None]).logits
    return logits


@pytest.mark.parametrize("gone", [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}])
def test_a_zoom_that_is_absent_is_a_zoom_that_is_masked(gone: set[int]) -> None:
    head, features = made(), rows()
    there = ~np.isin(PLAN.zoom_of(features), list(gone))
    torch.testing.assert_close(run(head, features[there]), run(head, features, there))
    assert not torch.allclose(run(head, features), run(head, features, there), atol=1e-3)


def test_the_fusion_is_the_formula() -> None:
    """Z = sum_s g_s W_s z_s, g = softmax(u . tanh(V W_s z_s)), each zoom pooled by its own gated attention."""
    head, features = made(), rows()
    head.mean.zero_()
    head.scale.fill_(1)
    zoom, block = PLAN.zoom_of(features), head.blocks
    met = []
    for slot in range(3):
        hidden = head.embeds[slot](torch.from_numpy(features[zoom == slot][:, block[slot]]))  # [n, H]
        alpha = head.attends[slot](hidden[None], torch.ones(1, len(hidden), dtype=torch.bool))[0]  # [n, 1]
        met.append(head.meet[slot]((alpha * hidden).sum(dim=0)))
    together = torch.stack(met)
    gate = torch.softmax(head.gate(torch.tanh(head.content(together))), dim=0)
    torch.testing.assert_close(run(head, features)[0], head.read((gate * together).sum(dim=0)))


def test_what_zooms_added_sums_to_the_logit_and_gates_to_one() -> None:
    head, features = made(), rows()
    with torch.no_grad():
        output = head(torch.from_numpy(features)[None], torch.ones(1, len(features), dtype=torch.bool), explain=True)
    zoom = torch.from_numpy(PLAN.zoom_of(features))
    added = torch.stack([output.contributions[0, zoom == slot].sum(dim=0) for slot in range(3)])
    gates = torch.stack([output.attention[0, zoom == slot].sum() for slot in range(3)])
    torch.testing.assert_close(added.sum(dim=0) + head.bias, output.logits[0])
    assert float(gates.sum()) == pytest.approx(1)
    assert float(gates.min()) > 0


def test_each_zoom_is_standardised_by_its_own_tiles() -> None:
    """Although the buffers are of all rows: share, mean and deviation of a zoom follow from them."""
    head, features = made(), rows()
    head.mean.copy_(torch.from_numpy(features.mean(axis=0)))
    deviation = features.std(axis=0)
    head.scale.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1)))
    for slot in range(3):
        mine = features[PLAN.zoom_of(features) == slot][:, head.blocks[slot]]
        mean, scale = head.own(slot)
        np.testing.assert_allclose(mean.numpy(), mine.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(scale.numpy(), mine.std(axis=0), rtol=1e-3)


def test_a_zoom_that_was_not_there_in_training_is_left_as_it_is() -> None:
    head, features = made(), rows()
    features = features[PLAN.zoom_of(features) != 1]
    head.mean.copy_(torch.from_numpy(features.mean(axis=0)))
    head.scale.fill_(1)
    mean, scale = head.own(1)
    assert (mean == 0).all()
    assert (scale == 1).all()


def test_an_absent_zoom_does_not_spoil_the_gradient() -> None:
    head, features = made(), rows()
    here = features[PLAN.zoom_of(features) != 1]
    head(torch.from_numpy(here)[None], torch.ones(1, len(here), dtype=torch.bool)).logits.sum().backward()
    gradients = [parameter.grad for parameter in head.parameters()]
    assert all(gradient is None or bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def test_zooms_are_hidden_in_training_but_never_all() -> None:
    head, features = made(), torch.from_numpy(rows())[None].repeat(64, 1, 1)
    head.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        output = head(features, torch.ones(features.shape[:2], dtype=torch.bool), explain=True)
    zoom = torch.from_numpy(PLAN.zoom_of(features[0].numpy()))
    seen = torch.stack([output.attention[:, zoom == slot].sum(dim=1) > 0 for slot in range(3)], dim=1)
    assert bool(seen.any(dim=1).all())
    assert {tuple(row) for row in seen.int().tolist()} >= {(1, 1, 1), (1, 0, 0), (0, 1, 1)}


@pytest.mark.parametrize("widths", ["5,3", "5,3,5", "12,0,0", "-1,8,5"])
def test_widths_that_do_not_fit_are_refused(widths: str) -> None:
    with pytest.raises(HeadError, match="must sum to the width"):
        build_head("zooms", PLAN.width, 1, {"widths": widths})


def test_widths_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(HeadError, match="cannot be built"):
        build_head("zooms", PLAN.width, 1, {"widths": "five"})


def test_a_head_of_one_zoom_needs_no_widths() -> None:
    head = build_head("zooms", 6)
    assert settings_of(head)["widths"] == ""
    assert isinstance(head.settings, ZoomSettings)
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    assert run(head.eval(), features).shape == (1, 1)

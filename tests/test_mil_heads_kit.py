"""The conformance kit has teeth: each seeded defect is found by the test that is there for it; a sound head passes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from mil import HEADS
from mil.head import Head, HeadOutput, HeadSettings
from mil.testing import HeadConformance


class SoundHead(Head):
    """Mean of what a linear layer says of each tile; the defective heads below spoil one thing each."""

    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.read = nn.Linear(in_dim, out_dim)

    @property
    def bias(self) -> Tensor:
        return self.read.bias

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        weight = mask / mask.sum(dim=1, keepdim=True)
        parts = weight[..., None] * (features @ self.read.weight.T)
        logits = torch.einsum("bn,bnd->bd", weight, features) @ self.read.weight.T + self.read.bias
        return HeadOutput(logits, parts, weight) if explain else HeadOutput(logits, None, None)


class AttendsPadding(SoundHead):
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return super().pool(features, torch.ones_like(mask), explain=explain)


class ChangesWhenAsked(SoundHead):
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return super().pool(features + 0.1 * explain, mask, explain=explain)


class ReadsTheOrder(SoundHead):
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return super().pool(features * torch.arange(1, mask.shape[1] + 1)[:, None], mask, explain=explain)


class CountsTiles(SoundHead):
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return super().pool(features * mask.sum(dim=1)[:, None, None], mask, explain=explain)


class LooksAtItsNeighbours(SoundHead):
    """Standardises over the batch, as batch norm in training mode would."""

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return super().pool(features - features.mean(dim=(0, 1)), mask, explain=explain)


class SumsToSomethingElse(SoundHead):
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        output = super().pool(features, mask, explain=explain)
        return HeadOutput(output.logits * 1.01, output.contributions, output.attention)


class ClaimsToAddUp(SoundHead):
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        output = super().pool(features, mask, explain=explain)
        return HeadOutput(output.logits, None, output.attention)


class HasAnIdleWeight(SoundHead):
    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.idle = nn.Linear(2, 2)


class LetsGradientIntoPadding(SoundHead):
    def forward(self, features: Tensor, mask: Tensor, *, explain: bool = False) -> HeadOutput:
        output = super().forward(features, mask, explain=explain)
        return HeadOutput(output.logits + features.mean(), output.contributions, output.attention)


class HalvesInMixedPrecision(SoundHead):
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return super().pool(features * (0.5 if torch.is_autocast_enabled("cpu") else 1.0), mask, explain=explain)


class ClimbsWhenTrained(SoundHead):
    def objective(
        self, features: Tensor, mask: Tensor, bag_loss: Callable[[Tensor], Tensor], one_hot: Tensor | None
    ) -> Tensor:
        return -super().objective(features, mask, bag_loss, one_hot)


class NeedsTheLabel(SoundHead):
    def objective(
        self, features: Tensor, mask: Tensor, bag_loss: Callable[[Tensor], Tensor], one_hot: Tensor | None
    ) -> Tensor:
        assert one_hot is not None, "no label"
        return super().objective(features, mask, bag_loss, one_hot)


class ClaimsToBeMonotone(SoundHead):
    respects_mil_assumption: ClassVar[bool] = True


class ScoresNothing(SoundHead):
    def forward(self, features: Tensor, mask: Tensor, *, explain: bool = False) -> HeadOutput:
        return super().forward(features, mask | ~mask.any(dim=1, keepdim=True), explain=explain)


class ForgetsASetting(SoundHead):
    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__(in_dim, out_dim, HeadSettings())
        self.grown = settings.hidden

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return super().pool(features * self.grown, mask, explain=explain)


class BreaksOnOneTile(SoundHead):
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return super().pool(features / (mask.sum(dim=1) - 1)[:, None, None], mask, explain=explain)


DEFECTS: list[tuple[type[Head], str]] = [
    (AttendsPadding, "test_padding_does_not_matter"),
    (AttendsPadding, "test_a_batch_scores_as_its_members"),
    (ChangesWhenAsked, "test_asking_why_changes_nothing"),
    (ReadsTheOrder, "test_order_of_tiles_does_not_matter"),
    (CountsTiles, "test_a_tile_twice_is_a_tile_once"),
    (LooksAtItsNeighbours, "test_a_batch_scores_as_its_members"),
    (SumsToSomethingElse, "test_contributions_sum_to_the_logit"),
    (ClaimsToAddUp, "test_contributions_sum_to_the_logit"),
    (HasAnIdleWeight, "test_every_weight_learns"),
    (LetsGradientIntoPadding, "test_every_weight_learns"),
    (HalvesInMixedPrecision, "test_mixed_precision_is_close"),
    (ClimbsWhenTrained, "test_what_is_minimised_goes_down"),
    (NeedsTheLabel, "test_what_is_minimised_goes_down"),
    (ClaimsToBeMonotone, "test_one_more_tile_lowers_nothing"),
    (ScoresNothing, "test_no_tile_is_refused"),
    (ForgetsASetting, "test_settings_rebuild_the_head"),
    (BreaksOnOneTile, "test_one_tile_is_enough"),
]


class Kit(HeadConformance):
    name = "under-test"
    settings = {"hidden": 3}  # noqa: RUF012 # as a user of the kit would write it


TESTS = [name for name in dir(HeadConformance) if name.startswith("test_")]


def under_test(kind: type[Head], monkeypatch: pytest.MonkeyPatch) -> Kit:
    monkeypatch.setitem(HEADS, "under-test", f"{__name__}:{kind.__name__}")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[kind.__module__])
    return Kit()


@pytest.mark.parametrize(("kind", "test"), DEFECTS, ids=lambda value: getattr(value, "__name__", value))
def test_the_kit_finds_the_defects_it_is_there_for(
    kind: type[Head], test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = under_test(kind, monkeypatch)
    with pytest.raises(AssertionError):
        getattr(kit, test)()


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_head_passes(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    getattr(under_test(SoundHead, monkeypatch), test)()


def test_every_test_of_the_kit_has_a_defect_that_it_finds() -> None:
    assert {test for _, test in DEFECTS} == set(TESTS)

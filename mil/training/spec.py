"""How heads are trained: one frozen dataclass, whose fields are the keys of `[training]` in an experiment."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from mil.errors import ExperimentError


@dataclass(frozen=True)
class TrainSpec:
    """How to train.

    Raises:
        ExperimentError: A value makes no sense; names the key.
    """

    epochs: int = 60
    """At most; early stopping ends most fits sooner."""
    min_epochs: int = 10
    """The loss of the first epochs says little, so none of them stops the fit."""
    patience: int = 10
    """Epochs without a better validation loss before stopping."""
    batch: int = 32
    """Cases a step: enough for both classes to be there and for a step to cost little beside its arithmetic."""
    steps: int = 10
    """Steps an epoch has at least: a small cohort is gone through several times, so that epochs mean something."""
    tiles: int = 2048
    """At most so many random tiles of a training case; bounds memory and makes each epoch see another bag."""
    keep: float = 0.5
    """At least this share of a case (below `tiles`) is drawn, so that the head does not learn the size of slides."""
    lr: float = 1e-3
    """AdamW's step at its highest, the one of eva's fixed protocol for ABMIL."""
    weight_decay: float = 1e-2
    """AdamW's own default."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Cosine ends the last epoch at a step of 0 (Loshchilov & Hutter, ICLR 2017, arXiv:1608.03983)."""
    warm_up: float = 0.05
    """Share of all steps over which the step grows from nothing; 0 starts at once."""
    clip: float = 1.0
    """Longest gradient; 0 for any length."""
    noise: float = 0.01
    """Deviation of the noise on the features, in deviations of the training cases; 0 for none."""
    ema: float = 0.99
    """How much of the average of past weights is kept a step; 0 for no average (Polyak & Juditsky 1992)."""
    validation: float = 0.2
    """Share of the patients of a training fold that choose the epoch and teach nothing; 0 keeps the last epoch."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, low = getattr(self, field.name), 0 if field.name in MAY_BE_NOTHING else 1e-12
            top = 1 if field.name in SHARES else float("inf")
            if isinstance(value, int | float) and not low <= value <= top:
                raise ExperimentError(f'"{field.name}" of [training] is {value}, which makes no sense.')
        if self.ema >= 1 or self.validation >= 1 or self.warm_up >= 1:
            raise ExperimentError('"ema", "validation" and "warm_up" of [training] must be below 1.')


MAY_BE_NOTHING = frozenset({"weight_decay", "warm_up", "clip", "noise", "ema", "min_epochs", "validation"})
SHARES = frozenset({"keep", "ema", "validation", "warm_up"})

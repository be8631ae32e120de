"""A number: Huber or squared error in standard units, or three quantiles that cannot cross."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mil.errors import ExperimentError, LabelError
from mil.tasks.decisions import mean_known
from mil.tasks.task import Kind, Task
from mil.tasks.texts import Table, numbers

QUANTILES = (0.5, 0.05, 0.95)
"""In the order of the logits: the middle, and the two ends of an interval that holds nine of ten."""


@dataclass(frozen=True)
class Regression(Task):
    """One column of numbers; targets stay in its units, logits are in standard units of the training cases."""

    column: str = "value"
    loss: Literal["huber", "mse"] = "huber"
    """Huber's bends to a straight line one standard unit away, so that a few odd values do not rule."""
    quantiles: bool = False
    """Learn the 5 %, 50 % and 95 % quantile (Koenker & Bassett 1978, pinball loss) in place of `loss`."""
    log1p: bool = False
    """Learn log(1 + value): for counts and burdens with a long tail."""
    centre: float = 0.0
    """Mean of the training cases (after log1p), settled by `fit_to`."""
    spread: float = 1.0
    """Standard deviation of the training cases (after log1p), settled by `fit_to`."""
    kind: ClassVar[Kind] = "regression"

    def __post_init__(self) -> None:
        """Refuse a scale that is none.

        Raises:
            ExperimentError: The spread is not positive.
        """
        if self.spread <= 0:
            raise ExperimentError("The spread of a regression must be positive.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def outputs(self) -> int:
        """One logit, or three with quantiles."""
        return len(QUANTILES) if self.quantiles else 1

    @property
    def width(self) -> int:
        """One number."""
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def targets(self, table: Table) -> NDArray[np.float32]:
        """Read the numbers as they stand; with log1p they must not be negative.

        Args:
            table: Column -> texts.

        Returns:
            [cases, 1].
        """
        return numbers(table, self.column, 0.0 if self.log1p else -np.inf)[:, None]

    def check(self, targets: NDArray[np.float32]) -> None:
        """See that the numbers differ.

        Args:
            targets: [cases, 1].

        Raises:
            LabelError: There are not two different ones.
        """
        if len(np.unique(targets[~np.isnan(targets)])) < 2:
            raise LabelError(f"Column {self.column} needs two different numbers at least.")

    def fit_to(self, targets: NDArray[np.float32]) -> Regression:
        """Settle the standard units.

        Args:
            targets: Of the training cases [cases, 1].

        Returns:
            The task in their units.
        """
        self.check(targets)
        wide = targets[~np.isnan(targets)].astype(np.float64)
        scaled = np.log1p(wide) if self.log1p else wide
        return replace(self, centre=float(scaled.mean()), spread=float(scaled.std()))

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Huber, squared or mean pinball loss in standard units.

        Args:
            logits: [B, C].
            targets: [B, 1].

        Returns:
            [B].
        """
        known = ~targets.isnan()
        given = torch.where(known, targets, 0.0)
        truth = ((given.log1p() if self.log1p else given) - self.centre) / self.spread
        if not self.quantiles:
            measure = functional.huber_loss if self.loss == "huber" else functional.mse_loss
            return mean_known(measure(logits.float(), truth, reduction="none"), known)
        middle, below, above = logits.float().unbind(dim=1)
        ordered = torch.stack([middle, middle - functional.softplus(below), middle + functional.softplus(above)], 1)
        error = truth - ordered  # [B, 3]
        level = error.new_tensor(QUANTILES)
        return mean_known(torch.maximum(level * error, (level - 1) * error), known.expand_as(error))

    def strata(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """The quarter of the cases that it falls into.

        Args:
            targets: [cases, 1].

        Returns:
            0 to 3, -1 where not known [cases].
        """
        values = targets[:, 0]
        known = ~np.isnan(values)
        cuts = np.quantile(values[known], (0.25, 0.5, 0.75)) if known.any() else np.zeros(3)
        return np.where(known, np.searchsorted(cuts, values, side="left"), -1).astype(np.int64)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The value, or the quantiles from low to high, in the units of the column.

        Args:
            logits: [cases, C].

        Returns:
            [cases, 1] or [cases, 3] (5 %, 50 %, 95 %), never falling along a row.
        """
        wide = logits.astype(np.float64)
        if self.quantiles:
            low, high = np.logaddexp(0.0, wide[:, 1]), np.logaddexp(0.0, wide[:, 2])
            wide = np.stack([wide[:, 0] - low, wide[:, 0], wide[:, 0] + high], axis=1)
        scaled = wide * self.spread + self.centre
        return np.asarray(np.expm1(np.minimum(scaled, 700.0)) if self.log1p else scaled)

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The value, or the median with quantiles, in standard units.

        Args:
            logits: [cases, C].

        Returns:
            [cases].
        """
        return logits[:, 0].astype(np.float64)

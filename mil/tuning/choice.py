"""Which trial wins: the smallest head that is not worse than the best by more than the best's standard error.

The one-standard-error rule of Breiman et al. 1984 (Classification and Regression Trees, section 3.4.3): what a search
finds best of many is partly luck, so that of equals the simplest is taken.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from mil.errors import ExperimentError
from mil.extra import library
from mil.tuning.search import FAULT, FOLDS, VALUES, WEIGHTS
from mil.tuning.space import Value


@dataclass(frozen=True)
class Trial:
    """One setting and what came of it."""

    number: int
    state: str
    """`complete`, `pruned` (lagged behind), or `fail` with a fault."""
    values: dict[str, Value]
    folds: tuple[float, ...]
    """Figure of each inner fold that was judged."""
    weights: int
    """Of the head; 0 where none was fitted."""
    fault: str | None

    @property
    def mean(self) -> float | None:
        """Over the folds."""
        return fmean(self.folds) if self.folds else None

    @property
    def error(self) -> float:
        """Standard error of the mean, over the folds."""
        return stdev(self.folds) / sqrt(len(self.folds))

    def table(self) -> dict[str, object]:
        """As JSON holds it.

        Returns:
            All there is.
        """
        return {**vars(self), "folds": list(self.folds), "mean": self.mean}


def trials_of(study: Any) -> list[Trial]:  # noqa: ANN401 - Optuna's own
    """The trials of a search that began.

    Args:
        study: Of Optuna.

    Returns:
        In the order in which they were asked for.
    """
    return [
        Trial(
            number=trial.number,
            state=trial.state.name.lower(),
            values=trial.user_attrs[VALUES],
            folds=tuple(trial.user_attrs.get(FOLDS, ())),
            weights=trial.user_attrs.get(WEIGHTS, 0),
            fault=trial.user_attrs.get(FAULT),
        )
        for trial in study.get_trials(deepcopy=False)
        if VALUES in trial.user_attrs
    ]


def winner_of(trials: Sequence[Trial]) -> Trial:
    """Choose.

    Args:
        trials: Of one search.

    Returns:
        The winner; of equally small heads the one of the best mean, then the first.

    Raises:
        ExperimentError: No trial came through.
    """
    whole = [(trial, trial.mean) for trial in trials if trial.state == "complete" and trial.mean is not None]
    if not whole:
        why = next((trial.fault for trial in trials if trial.fault), "")
        raise ExperimentError(f"No setting could be judged. {why}".strip())
    best, top = max(whole, key=lambda pair: pair[1])
    near = [pair for pair in whole if pair[1] >= top - best.error]
    return min(near, key=lambda pair: (pair[0].weights, -pair[1], pair[0].number))[0]


def importance_of(study: Any) -> dict[str, float] | None:  # noqa: ANN401 - Optuna's own
    """How much each key decided between good and bad trials (PED-ANOVA; Watanabe et al., IJCAI 2023).

    Args:
        study: Of Optuna.

    Returns:
        Key -> share, the largest first; only keys that every whole trial has. None with too few different trials.
    """
    states = library("optuna.trial").TrialState
    whole = study.get_trials(deepcopy=False, states=(states.COMPLETE,))
    if len({trial.value for trial in whole}) < 2:
        return None
    with warnings.catch_warnings():  # of few trials no share is exact; the table is read beside their number
        warnings.filterwarnings("ignore", "Some regimes for parameter", UserWarning)
        found = library("optuna.importance").get_param_importances(study)
    return {key: float(share) for key, share in found.items()}

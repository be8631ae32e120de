"""Thresholds, which are never chosen on what they judge: a threshold knows whose scores it was chosen on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.errors import MetricError
from mil.judging.ranking import Ranking

RULES: Final = ("youden", "specificity_90", "specificity_95", "sensitivity_90", "sensitivity_95")
"""Where to cut: most of sensitivity + specificity - 1 (Youden 1950), or a rate in percent that is kept."""


@dataclass(frozen=True)
class Threshold:
    """A cut for a score; `choose` makes one."""

    rule: str
    cut: float
    """Yes is said to this score and above."""
    chosen_on: frozenset[str]
    """The patients whose out-of-fold scores it was chosen on."""

    def apply(self, scores: NDArray[np.float64], patients: Sequence[str]) -> NDArray[np.bool_]:
        """Say yes or no.

        Args:
            scores: [N].
            patients: Of each case [N].

        Returns:
            True for yes [N].

        Raises:
            MetricError: A patient is one that the threshold was chosen on; names the row.
        """
        for row, patient in enumerate(patients):
            if patient in self.chosen_on:
                raise MetricError(f"Row {row + 1}: the threshold was chosen on this patient, so it cannot judge it.")
        return scores >= self.cut


def choose(
    rule: str, truth: NDArray[np.float64], scores: NDArray[np.float64], patients: Sequence[str], centre: float = 0.0
) -> Threshold:
    """Choose a threshold on out-of-fold scores.

    Args:
        rule: One of `RULES`.
        truth: 0 or 1 [N].
        scores: Of models that did not see these cases [N].
        patients: Of each case [N].
        centre: Where to cut if the cases are of one class, so that nothing can be chosen; 0 for logits.

    Returns:
        The threshold, half way to the next score below, so that a hair does not change an answer.

    Raises:
        MetricError: There is no such rule.
    """
    if rule not in RULES:
        raise MetricError(f"There is no rule {rule} for a threshold; there are {', '.join(RULES)}.")
    if np.unique(truth).size < 2:
        return Threshold(rule, centre, frozenset(patients))
    ranking = Ranking(truth, scores)
    curve = ranking.curve()
    true, false = curve["recall"], curve["false_positive_rate"]
    edges = np.concatenate([[ranking.cuts[0] + 1.0], ranking.cuts, [ranking.cuts[-1] - 1.0]])
    place = _PLACES[rule.partition("_")[0]](true, false, int(rule.partition("_")[2] or 0) / 100)
    return Threshold(rule, float((edges[place] + edges[place + 1]) / 2), frozenset(patients))


def _youden(true: NDArray[np.float64], false: NDArray[np.float64], kept: float) -> int:
    del kept
    return int(np.argmax(true - false))


def _specific(true: NDArray[np.float64], false: NDArray[np.float64], kept: float) -> int:
    del true
    return int(np.flatnonzero(1 - false >= kept - 1e-9)[-1])


def _sensitive(true: NDArray[np.float64], false: NDArray[np.float64], kept: float) -> int:
    del false
    return int(np.flatnonzero(true >= kept - 1e-9)[0])


_PLACES: Final[dict[str, Callable[[NDArray[np.float64], NDArray[np.float64], float], int]]] = {
    "youden": _youden,
    "specificity": _specific,
    "sensitivity": _sensitive,
}


def cross_fitted(
    rule: str,
    truth: NDArray[np.float64],
    scores: NDArray[np.float64],
    patients: Sequence[str],
    folds: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], list[Threshold]]:
    """Decide on out-of-fold scores: the threshold of each fold is chosen on the other folds.

    Args:
        rule: One of `RULES`.
        truth: 0 or 1 [N].
        scores: Out-of-fold [N].
        patients: Of each case [N].
        folds: In which fold each case was judged [N].

    Returns:
        True for yes [N], and the threshold of each fold.
    """
    said, used = np.zeros(truth.size, bool), []
    names = np.asarray(patients, np.str_)
    for fold in np.unique(folds):
        held = folds == fold
        used.append(choose(rule, truth[~held], scores[~held], names[~held].tolist()))
        said[held] = used[-1].apply(scores[held], names[held].tolist())
    return said, used

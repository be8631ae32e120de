"""What is judged, and what may be known beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mil.errors import MetricError
from mil.judging.bootstrap import Resampling

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cases:
    """Cases with what was said of them and what is true.

    Raises:
        MetricError: The arrays are not of the same cases, or something said is not finite; names the row.
    """

    targets: Array
    """[N, T], NaN where not known."""
    probabilities: Array
    """What the task makes of the logits [N, K]."""
    scores: Array
    """To rank by [N]; of several questions one each [N, Q]."""
    patients: tuple[str, ...]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Column -> text of each case, "" where not known."""
    folds: NDArray[np.int64] | None = None
    """In which fold each case was judged, where the scores are out of fold [N]."""

    def __post_init__(self) -> None:
        n = len(self.patients)
        lengths = {len(self.targets), len(self.probabilities), len(self.scores), *map(len, self.groups.values())}
        if lengths != {n} or not n:
            raise MetricError("Targets, probabilities, scores, patients and groups must be of the same cases.")
        bad = ~(np.isfinite(self.probabilities).all(axis=1) & np.isfinite(self.scores.reshape(n, -1)).all(axis=1))
        if bad.any():
            raise MetricError(f"Row {int(bad.argmax()) + 1}: the score is not a finite number.")

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def cluster(self) -> NDArray[np.int64]:
        """Number of the patient of each case [N]."""
        return np.unique(np.asarray(self.patients, np.str_), return_inverse=True)[1].astype(np.int64)

    def take(self, rows: NDArray[np.int64]) -> Cases:
        """Some of the cases.

        Args:
            rows: Which.

        Returns:
            These.
        """
        return Cases(
            self.targets[rows],
            self.probabilities[rows],
            self.scores[rows],
            tuple(self.patients[row] for row in rows),
            {name: [texts[row] for row in rows] for name, texts in self.groups.items()},
            None if self.folds is None else self.folds[rows],
        )

    def known(self) -> Cases:
        """The cases whose target is known.

        Returns:
            Some of them.

        Raises:
            MetricError: There is none.
        """
        rows = np.flatnonzero(~np.isnan(self.targets).any(axis=1))
        if not rows.size:
            raise MetricError("No case has a known label, so nothing can be judged.")
        return self.take(rows)


@dataclass(frozen=True, eq=False)
class Asked:
    """How cases are judged."""

    count: int = 2000
    """Resamples of each interval."""
    seed: int = 0
    prevalence: float | None = None
    """Share of positives where the answers would be used; None if nothing was stated."""
    reference: Cases | None = None
    """Out-of-fold cases of training, on which thresholds are chosen; None where these cases are they."""

    def resampling(self, cases: Cases, strata: NDArray[np.int64]) -> Resampling:
        """Prepare resampling of some cases.

        Args:
            cases: The cases.
            strata: Of each [N].

        Returns:
            Patients drawn within strata.
        """
        return Resampling.of(cases.patients, strata, count=self.count, seed=self.seed)

"""One search: trials are asked for and told here, folds are judged on a pool, and what lags behind is given up.

A trial's next fold is handed out only when the last has come back, so that a trial that is given up costs nothing
more. As many trials are under way as the pool takes; with the same pool the same trials are made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Final

import numpy as np

from mil.errors import MilError
from mil.extra import library
from mil.folds import FoldSpec
from mil.tuning.cases import Source
from mil.tuning.plan import Plan
from mil.tuning.space import choose
from mil.tuning.tries import Judged, Try, judge_try
from tiling.errors import WorkerKilledError
from tiling.pool import Outcome, Pool

FOLDS: Final = "folds"
WEIGHTS: Final = "weights"
VALUES: Final = "values"
FAULT: Final = "fault"
"""What is kept of a trial beside its parameters."""
Told = Callable[[int, int], None]
"""Told how many trials have ended, and how many there will be."""


def lags(figures: list[float], others: list[list[float]], startup: int) -> bool:
    """Whether a trial is given up: its mean over the folds so far is below the median of the others' over the same.

    The median stopping rule of Golovin et al. (Google Vizier, KDD 2017), on the folds that all have in common.

    Args:
        figures: Of its folds so far.
        others: Of the folds of other trials.
        startup: So many others must have come as far.

    Returns:
        True where it is.
    """
    so_far = len(figures)
    means = [fmean(other[:so_far]) for other in others if len(other) >= so_far]
    return len(means) >= startup and fmean(figures) < median(means)


@dataclass(eq=False)
class Search:
    """A search under way."""

    plan: Plan
    source: Source
    study: Any
    outer: int
    told: Told
    waiting: deque[Any] = field(default_factory=deque)
    """Trials whose next fold can be handed out."""
    sent: deque[Any] = field(default_factory=deque)
    """Handed out, in order."""

    def run(self, pool: Pool) -> None:
        """Search until there are as many trials as the plan wants; where the workers are gone, it ends in their error.

        Args:
            pool: Where folds are judged.
        """
        self._pick_up()
        while self.waiting or self._wants_more():
            for outcome in pool.outcomes(judge_try, self._hand_out()):
                self._take(self.sent.popleft(), outcome)

    def _pick_up(self) -> None:
        """Go on with what a killed process left; a trial whose values were not all chosen yet never began."""
        trials = library("optuna.trial")
        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.state.is_finished():
                continue
            trial = trials.Trial(self.study, frozen._trial_id)  # noqa: SLF001 - there is no other way back to a trial
            if VALUES in frozen.user_attrs:
                self._settle(trial)
            else:
                self.study.tell(trial, state=trials.TrialState.FAIL)
        self._report()

    def _hand_out(self) -> Iterator[Try]:
        """The next fold of a trial under way, else the first of a new one; ends where all must be waited for."""
        spec, by = self.plan.spec, self.plan.base.folds.by
        inner = FoldSpec(count=spec.inner, by="patient" if by == "patient" else "centre", seed=spec.seed)
        while self.waiting or self._wants_more():
            trial = self.waiting.popleft() if self.waiting else self._ask()
            self.sent.append(trial)
            about = trial.user_attrs
            yield Try(self.source, self.plan.changed(about[VALUES]), self.outer, inner, len(about.get(FOLDS, [])))

    def _ask(self) -> Any:  # noqa: ANN401 - Optuna's own
        """A new trial. What it proposes depends on the seed, on its number and on what has come back."""
        spec, number = self.plan.spec, len(self.study.get_trials(deepcopy=False))
        seed = np.random.SeedSequence([spec.seed, number, self.outer + 1]).generate_state(1)[0]

        self.study.sampler = library("optuna.samplers").TPESampler(seed=int(seed), n_startup_trials=spec.startup)
        trial = self.study.ask()
        trial.set_user_attr(VALUES, choose(self.plan.space, trial, self.plan.base.head))
        return trial

    def _take(self, trial: Any, outcome: Outcome[Judged]) -> None:  # noqa: ANN401 - Optuna's own
        """Note what came back. Settings that cannot be learnt with end their trial; any other error ends the search."""
        try:
            judged = outcome.get()
        except (MilError, WorkerKilledError) as error:
            trial.set_user_attr(FAULT, str(error))
            self.study.tell(trial, state=library("optuna.trial").TrialState.FAIL)
            self._report()
        else:
            trial.set_user_attr(WEIGHTS, judged.weights)
            trial.set_user_attr(FOLDS, [*trial.user_attrs.get(FOLDS, []), judged.figure])
            self._settle(trial)

    def _settle(self, trial: Any) -> None:  # noqa: ANN401 - Optuna's own
        """A trial has ended, or lags behind, or gets its next fold."""
        figures, states = trial.user_attrs.get(FOLDS, []), library("optuna.trial").TrialState
        others = [other.user_attrs.get(FOLDS, []) for other in self._begun() if other.number != trial.number]
        if len(figures) == self.plan.spec.inner:
            self.study.tell(trial, fmean(figures))
        elif figures and lags(figures, others, self.plan.spec.startup):
            trial.report(fmean(figures), len(figures))
            self.study.tell(trial, state=states.PRUNED)
        else:
            self.waiting.append(trial)
        self._report()

    def _begun(self) -> list[Any]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if VALUES in trial.user_attrs]

    def _wants_more(self) -> bool:
        return len(self._begun()) < self.plan.spec.trials

    def _report(self) -> None:
        ended = sum(trial.state.is_finished() for trial in self._begun())
        self.told(ended, max(self.plan.spec.trials, ended))

"""Which calibration: the simplest that is not beaten, by more than one standard error, on cases it has not seen.

By the number n of patients: slope alone (temperature) and slope with shift (Platt) always, beta from 200, isotonic
from 1000. All are fitted to logits out of fold, so none flatters the model that was trained on these cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.trust.affine import Affine, fit_affine
from mil.trust.beta import Beta, fit_beta
from mil.trust.isotonic import Isotonic, fit_isotonic
from mil.trust.losses import question_loss
from mil.trust.parts import parts_of, patient_rows, some_patients
from mil.trust.questions import Question

BETA_FROM, ISOTONIC_FROM = 200, 1000
Map = Affine | Beta | Isotonic
Fitter = Callable[[NDArray[np.float64], NDArray[np.float32]], Map]
Judge = Callable[[NDArray[np.float64], NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class Calibration:
    """The map of one question's logits, and what is known of it."""

    method: str
    map: Map
    patients: int
    """It was fitted to these."""
    before: float
    """Mean loss of the raw logits, nats."""
    after: float | None
    """The same, calibrated, on patients the map was not fitted to; None where too few could be held out."""

    def __str__(self) -> str:
        judged = "" if self.after is None else f"; log loss {self.before:.3f} -> {self.after:.3f} on patients held out"
        return f"{self.method} on {self.patients} patients out of fold{judged}"


def calibrate(
    question: Question,
    logits: NDArray[np.float64],
    targets: NDArray[np.float32],
    patients: Sequence[str],
) -> Calibration:
    """Fit the calibration of one question.

    Args:
        question: One with answers, or a hazard.
        logits: All logits of the task, out of fold [N, C].
        targets: [N, T]; cases whose answer is not known are left out.
        patients: One a case [N].

    Returns:
        The calibration chosen.

    Raises:
        CalibrationError: All known answers are of one class (it would be sharpened without end), or none is known.
    """
    truth = question.truth(targets)
    known = np.flatnonzero(truth >= 0)
    seen = len(np.unique(truth[known]))
    if seen < (1 if question.kind == "hazard" else 2):
        raise CalibrationError(
            f"Calibration needs cases of two classes out of fold; the {len(known)} known are of {seen}."
        )
    own, wanted = question.part(logits)[known], targets[known]
    people = some_patients(patients, known)
    count = int(patient_rows(people).max()) + 1
    fitters = _fitters(question, count)

    def judge(values: NDArray[np.float64], truths: NDArray[np.float32]) -> NDArray[np.float64]:
        return question_loss(question, truths, smooth=False)(values)[0]

    method, after = _choose(fitters, judge, own, wanted, parts_of(people, truth[known]))
    return Calibration(method, fitters[method](own, wanted), count, float(judge(own, wanted).mean()), after)


def _choose(
    fitters: Mapping[str, Fitter],
    judge: Judge,
    logits: NDArray[np.float64],
    targets: NDArray[np.float32],
    part: NDArray[np.int64],
) -> tuple[str, float | None]:
    """The simplest method that none beats by more than one standard error of the difference, and its loss."""
    best, losses = next(iter(fitters)), None
    if part.max() == 0:
        return best, None
    for method, fitter in fitters.items():
        own = np.empty(len(part))
        for index in range(int(part.max()) + 1):
            out = part == index
            own[out] = judge(fitter(logits[~out], targets[~out])(logits[out]), targets[out])
        gain = np.zeros(len(part)) if losses is None else losses - own
        if losses is None or gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
            best, losses = method, own
    return best, None if losses is None else float(losses.mean())


def _fitters(question: Question, count: int) -> dict[str, Fitter]:
    """The methods allowed for n patients, simplest first."""

    def affine(shifts: int) -> Fitter:
        return lambda logits, targets: fit_affine(question_loss(question, targets, smooth=True), logits, shifts)

    fitters: dict[str, Fitter] = {"temperature": affine(0)}
    if question.kind == "multiclass":
        return fitters | ({"temperature with shifts": affine(len(question.answers))} if count >= BETA_FROM else {})
    if question.kind == "ordinal":  # logits are a score and drops from it: no one number is a temperature
        return {"slope and shifts": affine(question.task.outputs)}
    if question.kind == "hazard":
        return {"slope and shift": affine(1)}
    fitters["Platt"] = affine(1)
    if count >= BETA_FROM:
        fitters["beta"] = lambda logits, targets: fit_beta(question_loss(question, targets, smooth=True), logits)
    if count >= ISOTONIC_FROM:
        fitters["isotonic"] = lambda logits, targets: fit_isotonic(logits, question.truth(targets))
    return fitters

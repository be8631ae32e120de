"""The verdict on every case of a cohort: by the run's better model, its trust, and the likeness to training."""

from __future__ import annotations

from mil.cohort.cohort import Cohort
from mil.experiment.folder import RunFolder
from mil.trust.streaming import pieces
from mil.trust.verdict import Verdict, verdict


def verdicts(run: RunFolder, cohort: Cohort) -> tuple[Verdict, ...]:
    """Say what may be said of cases that the run was not trained on.

    Args:
        run: Its winner scores: the head, or the linear model where the head did not beat it.
        cohort: Cases of the encoder and zooms of the run, a bag at a time in memory.

    Returns:
        One a case. Where no trust could be fitted all are referred.
    """
    head, known = run.record["winner"] == "head", run.outliers
    trust = run.trust("head" if head else "baseline")
    if trust is None:
        reason = "the run has too few cases to say what its scores are worth"
        return (Verdict("refer", f"refer, because {reason}", (reason,)),) * len(cohort)
    trusted = trust.apply(run.predict_logits(cohort) if head else run.predict_baseline(cohort))
    unlike = [
        () if known is None else known.judge(part for _, part in pieces(cohort, case)).reasons
        for case in range(len(cohort))
    ]
    return tuple(verdict(trusted, case, outlying=reasons) for case, reasons in enumerate(unlike))

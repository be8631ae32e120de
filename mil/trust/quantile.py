"""The finite-sample quantile of conformal prediction, with patients that have several cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mil.trust.parts import patient_rows


def conformal_quantile(scores: NDArray[np.float64], patients: Sequence[str], alpha: float) -> float | None:
    """The score below which the score of a new case lies with probability 1 - alpha.

    With one case a patient it is the ceil((n + 1)(1 - alpha))-th smallest (Vovk et al., 2005). A patient's cases
    share his weight 1 / (n + 1), and 1 / (n + 1) stands at infinity for the new one (Lee, Barber and Willett, 2023,
    arXiv:2306.06342): cases of one patient resemble each other and are not worth as many patients.

    Args:
        scores: How strange each case is [N].
        patients: One a case.
        alpha: Share of new cases that may be missed.

    Returns:
        The quantile; None where the n patients are too few for alpha (n < 1 / alpha - 1), so that any score may come.
    """
    if not len(scores):
        return None
    rows = patient_rows(patients)
    cases = np.bincount(rows)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(1.0 / cases[rows[order]]) / (len(cases) + 1.0)
    enough = np.flatnonzero(reached >= 1.0 - alpha - 1e-9)
    return float(scores[order[enough[0]]]) if enough.size else None

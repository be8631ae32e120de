"""Our figures of survival are those that torchsurv computes, where no event ties with a censoring.

torchsurv takes G(t) for the weights against censoring, we take G(t-), so that with ties it is another estimate.
"""

from __future__ import annotations

import json
import warnings
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from foundation.torchvision_shim import import_beside
from mil.judging.survival_brier import brier
from mil.judging.survival_concordance import concordance, dynamic_auc
from mil.judging.survival_outcomes import read_outcomes
from mil.judging.survival_product_limit import censoring_steps, survival_steps

CASES: Final = 300
MOST: Final = 1e-5
"""Largest difference: torchsurv sums in single precision."""


def main() -> None:
    """Compare, and print the largest difference of each figure."""
    random = np.random.default_rng(0)
    risk = random.normal(size=CASES)
    death, last = random.exponential(np.exp(-risk)), random.exponential(1.5, size=CASES)
    times, events = np.minimum(death, last), death <= last
    outcomes, ones = read_outcomes(times, events, risk), np.ones((1, CASES))
    grid, steps = np.quantile(times, (0.2, 0.5, 0.8)), censoring_steps(ones, outcomes)
    curves, free = np.exp(-np.outer(np.exp(risk), grid)), steps.before(times)
    errors = brier(ones, outcomes, curves, grid, uncensored=steps, everyone=survival_steps(ones, outcomes))
    harrell, uno = concordance(ones, outcomes, free, np.inf)
    ours = {"harrell": harrell, "uno": uno, "auc": dynamic_auc(ones, outcomes, free, grid)[0], "brier": errors.score[0]}
    weights, then = torch.tensor(1 / free[0]), torch.tensor(1 / steps.at(grid)[0])
    theirs = by_torchsurv(risk, events, times, grid, curves=curves, weights=weights, then=then)
    differences = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in ours}
    print(json.dumps({"cases": CASES, "largest_difference": differences}))
    assert max(differences.values()) < MOST


def by_torchsurv(
    risk: NDArray[np.float64],
    events: NDArray[np.bool_],
    times: NDArray[np.float64],
    grid: NDArray[np.float64],
    *,
    curves: NDArray[np.float64],
    weights: torch.Tensor,
    then: torch.Tensor,
) -> dict[str, NDArray[np.float64]]:
    """The same figures by torchsurv.

    Args:
        risk: [n].
        events: [n].
        times: [n].
        grid: [G].
        curves: Predicted survival [n, G].
        weights: 1 / G(t-) of each case [n].
        then: 1 / G(t) of each time of the grid [G].

    Returns:
        Figure -> values.
    """
    with warnings.catch_warnings():  # it uses torch.jit.script, which is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        metrics = import_beside("torchsurv.metrics")
    about, points = (torch.tensor(events), torch.tensor(times)), torch.tensor(grid)
    estimate, c_index = torch.tensor(risk), metrics.cindex.ConcordanceIndex()
    area = {"auc_type": "cumulative", "weight": weights, "new_time": points, "weight_new_time": then}
    found = {
        "harrell": c_index(estimate, *about),
        "uno": c_index(estimate, *about, weight=weights),
        "auc": metrics.auc.Auc()(estimate, *about, **area),
        "brier": metrics.brier_score.BrierScore()(torch.tensor(curves), *about, points, weights, then),
    }
    return {name: value.numpy().astype(np.float64) for name, value in found.items()}


if __name__ == "__main__":
    main()

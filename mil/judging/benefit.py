"""Decision curve: what acting on a score is worth, against treating everybody and nobody (Vickers & Elkin 2006)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = np.arange(1, 100) / 100
"""Probabilities at which one would act, in percent steps."""


def net_benefit(
    truth: NDArray[np.float64], probability: NDArray[np.float64], at: NDArray[np.float64] = STEPS
) -> dict[str, NDArray[np.float64]]:
    """Net benefit, TP/n - FP/n * p/(1-p), of acting where the probability is p or more.

    Args:
        truth: 0 or 1 [N].
        probability: Calibrated, of 1 [N].
        at: Probabilities p at which one would act, 0 < p < 1 [P].

    Returns:
        `at`, `model` and `all`, each [P]; nobody has 0.
    """
    harm = at / (1 - at)
    ranked, order = np.sort(probability), np.argsort(probability, kind="stable")
    below = np.searchsorted(ranked, at, side="left")  # cases with less than p
    positives = np.append(0.0, np.cumsum(truth[order]))
    true = positives[-1] - positives[below]
    false = truth.size - below - true
    base = float(truth.mean())
    return {"at": at, "model": (true - harm * false) / truth.size, "all": base - harm * (1 - base)}


def useful(curve: dict[str, NDArray[np.float64]]) -> list[list[float]]:
    """Where the model is worth more than treating everybody and nobody.

    Args:
        curve: From `net_benefit`.

    Returns:
        Ranges of p, first and last, in order; [] if nowhere.
    """
    better = np.asarray(curve["model"]) > np.maximum(np.asarray(curve["all"]), 0.0) + 1e-12
    edges = np.flatnonzero(np.diff(np.concatenate([[False], better, [False]]).astype(int)))
    return [[float(curve["at"][a]), float(curve["at"][b - 1])] for a, b in zip(edges[::2], edges[1::2], strict=True)]

"""Several classes: what is called what, and how far grades are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.figure import Json

AGREEMENT: Final = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")


def tables(
    truth: NDArray[np.int64], said: NDArray[np.int64], classes: int, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Confusion matrices.

    Args:
        truth: 0..K-1 [N].
        said: 0..K-1 [N].
        classes: Number K of classes.
        weights: [B, N].

    Returns:
        [B, K, K], rows the truth.
    """
    cells = np.zeros((truth.size, classes * classes))
    cells[np.arange(truth.size), truth * classes + said] = 1.0
    return (weights @ cells).reshape(-1, classes, classes)


def agreement(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The figures of `AGREEMENT`; the means are over the classes that occur.

    Args:
        table: [B, K, K].

    Returns:
        [B, 4]; the correlation of several classes is Gorodkin's (2004).
    """
    right, true, said = np.diagonal(table, axis1=1, axis2=2), table.sum(2), table.sum(1)
    total = table.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.nanmean(np.where(true > 0, right / true, np.nan), axis=1)
        f1 = np.nanmean(np.where(true + said > 0, 2 * right / (true + said), np.nan), axis=1)
        covariance = right.sum(1) * total - (true * said).sum(1)
        spread = (total**2 - (said**2).sum(1)) * (total**2 - (true**2).sum(1))
        mcc = np.where(spread > 0, covariance / np.sqrt(np.maximum(spread, 1e-300)), 0.0)
    return np.stack([right.sum(1) / total, recall, f1, mcc], axis=1)


def quadratic_kappa(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Agreement of grades beyond chance, a miss by two grades counting four times one (Cohen 1968).

    Args:
        table: [B, K, K].

    Returns:
        [B]; NaN where only one grade occurs on both sides.
    """
    grades = np.arange(table.shape[1])
    miss = (grades[:, None] - grades[None]) ** 2.0
    chance = table.sum(2)[:, :, None] * table.sum(1)[:, None, :] / table.sum((1, 2))[:, None, None]
    expected = (miss * chance).sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (miss * table).sum((1, 2)) / expected, np.nan)


def confusions(table: NDArray[np.float64], classes: Sequence[str], most: int = 5) -> list[Json]:
    """The most frequent mistakes.

    Args:
        table: [K, K], rows the truth.
        classes: K names.
        most: At most so many.

    Returns:
        `truth`, `said`, `n` and the share of the true class, most frequent first.
    """
    wrong = table - np.diag(np.diag(table))
    order = np.argsort(-wrong.ravel(), kind="stable")[:most]
    pairs = [divmod(int(cell), len(classes)) for cell in order if wrong.ravel()[cell] > 0]
    return [
        {"truth": classes[i], "said": classes[j], "n": int(table[i, j]), "share": float(table[i, j] / table[i].sum())}
        for i, j in pairs
    ]

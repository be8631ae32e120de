"""How features are judged on tissue classes: nearest neighbours, a linear probe, and intervals by resampling."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
NEIGHBOURS = 20
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths of the probe's ridge; validation chooses."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Scaling:
    """Columns brought to mean 0 and deviation 1 as the support has them."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, features: Floats) -> Scaling:
        """The scaling of a support set [N, D]."""
        return cls(features.mean(0), features.std(0) + np.float32(1e-4))

    def __call__(self, features: Floats) -> Floats:
        """Scale features; what lies far outside the support is held at ten deviations."""
        return np.asarray(np.clip((features - self.mean) / self.deviation, -10, 10), np.float32)


def neighbours(support: Floats, labels: Labels, features: Floats) -> Labels:
    """Vote of the 20 nearest by cosine, each vote as heavy as it is near.

    Args:
        support: Scaled features [N, D].
        labels: Their classes [N].
        features: Scaled features to judge [M, D].

    Returns:
        A class each [M].
    """
    unit, others = (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9) for x in (support, features))
    near = others @ unit.T
    nearest = np.argpartition(near, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    weight = np.maximum(np.take_along_axis(near, nearest, 1), 1e-6)
    votes = np.zeros((len(features), int(labels.max()) + 1))
    for column in range(NEIGHBOURS):
        np.add.at(votes, (np.arange(len(features)), labels[nearest[:, column]]), weight[:, column])
    return np.asarray(votes.argmax(1), np.int64)


def probe(features: Floats, labels: Labels, strength: float) -> LogisticRegression:
    """A linear classifier with classes of equal weight.

    Args:
        features: Scaled features [N, D].
        labels: Classes [N].
        strength: Inverse strength of the ridge.

    Returns:
        The classifier.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, class_weight="balanced", max_iter=200).fit(features, labels)


def chosen_strength(train: tuple[Floats, Labels], validation: tuple[Floats, Labels]) -> tuple[float, float]:
    """The ridge that is best on validation, and its balanced accuracy there."""
    scores = [
        (balanced(probe(*train, c).predict(validation[0]) == validation[1], validation[1]), -c) for c in STRENGTHS
    ]
    best, negative = max(scores)
    return -negative, best


def balanced(hits: NDArray[np.bool_], labels: Labels) -> float:
    """Mean over classes of the share of hits."""
    return float(np.mean([hits[labels == label].mean() for label in np.unique(labels)]))


def resampled(hits: NDArray[np.bool_], labels: Labels, seed: int = 0) -> NDArray[np.float64]:
    """Balanced accuracies of bootstrap samples drawn within classes; the same patches for every candidate.

    Args:
        hits: [candidates, N].
        labels: [N].
        seed: Same seed, same samples.

    Returns:
        [candidates, 2000].
    """
    rng = np.random.default_rng(seed)
    recalls = []
    for label in np.unique(labels):
        of_class = hits[:, labels == label].astype(float)
        count = of_class.shape[1]
        draws = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        recalls.append(of_class @ draws.T / count)
    return np.asarray(np.mean(recalls, axis=0))


def interval(samples: NDArray[np.float64]) -> list[float]:
    """The middle 95 % of bootstrap samples."""
    return [round(float(v), 4) for v in np.quantile(samples, (0.025, 0.975))]

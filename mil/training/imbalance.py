"""Remedies for classes of unlike size, from the labels of the training cases alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mil.errors import LabelError


def class_counts(truth: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Count the cases of each class.

    Args:
        truth: Class of each case and decision, -1 where not known [cases, L].
        classes: K.

    Returns:
        [L, K].
    """
    return np.stack([np.bincount(column[column >= 0], minlength=classes) for column in truth.T]).astype(np.float64)


def class_weights(truth: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Weigh each class by the inverse of its frequency (King & Zeng 2001), 1 in the mean over the known cases.

    Args:
        truth: [cases, L].
        classes: K.

    Returns:
        [L, K]; 0 for a class of which there is no case.
    """
    counts = class_counts(truth, classes)
    there = (counts > 0).sum(axis=1, keepdims=True)
    whole = counts.sum(axis=1, keepdims=True)
    return np.where(counts > 0, whole / (np.maximum(there, 1) * np.maximum(counts, 1)), 0.0)


def log_priors(truth: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Logarithm of the frequency of each class, for logit adjustment (Menon et al. 2021).

    Args:
        truth: [cases, L].
        classes: K.

    Returns:
        [L, K]; a class of which there is no case counts as half a one, since the logarithm of 0 would forbid it.
    """
    counts = np.maximum(class_counts(truth, classes), 0.5)
    return np.asarray(np.log(counts / counts.sum(axis=1, keepdims=True)))


def balanced_draw(strata: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities with which cases are drawn so that each stratum is seen alike.

    Args:
        strata: -1 where not known [cases].

    Returns:
        1 in sum, 0 where not known [cases].

    Raises:
        LabelError: Of no case is anything known.
    """
    known = strata >= 0
    if not known.any():
        raise LabelError("There is no labelled case to draw from.")
    kinds, sizes = np.unique(strata[known], return_counts=True)
    share = dict(zip(kinds.tolist(), (1.0 / (len(kinds) * sizes)).tolist(), strict=True))
    return np.array([share.get(stratum, 0.0) for stratum in strata.tolist()])

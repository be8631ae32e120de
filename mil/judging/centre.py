"""Whether features know where a slide was made: a probe for the centre, and the robustness index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mil.extra import library
from mil.judging.figure import Json

LEAST_PATIENTS = 10
"""Centres with fewer patients are left out: they cannot be learnt from some and tested on others."""
FOLDS = 5
SAMPLE = 2000
"""Vectors of which the robustness index finds the neighbours; all are searched."""


def centre_probe(
    vectors: NDArray[np.float32], centres: Sequence[str], patients: Sequence[str], *, seed: int = 0
) -> Json:
    """Predict the centre from the vector of a slide, by logistic regression, folds by patient.

    Args:
        vectors: [N, D].
        centres: Of each slide [N]; "" where not known.
        patients: Of each slide [N].
        seed: Of the folds.

    Returns:
        `balanced_accuracy` against `chance` (one over the centres), `accuracy` against `majority`, `centres`, `n` and
        `left_out`; the figures are null with a `reason` where fewer than two centres have enough patients.
    """
    place, who = np.asarray(centres, np.str_), np.asarray(patients, np.str_)
    names = [name for name in np.unique(place) if name and np.unique(who[place == name]).size >= LEAST_PATIENTS]
    kept = np.isin(place, names)
    base: Json = {"centres": len(names), "n": int(kept.sum()), "left_out": int((~kept).sum())}
    if len(names) < 2:
        nothing = dict.fromkeys(("balanced_accuracy", "chance", "accuracy", "majority"))
        return base | nothing | {"reason": f"fewer than two centres have {LEAST_PATIENTS} patients"}
    true, group = (np.unique(column[kept], return_inverse=True)[1].astype(np.int64) for column in (place, who))
    right = _predict(vectors[kept].astype(np.float64), true, group, seed) == true
    shares = [float(right[true == number].mean()) for number in range(len(names))]
    return base | {
        "balanced_accuracy": float(np.mean(shares)),
        "chance": 1 / len(names),
        "accuracy": float(right.mean()),
        "majority": float(np.bincount(true).max() / true.size),
        "reason": None,
    }


def _predict(x: NDArray[np.float64], y: NDArray[np.int64], who: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    model = library("sklearn.linear_model").LogisticRegression
    chain, scale = library("sklearn.pipeline").make_pipeline, library("sklearn.preprocessing").StandardScaler
    said = np.empty_like(y)
    splits = library("sklearn.model_selection").StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in splits.split(x, y, who):
        fitted = chain(scale(), model(C=0.1, class_weight="balanced", max_iter=300, tol=1e-3)).fit(x[train], y[train])
        said[test] = fitted.predict(x[test])
    return said


def robustness_index(
    vectors: NDArray[np.float32], biology: Sequence[str], centres: Sequence[str], *, k: int = 10, seed: int = 0
) -> Json:
    """Whether near vectors share biology or their centre (Kömen et al. 2025).

    Args:
        vectors: [N, D], compared by cosine.
        biology: Class of each vector [N]; "" where not known.
        centres: Of each vector [N]; "" where not known.
        k: Neighbours of each vector, itself not counted.
        seed: Of the sample of vectors whose neighbours are found.

    Returns:
        `index` = SO / (SO + OS), with SO neighbours of the same biology from another centre and OS of other biology
        from the same centre, both counted: 1 is robust, 0 is a centre detector. Null where there are neither.
    """
    what, place = np.asarray(biology, np.str_), np.asarray(centres, np.str_)
    kept = np.flatnonzero((what != "") & (place != ""))
    what, place = what[kept], place[kept]
    x = vectors[kept].astype(np.float32)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    asked = np.sort(np.random.default_rng(seed).permutation(len(x))[:SAMPLE])
    near = x[asked] @ x.T
    near[np.arange(asked.size), asked] = -np.inf
    k = max(0, min(k, len(x) - 1))
    found = np.argpartition(-near, max(0, k - 1), axis=1)[:, :k] if k else np.zeros((asked.size, 0), np.int64)
    same_what, same_place = what[found] == what[asked][:, None], place[found] == place[asked][:, None]
    so, os = int((same_what & ~same_place).sum()), int((~same_what & same_place).sum())
    reason = None if so + os else "no neighbour differs in one of biology and centre alone"
    if min(np.unique(what).size, np.unique(place).size) < 2:
        reason = "there is one biology alone, or one centre"
    return {"index": None if reason else so / (so + os), "so": so, "os": os, "k": k, "n": len(x), "reason": reason}

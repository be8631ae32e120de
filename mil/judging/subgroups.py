"""Figures by centre, stage, sex or any other column, with the worst group named and the small ones not hidden."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.bootstrap import Statistic
from mil.judging.cases import Asked, Cases
from mil.judging.figure import Json, figure, figures, number
from mil.judging.measures import measure
from mil.judging.ranking import Ranking
from mil.judging.validation import holm, permutation_p
from mil.metrics import midranks
from mil.tasks.task import Task

LEAST: Final = 5
"""Patients that a group needs, of each class where there are classes; smaller ones are named and not judged."""
NOT_STATED: Final = "not stated"
QUARTERS_FROM: Final = 12
"""A column of more different numbers than this, such as an age, is cut into quarters."""


def subgroups(task: Task, cases: Cases, column: str, asked: Asked, said: NDArray[np.bool_] | None) -> Json:
    """Judge each group of a column.

    Args:
        task: A single task.
        cases: Cases whose target is known.
        column: One of `cases.groups`.
        asked: How.
        said: Yes or no to each case, where there is a decision [N].

    Returns:
        `groups` (name, n, patients, figures or a reason, p and Holm-corrected p that the order is chance), `worst` and
        `gap` by the first figure, `equal_opportunity` (sensitivities), `within` (AUROC of pairs of one group: what is
        left when the groups themselves say nothing) and `too_small` (names).
    """
    texts = np.asarray(quarters(cases.groups[column]), np.str_)
    rows = {str(name): np.flatnonzero(texts == name) for name in np.unique(texts)}
    groups = [_one(task, cases.take(own), name, asked) for name, own in rows.items()]
    if task.kind in {"binary", "multilabel"}:
        for group in groups:
            group["p"] = None if group["reason"] else _chance(cases.take(rows[group["group"]]), asked)
        adjusted = holm(np.array([np.nan if group["p"] is None else group["p"] for group in groups]))
        for group, p in zip(groups, adjusted, strict=True):
            group["p_holm"] = number(p)
    judged = [group for group in groups if not group["reason"]]
    return {
        "groups": groups,
        **_worst(judged),
        "equal_opportunity": None if said is None else _opportunity(cases, rows, judged, said),
        "within": _within(cases, list(rows.values()), asked) if task.kind in {"binary", "multilabel"} else None,
        "too_small": [group["group"] for group in groups if group["reason"]],
    }


def quarters(texts: Sequence[str]) -> list[str]:
    """Name the group of each case: its text, or the quarter of its number where there are many numbers.

    Args:
        texts: Of each case, "" where not known.

    Returns:
        Names.
    """
    known = [text for text in texts if text]
    try:
        values = np.array([float(text) for text in known])
    except ValueError:
        values = np.zeros(0)
    if np.unique(values).size <= QUARTERS_FROM or not np.isfinite(values).all():
        return [text or NOT_STATED for text in texts]
    ends = np.quantile(values, np.arange(5) / 4)
    names = [f"{low:g} to {high:g}" for low, high in pairwise(ends)]
    return [names[int(np.searchsorted(ends[1:-1], float(text)))] if text else NOT_STATED for text in texts]


def _one(task: Task, cases: Cases, name: str, asked: Asked) -> Json:
    patients = np.asarray(cases.patients, np.str_)
    found: Json = {"group": name, "n": len(cases), "patients": int(np.unique(patients).size)}
    classes = task.kind not in {"regression", "survival"}
    truth = cases.targets[:, 0] if classes else np.zeros(len(cases))
    needed = (0.0, 1.0) if task.kind in {"binary", "multilabel"} else np.unique(truth)
    least = min((int(np.unique(patients[truth == k]).size) for k in needed), default=0)
    if task.kind in {"binary", "multilabel"}:
        found["positives"] = int((truth == 1).sum())
    if least < LEAST:
        return found | {"figures": {}, "reason": f"fewer than {LEAST} patients" + " of a class" * classes}
    own = measure(task, cases)
    some = slice(0, 2 if task.kind in {"binary", "multilabel"} else len(own.names))
    statistic: Statistic = lambda weights: own.statistic(weights)[:, some]  # noqa: E731 - one line, used once
    estimate = asked.resampling(cases, own.strata).intervals(statistic)
    return found | {"figures": figures(own.names[some], estimate), "reason": None}


def _chance(cases: Cases, asked: Asked) -> float:
    ranks = midranks(cases.scores)
    return permutation_p(lambda y: float(ranks @ y), cases.targets[:, 0], cases.cluster, seed=asked.seed)


def _worst(judged: list[Json]) -> Json:
    first = [(group, next(iter(group["figures"].items()))) for group in judged]
    kept = [(found["value"], group["group"], name) for group, (name, found) in first if found["value"] is not None]
    if not kept:
        return {"worst": None, "gap": None}
    value, group, name = min(kept)
    return {"worst": {"group": group, "figure": name, "value": value}, "gap": max(kept)[0] - value}


def _opportunity(cases: Cases, rows: dict[str, NDArray[np.int64]], judged: list[Json], said: NDArray[np.bool_]) -> Json:
    """Equal opportunity (Hardt et al. 2016): how far apart the sensitivities of one decision are."""
    each = {
        group["group"]: float(said[own][cases.targets[own, 0] == 1].mean())
        for group in judged
        for own in [rows[group["group"]]]
    }
    return {"sensitivity": each, "gap": max(each.values()) - min(each.values()) if len(each) > 1 else None}


def _within(cases: Cases, groups: list[NDArray[np.int64]], asked: Asked) -> Json:
    """Pairs of a positive and a negative of the same group alone."""
    truth = cases.targets[:, 0]
    rankings = [(own, Ranking(truth[own], cases.scores[own])) for own in groups if np.unique(truth[own]).size == 2]
    if not rankings:
        return figure(np.nan, reason="no group has both classes")

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for own, ranking in rankings:
            part = weights[:, own]
            count = (part @ truth[own]) * (part @ (1 - truth[own]))
            wins += np.where(count > 0, np.nan_to_num(ranking.areas(part)[:, 0]) * count, 0.0)
            pairs += count
        with np.errstate(invalid="ignore", divide="ignore"):
            return (wins / pairs)[:, None]

    return figures(["auroc"], asked.resampling(cases, truth.astype(np.int64)).intervals(statistic))["auroc"]

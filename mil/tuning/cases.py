"""The cases that a tuning may see, read once in each process; never those of an earlier tuning of the same experiment.

Workers of a cluster live long, and labels may have changed since they last read them, so that what was read is kept
under the digest of the cases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mil.experiment.development import Development, prepare
from mil.experiment.experiment import Experiment
from mil.folds import FoldSpec, make_folds
from tiling.fingerprint import fingerprint

ALL = -1
"""Instead of an outer fold: all cases that training may see."""


@dataclass(frozen=True)
class Source:
    """Which cases there are."""

    base: Experiment
    digest: str
    """Of the cases and their labels, so that nobody judges by what was there yesterday."""


_kept: dict[Source, Development] = {}
"""At most one."""


def read_source(base: Experiment) -> Source:
    """Read the cases as they are now.

    Args:
        base: The experiment.

    Returns:
        What knows them again.
    """
    data = prepare(base)
    cases = [[case.id, case.patient, case.centre] for case in data.cohort.cases]
    facts = {"bags": data.cohort.source.fingerprint, "targets": data.targets.tobytes().hex()}
    source = Source(base, fingerprint(cases=cases, **facts))
    _kept.clear()
    _kept[source] = data
    return source


def development(source: Source) -> Development:
    """All cases that training may see.

    Args:
        source: Which.

    Returns:
        The cases.
    """
    if source not in _kept:
        _kept.clear()
        _kept[source] = prepare(source.base)
    return _kept[source]


@lru_cache(maxsize=1)
def outer_folds(source: Source) -> NDArray[np.int64]:
    """The folds of the experiment, which judge the tuning.

    Args:
        source: Which cases.

    Returns:
        int64 [cases].
    """
    return split(development(source), source.base.folds)


@lru_cache(maxsize=1)
def inside(source: Source, outer: int) -> Development:
    """Cases outside an outer fold; what depends on the cases is settled by them alone.

    Args:
        source: Which cases.
        outer: The fold that is left out, or `ALL`.

    Returns:
        The rest.
    """
    whole = development(source)
    if outer == ALL:
        return whole
    part = whole.part(np.flatnonzero(outer_folds(source) != outer))
    return replace(part, task=source.base.task.fit_to(part.targets))


def split(data: Development, spec: FoldSpec) -> NDArray[np.int64]:
    """Make folds, the first repeat alone.

    Args:
        data: The cases.
        spec: How.

    Returns:
        int64 [cases].
    """
    folds: NDArray[np.int64] = make_folds(data.patients, data.centres, data.strata, spec)[0]
    return folds

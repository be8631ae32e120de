"""`run.json`: what a run was made of and what came out, for machines."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from typing import Any

from mil.experiment.compare import Verdict
from mil.experiment.development import Development
from mil.experiment.environment import environment
from mil.experiment.experiment import Experiment
from mil.experiment.folder import FORMAT
from mil.head import Head, settings_of
from mil.tasks.read import task_table

NOTICE = "Research use only, not for diagnosis or treatment."


def record(experiment: Experiment, data: Development, verdict: Verdict, head: Head) -> dict[str, Any]:
    """Describe a run.

    Args:
        experiment: What was asked for.
        data: The cases of training.
        verdict: Head against linear model.
        head: A head of the kind that was trained.

    Returns:
        What strict JSON can hold.
    """
    return {
        "format": FORMAT,
        "notice": NOTICE,
        "name": experiment.name,
        "purpose": experiment.purpose,
        "task": task_table(data.task),
        "head": {
            "name": experiment.head,
            "settings": settings_of(head),
            "additive": head.additive,
            "respects_mil_assumption": head.respects_mil_assumption,
            "parameters": sum(value.numel() for value in head.parameters()),
        },
        "data": _data(experiment, data),
        "training": asdict(experiment.training),
        "objective": asdict(experiment.objective),
        "coteaching": asdict(experiment.coteaching),
        "regions": asdict(experiment.regions),
        "folds": asdict(experiment.folds),
        "seeds": list(experiment.seeds),
        "sealed": experiment.test is not None,
        "verdict": verdict.table(),
        "winner": verdict.winner,
        "versions": environment(),
    }


def _data(experiment: Experiment, data: Development) -> dict[str, Any]:
    source = data.cohort.source
    labels = experiment.place / experiment.data.labels if experiment.data.labels else None
    strata = Counter(data.task.strata(data.targets).tolist())
    return {
        "root": str(experiment.place),
        "bags_fingerprint": source.fingerprint,
        "labels_sha256": hashlib.sha256(labels.read_bytes()).hexdigest() if labels else None,
        "encoder": source.encoder,
        "mpp": list(source.mpp),
        "width": source.width,
        "cases": len(data.cohort),
        "patients": len(set(data.patients)),
        "centres": len(set(data.centres)),
        "tiles": int(data.cohort.sizes().sum()),
        "strata": {str(stratum): count for stratum, count in sorted(strata.items())},
        "unit": experiment.data.unit,
    }

"""Multiple-instance learning: bags of tile embeddings, heads that score them, and what each tile contributed.

Names that need torch are loaded on first use, so that `import mil` stays light (PEP 562). The verbs `fit` and `predict`
live in modules of other names (train, infer): a submodule `mil.fit` would hide the verb as soon as anything imported
it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mil.bag import Bag, bag_from_embeddings
from mil.errors import (
    BagError,
    CheckpointError,
    EmptyBagError,
    HeadError,
    LabelError,
    MetricError,
    MilError,
)
from mil.metrics import roc_auc

if TYPE_CHECKING:
    from mil.checkpoint import load_fit, save_fit
    from mil.cohort.read import read_cohort
    from mil.cohort.write import write_bags
    from mil.experiment.folder import RunFolder
    from mil.experiment.read import read_experiment
    from mil.experiment.run import run_experiment
    from mil.folds import make_folds
    from mil.head import HEADS, Head, HeadOutput, build_head
    from mil.infer import Prediction, predict
    from mil.judging.evaluate import judge_run
    from mil.judging.judge import judge
    from mil.train import Fit, FitSpec, fit
    from mil.trust.fit import fit_trust
    from mil.why.explain import explain_tiles
    from mil.why.explanation import Explanation
    from mil.zoom.merge import merge_zooms
    from mil.zoom.on_store import cascade_slide
    from mil.zoom.stacking import fit_stack

_LAZY = {
    "build_head": "mil.head",
    "cascade_slide": "mil.zoom.on_store",
    "explain_tiles": "mil.why.explain",
    "Explanation": "mil.why.explanation",
    "Fit": "mil.train",
    "fit": "mil.train",
    "fit_stack": "mil.zoom.stacking",
    "judge": "mil.judging.judge",
    "judge_run": "mil.judging.evaluate",
    "fit_trust": "mil.trust.fit",
    "FitSpec": "mil.train",
    "Head": "mil.head",
    "HeadOutput": "mil.head",
    "HEADS": "mil.head",
    "load_fit": "mil.checkpoint",
    "make_folds": "mil.folds",
    "merge_zooms": "mil.zoom.merge",
    "predict": "mil.infer",
    "Prediction": "mil.infer",
    "read_cohort": "mil.cohort.read",
    "read_experiment": "mil.experiment.read",
    "run_experiment": "mil.experiment.run",
    "RunFolder": "mil.experiment.folder",
    "save_fit": "mil.checkpoint",
    "write_bags": "mil.cohort.write",
}

__all__ = [
    "HEADS",
    "Bag",
    "BagError",
    "CheckpointError",
    "EmptyBagError",
    "Explanation",
    "Fit",
    "FitSpec",
    "Head",
    "HeadError",
    "HeadOutput",
    "LabelError",
    "MetricError",
    "MilError",
    "Prediction",
    "RunFolder",
    "bag_from_embeddings",
    "build_head",
    "cascade_slide",
    "explain_tiles",
    "fit",
    "fit_stack",
    "fit_trust",
    "judge",
    "judge_run",
    "load_fit",
    "make_folds",
    "merge_zooms",
    "predict",
    "read_cohort",
    "read_experiment",
    "roc_auc",
    "run_experiment",
    "save_fit",
    "write_bags",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'mil' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)

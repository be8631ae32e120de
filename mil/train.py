"""Fitting a head to labelled bags in memory, yes or no: the simple verb, on the loop that trains everything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from mil.bag import Bag
from mil.batch import check_same, labels_of, pin_threads
from mil.errors import LabelError
from mil.head import Head, Setting, build_head, settings_of
from mil.metrics import roc_auc
from mil.tasks.binary import Binary
from mil.tasks.read import task_table
from mil.tasks.task import Task
from mil.training.drawing import Cases
from mil.training.goal import Goal
from mil.training.loop import Loop
from mil.training.memory import cohort_of
from mil.training.objective import ObjectiveSpec, build_objective
from mil.training.pooled import pool_cohort, standardise
from mil.training.scoring import logits_in_batches
from mil.training.spec import TrainSpec


@dataclass(frozen=True)
class FitSpec:
    """How to fit."""

    epochs: int = 60
    """At most; early stopping ends most fits sooner."""
    min_epochs: int = 10
    """The loss of the first epochs says little, so none of them stops the fit."""
    patience: int = 10
    """Epochs without a better validation loss before stopping."""
    batch: int = 16
    """Bags a step: enough for both classes to be there, few enough for many steps a small cohort."""
    tiles: int = 512
    """At most so many random tiles of a training bag; bounds memory and makes each epoch see another bag."""
    keep: float = 0.5
    """At least this share of a bag (below `tiles`) is drawn, so that the head does not learn the size of slides."""
    lr: float = 1e-3
    """AdamW's step, the one of eva's fixed protocol for ABMIL."""
    weight_decay: float = 1e-2
    """AdamW's own default."""
    class_weights: bool = True
    """Weigh the rarer class up, so that the score does not lean to the commoner."""
    validation: float = 0.2
    """Share of patients held out for early stopping when no validation bags are given."""
    seed: int = 0
    """Of weights, order, drawn tiles, dropout and split."""
    settings: tuple[tuple[str, Setting], ...] = ()
    """Settings of the head that differ from its defaults, as (name, value)."""

    @property
    def training(self) -> TrainSpec:
        """The same for the loop: a constant step and nothing that smooths, as this verb has always fitted."""
        own = {name: getattr(self, name) for name in SHARED}
        return TrainSpec(**own, steps=1, schedule="constant", warm_up=0.0, clip=0.0, noise=0.0, ema=0.0)


SHARED = ("epochs", "min_epochs", "patience", "batch", "tiles", "keep", "lr", "weight_decay", "validation")


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted head and all that is needed to use it rightly."""

    head_name: str
    head: Head
    spec: FitSpec | TrainSpec
    encoder: str = ""
    """The only encoder whose features it can read."""
    mpp: tuple[float, ...] = ()
    """The only zooms it can read, finest first, um/px."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Losses and figures on the training and validation bags; never on a test set."""
    task: Task | None = None
    """What the logits mean; None for the yes or no of `fit`."""

    @property
    def digest(self) -> str:
        """Identity of what it computes: sha256 of its name, settings, inputs, task and weights, hex."""
        identity: list[object] = [self.head_name, settings_of(self.head), self.encoder, list(self.mpp)]
        identity += [task_table(self.task)] if self.task else []
        total = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
        for name, value in sorted(self.head.state_dict().items()):
            total.update(f"{name}{tuple(value.shape)}".encode())
            total.update(value.numpy().tobytes())
        return total.hexdigest()


def fit(
    head_name: str, bags: Sequence[Bag], spec: FitSpec | None = None, validation: Sequence[Bag] | None = None
) -> Fit:
    """Fit a binary head with AdamW, keeping the weights of the epoch with the lowest validation loss.

    Bags of different encoders, zooms or widths end in a `BagError`, labels that are missing, not 0 or 1 or of one class
    in a `LabelError`, and an unknown head or setting in a `HeadError`.

    Args:
        head_name: A name in `mil.HEADS`.
        bags: Labelled bags, 0 or 1.
        spec: How; the defaults if None.
        validation: Labelled bags that choose the epoch; a share of the patients of `bags` if None.

    Returns:
        The fit, its head in evaluation mode.
    """
    spec = spec or FitSpec()
    first = check_same([*bags, *(validation or ())])
    labels_of(bags)
    train, held = (bags, validation) if validation else split(bags, spec)
    learn, choose = _cases(train), _cases(held)
    task = Binary()
    weighing = ObjectiveSpec(imbalance="weights" if spec.class_weights else "none")
    pin_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        head = build_head(head_name, first.features.shape[1], settings=dict(spec.settings))
        standardise(head, pool_cohort(learn.cohort))
        objective = build_objective(task, weighing, learn.targets)
        trained = Loop(head, learn, choose, Goal(task, objective, spec.training, spec.seed)).run()
    head.requires_grad_(requires_grad=False).eval()
    scores = logits_in_batches(head, choose.cohort)[:, 0].numpy()
    sizes = {"train_bags": len(train), "validation_bags": len(held)}
    metrics = trained.metrics | {"validation_auroc": roc_auc(choose.targets[:, 0], scores)} | sizes
    return Fit(head_name, head, spec, first.encoder, first.mpp, metrics)


def _cases(bags: Sequence[Bag]) -> Cases:
    return Cases(cohort_of(bags), labels_of(bags)[:, None])


def split(bags: Sequence[Bag], spec: FitSpec) -> tuple[list[Bag], list[Bag]]:
    """Hold out a share of the patients of each class; a patient's bags stay together.

    Args:
        bags: Labelled bags; a bag without a patient is a patient of its own.
        spec: Its `validation` and `seed` are used.

    Returns:
        Training and validation bags.

    Raises:
        LabelError: A class has fewer than two patients.
    """
    owners = [bag.patient or f"bag {i}" for i, bag in enumerate(bags)]
    pairs = list(zip(bags, owners, strict=True))
    label = {owner: max(b.label or 0 for b, o in pairs if o == owner) for owner in owners}
    rng = np.random.default_rng(spec.seed)
    held: set[str] = set()
    for wanted in (0, 1):
        group = sorted(owner for owner, value in label.items() if value == wanted)
        if len(group) < 2:
            raise LabelError("Each class needs at least two patients, one of them to hold out.")
        count = min(max(1, round(spec.validation * len(group))), len(group) - 1)
        held.update(str(owner) for owner in rng.permutation(group)[:count])
    return [bag for bag, owner in pairs if owner not in held], [bag for bag, owner in pairs if owner in held]

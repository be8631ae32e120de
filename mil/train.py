"""Fitting a head to labelled bags: seeded, on the CPU, the same bits each time."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mil.bag import Bag
from mil.batch import check_same, collate, labels_of, pin_threads
from mil.errors import LabelError
from mil.head import Head, build_head, settings_of
from mil.metrics import roc_auc


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
    settings: tuple[tuple[str, int | float], ...] = ()
    """Settings of the head that differ from its defaults, as (name, value)."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted head and all that is needed to use it rightly."""

    head_name: str
    head: Head
    spec: FitSpec
    encoder: str = ""
    """The only encoder whose features it can read."""
    mpp: tuple[float, ...] = ()
    """The only zooms it can read, finest first, um/px."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Losses and figures on the training and validation bags; never on a test set."""

    @property
    def digest(self) -> str:
        """Identity of what it computes: sha256 of its name, settings, inputs and weights, hex."""
        identity = [self.head_name, settings_of(self.head), self.encoder, list(self.mpp)]
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
    pin_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        head = build_head(head_name, first.features.shape[1], settings=dict(spec.settings))
        standardise(head, train)
        metrics = _Trainer(head, train, held, spec).run()
    head.requires_grad_(requires_grad=False).eval()
    return Fit(head_name, head, spec, first.encoder, first.mpp, metrics)


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


def standardise(head: Head, bags: Sequence[Bag]) -> None:
    """Set the head's buffers to the mean and deviation of the features, each bag counting alike.

    Args:
        head: Its `mean` and `scale` [D] are set; a constant feature keeps scale 1.
        bags: Training bags.
    """
    mean = np.mean([bag.features.mean(axis=0, dtype=np.float64) for bag in bags], axis=0)
    square = np.mean([((bag.features - mean) ** 2).mean(axis=0) for bag in bags], axis=0)
    scale = np.where(square > 1e-12, np.sqrt(square), 1.0)
    head.mean.copy_(torch.from_numpy(mean))
    head.scale.copy_(torch.from_numpy(scale))


class _Trainer:
    """One fit under way."""

    def __init__(self, head: Head, train: Sequence[Bag], held: Sequence[Bag], spec: FitSpec) -> None:
        self.head, self.train, self.held, self.spec = head, train, held, spec
        self.labels, self.held_labels = labels_of(train), labels_of(held)
        self.rng = np.random.default_rng(spec.seed)
        self.optimizer = torch.optim.AdamW(head.parameters(), lr=spec.lr, weight_decay=spec.weight_decay)
        positives = float(self.labels.mean())
        weight = (1 - positives) / positives if spec.class_weights else 1.0
        self.loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))

    def run(self) -> dict[str, float]:
        best: dict[str, float] = {"validation_loss": float("inf"), "epoch": 0}
        state = copy.deepcopy(self.head.state_dict())
        for epoch in range(1, self.spec.epochs + 1):
            trained = self.epoch()
            figures = self.judge()
            if figures["validation_loss"] < best["validation_loss"]:
                best = {"epoch": epoch, "train_loss": trained, **figures}
                state = copy.deepcopy(self.head.state_dict())
            elif epoch >= self.spec.min_epochs and epoch - best["epoch"] >= self.spec.patience:
                break
        self.head.load_state_dict(state)
        return {**best, "train_bags": len(self.train), "validation_bags": len(self.held)}

    def epoch(self) -> float:
        self.head.train()
        losses = []
        for rows in self.batches():
            features, mask = collate([self.draw(self.train[row].features) for row in rows])
            loss = self.loss(self.head(features, mask).logits[:, 0], torch.from_numpy(self.labels[rows]))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def batches(self) -> Iterator[NDArray[np.int64]]:
        order = self.rng.permutation(len(self.train))
        yield from np.array_split(order, max(1, round(len(order) / self.spec.batch)))

    def draw(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        least = min(max(1, round(self.spec.keep * len(features))), self.spec.tiles)
        count = int(self.rng.integers(least, min(len(features), self.spec.tiles) + 1))
        return features[self.rng.permutation(len(features))[:count]]

    @torch.no_grad()
    def judge(self) -> dict[str, float]:
        self.head.eval()
        logits = torch.cat([self.head(*collate([bag.features])).logits[:, 0] for bag in self.held])
        loss: Tensor = self.loss(logits, torch.from_numpy(self.held_labels))
        return {"validation_loss": float(loss), "validation_auroc": roc_auc(self.held_labels, logits.numpy())}

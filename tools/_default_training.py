"""How the networks of the default encoder are trained: two varied views of each patch, one loss, averaged weights."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from foundation.tissue import TISSUES
from tools._default_data import PX, Image, Patches, resized, varied

WARMTH = 2.0
"""Temperature at which a teacher's answers are learned (Hinton et al., arXiv:1503.02531)."""


@dataclass(frozen=True)
class Recipe:
    """What one training does."""

    epochs: int
    rate: float
    head_rate: float = 1.2e-3
    batch: int = 32
    """Patches in a step; each is seen in two views."""
    decay: float = 0.02
    dropout: float = 0.3
    smoothing: float = 0.1
    contrast: float = 0.2
    """Weight of the supervised contrast (Khosla et al., arXiv:2004.11362)."""
    variance: float = 0.02
    """Weight of the self-supervised term (VICReg, Bardes et al., arXiv:2105.04906)."""
    balance: float = 0.5
    """Classes are drawn by their size to this power."""
    average: float = 0.995
    """How much of the averaged weights a step keeps."""
    seed: int = 5


class Trained(nn.Module):
    """A network with the two heads that training needs and that are thrown away afterwards.

    Args:
        network: Images [B, 3, 128, 128] to features [B, dim].
        dim: Width of the features.
        dropout: Share of features that the classifier does not see.
    """

    def __init__(self, network: nn.Module, dim: int, dropout: float) -> None:
        super().__init__()
        self.network = network
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, len(TISSUES))
        self.projector = nn.Linear(dim, 128)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, 12] and projections [B, 128]."""
        features = self.network(images)
        return self.classifier(self.dropout(features)), self.projector(features)


def as_input(images: Image) -> Tensor:
    """Bytes [B, 128, 128, 3] as the networks take them: -1 to 1, channels last."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def train(
    model: Trained, parts: tuple[Patches, Patches], recipe: Recipe, saved: Path, teacher: Trained | None = None
) -> Trained:
    """Train and keep the averaged weights.

    Args:
        model: Its parameters that want gradients are trained.
        parts: Patches to train on, and patches on which each third epoch is judged.
        recipe: How.
        saved: A file that always holds the last epoch's averaged weights.
        teacher: A trained network whose answers are a second target.

    Returns:
        The averaged model, in evaluation mode.
    """
    bank, check = parts
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    averaged = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    wanted = [p for p in model.parameters() if p.requires_grad]
    steps = len(bank.labels) // recipe.batch
    optimiser, schedule = _optimiser(model, recipe, steps * recipe.epochs)
    start, done = time.monotonic(), 0
    for epoch in range(recipe.epochs):
        model.train()
        losses = 0.0
        for images, labels in batches(bank, recipe, epoch, steps):
            loss = loss_of(model, images, labels, recipe, teacher)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(wanted, 2.0)
            optimiser.step()
            schedule.step()
            done += 1
            _average(averaged, model, min(recipe.average, done / (done + 10)))
            losses += float(loss.detach())
        save_file({k: v.contiguous() for k, v in averaged.state_dict().items()}, saved)
        line = f"epoch {epoch + 1}/{recipe.epochs} {time.monotonic() - start:.0f} s loss {losses / steps:.3f}"
        if epoch % 3 == 2 or epoch == recipe.epochs - 1:
            line += f" validation {judged(averaged, check):.4f}"
        print(line, file=sys.stderr, flush=True)
    return averaged


def _optimiser(
    model: Trained, recipe: Recipe, total: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with a faster rate for the heads, which start from nothing; warm-up, then half a cosine."""
    heads = [*model.classifier.parameters(), *model.projector.parameters()]
    others = [p for p in model.network.parameters() if p.requires_grad]
    groups = [{"params": others, "lr": recipe.rate}, {"params": heads, "lr": recipe.head_rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=recipe.decay)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))


def _rate(step: int, total: int) -> float:
    warm = min(200, total // 10)
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))


def _average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for old, new in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if not torch.equal(old, new):  # what is frozen keeps its bits
                old.copy_(old.lerp(new, 1 - keep) if new.is_floating_point() else new)


def loss_of(model: Trained, images: Tensor, labels: Tensor, recipe: Recipe, teacher: Trained | None = None) -> Tensor:
    """Cross entropy, supervised contrast, the self-supervised term and the teacher's answers, of one step."""
    logits, projections = model(images)
    loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)
    loss = loss + recipe.contrast * contrast(projections, labels)
    loss = loss + recipe.variance * variance(*projections.chunk(2))
    if teacher is not None:
        with torch.no_grad():
            answers = functional.softmax(teacher(images)[0] / WARMTH, dim=1)
        loss = loss + WARMTH**2 * functional.cross_entropy(logits / WARMTH, answers)
    return loss


def contrast(projections: Tensor, labels: Tensor, warmth: float = 0.1) -> Tensor:
    """Supervised contrast: views of one tissue attract, others repel."""
    unit = functional.normalize(projections.float(), dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool)
    logits = (unit @ unit.T / warmth).masked_fill(itself, -1e9)
    same = (labels[:, None] == labels[None]) & ~itself
    likely = logits - logits.logsumexp(dim=1, keepdim=True)
    return -(likely * same).sum(1).div(same.sum(1)).mean()


def variance(one: Tensor, other: Tensor) -> Tensor:
    """VICReg without labels: two views of a patch agree, features vary and do not repeat each other."""
    loss = 25 * functional.mse_loss(one, other)
    for view in (one, other):
        centred = view - view.mean(0)
        spread = (centred.var(0) + 1e-4).sqrt()
        loss = loss + 12.5 * functional.relu(1 - spread).mean()
        matrix = centred.T @ centred / (len(view) - 1)
        loss = loss + (matrix.pow(2).sum() - matrix.diagonal().pow(2).sum()) / view.shape[1]
    return loss


def batches(bank: Patches, recipe: Recipe, epoch: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one epoch, drawn in the background; the same seed gives the same views."""
    sizes = np.bincount(bank.labels, minlength=len(TISSUES)).astype(float)
    weight = (np.maximum(sizes, 1) ** (recipe.balance - 1))[bank.labels]
    rng = np.random.default_rng([recipe.seed, epoch])
    rows = rng.choice(len(weight), (steps, recipe.batch), p=weight / weight.sum())

    def drawn(step: int) -> tuple[Tensor, Tensor]:
        own = np.random.default_rng([recipe.seed, epoch, step])
        twice = np.tile(rows[step], 2)
        views = np.stack([varied(bank, int(bank.labels[row]), int(row), own) for row in twice])
        return as_input(views), torch.from_numpy(bank.labels[twice])

    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(drawn, step) for step in range(min(3, steps))]
        for step in range(steps):
            if step + 3 < steps:
                ahead.append(pool.submit(drawn, step + 3))
            yield ahead.pop(0).result()


def in_batches(call: Callable[[Tensor], Tensor], patches: Patches) -> NDArray[np.float32]:
    """Whole patches through a network.

    Args:
        call: Images to rows.
        patches: Any.

    Returns:
        [N, width].
    """
    rows = []
    with torch.inference_mode():
        for first in range(0, len(patches.labels), 64):
            images = np.stack([resized(image, PX) for image in patches.images[first : first + 64]])
            rows.append(call(as_input(images)).numpy())
    return np.concatenate(rows)


def judged(model: Trained, patches: Patches) -> float:
    """Balanced accuracy of the training head on whole patches."""
    guess = in_batches(lambda images: model(images)[0], patches).argmax(1)
    return balanced(guess, patches.labels)


def balanced(guess: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur."""
    return float(np.mean([(guess[truth == label] == label).mean() for label in np.unique(truth)]))

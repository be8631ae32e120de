"""What annotated tiles add to the loss of their slides, whatever the head.

L = L_bag + instance * mean CE(annotated tiles) + attention * KL(u || attention) + negative * mean CE(tiles of negative
slides, lowest class), u uniform over the annotated tiles that show what the slide is labelled with. The divergence is
taken from u: the other way round it is infinite as soon as one further tile gets any weight at all.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil.head import Head, HeadOutput
from mil.tasks.decisions import Decisions
from mil.training.regions import Marks, RegionSpec


def draw_tiles(
    size: int, count: int, marks: Marks, rng: np.random.Generator, share: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Draw tiles of a case so that annotated ones are there, but at most in a share.

    Args:
        size: Tiles of the case.
        count: How many to draw.
        marks: Its annotated tiles.
        rng: All chance comes from it.
        share: Of the drawn tiles that may count as annotated.

    Returns:
        Numbers of the tiles, ascending [count], and their targets [count, T], NaN where one does not count as
        annotated: an annotated tile that is drawn for want of others beyond the share counts as any other.
    """
    allowed = min(len(marks.tiles), int(share * count))
    chosen = rng.permutation(len(marks.tiles))[:allowed]
    plain = np.setdiff1d(np.arange(size), marks.tiles[chosen])
    free = np.setdiff1d(plain, marks.tiles)
    others = rng.permutation(free)[: count - allowed]
    short = count - allowed - len(others)
    more = rng.permutation(np.setdiff1d(plain, free))[:short]
    tiles = np.concatenate([marks.tiles[chosen], others, more])
    targets = np.full((count, marks.targets.shape[1]), np.nan, np.float32)
    targets[:allowed] = marks.targets[chosen]
    order = np.argsort(tiles)
    return tiles[order], targets[order]


def region_loss(
    head: Head, features: Tensor, mask: Tensor, *, task: Decisions, bags: Tensor, tiles: Tensor, spec: RegionSpec
) -> Tensor:
    """The terms beside the loss of the bags.

    Args:
        head: Any; where it does not judge tiles one by one, a tile is judged as a bag of one.
        features: Raw embeddings [B, N, D].
        mask: bool [B, N].
        task: What is learnt of slides and tiles alike.
        bags: Targets of the slides [B, 1].
        tiles: Targets of the tiles [B, N, 1], NaN where a tile is not annotated or is padding.
        spec: The weights.

    Returns:
        A scalar; 0 where no tile of the batch is annotated and no slide is negative.
    """
    annotated = ~tiles.isnan().any(dim=2)  # [B, N]
    negative = _negative(task, bags)[:, None] & mask & ~annotated  # [B, N]
    total = features.new_zeros(())
    if not annotated.any() and not negative.any():
        return total
    said = head(features, mask, explain=True)
    for which, truth, weight in (
        (annotated, tiles, spec.instance),
        (negative, torch.zeros_like(tiles), spec.negative),
    ):
        if weight and which.any():
            logits = _instances(head, said, features, which)  # [M, C]
            total = total + weight * task.losses(logits, truth[which]).mean()
    if spec.attention and said.attention is not None:
        evidence = annotated & (tiles == bags[:, None]).all(dim=2) & ~_negative(task, bags)[:, None]
        total = total + spec.attention * divergence(said.attention, evidence)
    return total


def divergence(attention: Tensor, evidence: Tensor) -> Tensor:
    """How far attention is from lying evenly on the tiles that it should lie on.

    Args:
        attention: [B, N], 1 in sum.
        evidence: Where it should lie, bool [B, N].

    Returns:
        Mean Kullback-Leibler divergence from the uniform one, over the bags that have any evidence; 0 if none has.
    """
    count = evidence.sum(dim=1)  # [B]
    logs = attention.clamp(min=torch.finfo(attention.dtype).tiny).log()
    each = -torch.where(evidence, logs, 0.0).sum(dim=1) / count.clamp(min=1) - count.clamp(min=1).log()
    return torch.where(count > 0, each, 0.0).sum() / (count > 0).sum().clamp(min=1)


def _negative(task: Decisions, bags: Tensor) -> Tensor:
    """Which slides can have no tile above the lowest class; none where classes have no order."""
    ordered = task.kind in {"binary", "ordinal"}
    return (bags == 0).all(dim=1) & ordered


def _instances(head: Head, said: HeadOutput, features: Tensor, which: Tensor) -> Tensor:
    if said.instances is not None:
        return said.instances[which]
    alone = features[which][:, None]  # [M, 1, D]
    one = torch.ones(alone.shape[:2], dtype=torch.bool, device=alone.device)
    logits: Tensor = head(alone, one).logits
    return logits

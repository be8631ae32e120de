"""Adapting a head to unlabelled slides by making it surer of itself: an experiment, off unless asked for.

After TENT (Wang et al., ICLR 2021, arXiv:2006.10726): the entropy of the predictions is minimised over the scales and
shifts of normalisation layers alone, or, in a head without any, over the bias of its last linear layer. It may as well
make a head surer of what is wrong, so it works on a copy, for a bounded number of steps, and says what it changed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mil.batch import collate
from mil.errors import CalibrationError
from mil.head import Head


@dataclass(frozen=True)
class EntropySpec:
    """How far a head may be adapted."""

    enabled: bool = False
    """Must be set: without labels nobody can see whether it helped."""
    steps: int = 10
    rate: float = 1e-3
    """Of Adam; TENT's."""
    smallest: int = 16
    """Bags: over fewer, the shortest way to low entropy is to call all the same."""


@dataclass(frozen=True, eq=False)
class Adapted:
    """A copy of the head, and what changed."""

    head: Head
    parameters: tuple[str, ...]
    """Names of what was moved."""
    before: float
    """Mean entropy of the predictions, nats."""
    after: float
    changed: float
    """Share of bags whose most likely answer is another now."""
    one_answer: bool
    """True where all bags get the same answer now and did not before: do not use it."""


def adapt_by_entropy(
    head: Head, bags: Sequence[NDArray[np.float32]], spec: EntropySpec, *, exclusive: bool = True
) -> Adapted:
    """Minimise the entropy of a head's predictions on unlabelled bags.

    Args:
        head: Left as it is.
        bags: Features [N_b, D] of each.
        spec: How far.
        exclusive: The logits are of classes of which one is true; False: each is a yes or no of its own.

    Returns:
        The adapted copy and what it changed.

    Raises:
        CalibrationError: It is not enabled, there are too few bags, or the head has nothing that may be moved.
    """
    if not spec.enabled:
        raise CalibrationError("Adapting by entropy is an experiment and must be enabled to be used.")
    if len(bags) < spec.smallest:
        raise CalibrationError(f"Adapting by entropy needs {spec.smallest} bags at least; there are {len(bags)}.")
    own = copy.deepcopy(head).requires_grad_(requires_grad=False).eval()
    moved = _movable(own)
    if not moved:
        raise CalibrationError("The head has no normalisation layer and no bias that could be adapted.")
    batch, mask = collate(bags)
    first = own(batch, mask).logits.float()
    optimiser = torch.optim.Adam([parameter.requires_grad_() for parameter in moved.values()], lr=spec.rate)
    for _ in range(spec.steps):
        optimiser.zero_grad()
        entropy(own(batch, mask).logits.float(), exclusive=exclusive).mean().backward()
        optimiser.step()
    own.requires_grad_(requires_grad=False)
    last = own(batch, mask).logits.float()
    answers = _answers(first), _answers(last)
    means = [float(entropy(logits, exclusive=exclusive).mean()) for logits in (first, last)]
    changed = float((answers[0] != answers[1]).any(dim=1).float().mean())
    one = bool((answers[1] == answers[1][0]).all()) and not bool((answers[0] == answers[0][0]).all())
    return Adapted(own, tuple(moved), means[0], means[1], changed, one)


def entropy(logits: Tensor, *, exclusive: bool) -> Tensor:
    """How unsure predictions are.

    Args:
        logits: [B, C].
        exclusive: One of several classes is true; with one logit, or False, each logit is a yes or no.

    Returns:
        Nats [B].
    """
    if exclusive and logits.shape[1] > 1:
        logs = functional.log_softmax(logits, dim=1)
        return -(logs.exp() * logs).sum(dim=1)
    yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    return -(yes.exp() * yes + no.exp() * no).mean(dim=1)


def _answers(logits: Tensor) -> Tensor:
    return logits.argmax(dim=1, keepdim=True) if logits.shape[1] > 1 else (logits > 0).long()


def _movable(head: nn.Module) -> dict[str, nn.Parameter]:
    kinds = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 - base of all batch norms
    norms = [name for name, module in head.named_modules() if isinstance(module, kinds)]
    named = dict(head.named_parameters())
    found = {name: value for name, value in named.items() if name.rpartition(".")[0] in norms}
    if found:
        return found
    biases = [f"{name}.bias" for name, module in head.named_modules() if isinstance(module, nn.Linear)]
    return {name: named[name] for name in [one for one in biases if one in named][-1:]}

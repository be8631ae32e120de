"""Losses of a class that forgive: focal, generalised cross-entropy, and labels that are less than certain."""

from __future__ import annotations

import torch
from torch import Tensor


def penalty(log_p: Tensor, gamma: float, gce: float) -> Tensor:
    """What it costs to have given a class its probability.

    Args:
        log_p: Natural logarithm of the probability, any shape.
        gamma: Focal exponent (Lin et al. 2017, Focal loss): (1 - p)^gamma times the loss, so that the easy count less.
        gce: q of generalised cross-entropy (Zhang & Sabuncu 2018), (1 - p^q) / q, which a wrong label cannot drive
            beyond 1 / q; at 0 it is cross-entropy itself.

    Returns:
        0 or more, same shape.
    """
    cost = -torch.expm1(gce * log_p) / gce if gce else -log_p
    if not gamma:
        return cost
    wrong = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps)  # a root at 0 would have no gradient
    return wrong**gamma * cost


def soften(truth: Tensor, classes: int, smoothing: float) -> Tensor:
    """Spread a share of the certainty over all classes (Szegedy et al. 2016, label smoothing).

    Args:
        truth: Class of each decision, int64 [B, L]; what stands where it is not known does not matter.
        classes: K.
        smoothing: Share, 0 to below 1.

    Returns:
        float32 [B, L, K], 1 in sum over K.
    """
    certain = torch.nn.functional.one_hot(truth.clamp(min=0), classes).float()
    return certain * (1 - smoothing) + smoothing / classes

"""Integrated gradients along the way from a slide of mean tiles to this slide.

Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, arXiv:1703.01365: a tile's value is the
integral over t of the gradient at b + t (x - b), times x - b, summed over features. The values sum to f(x) - f(b)
(completeness); the sum is checked, and the steps are doubled until it holds.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil.batch import collate
from mil.why.asked import Asked
from mil.why.averaging import Averaging, is_cheap
from mil.why.relevance import Relevance

STEPS, MOST_STEPS = 24, 384
"""First number of steps, and the last that is tried."""
LEAST_GAP = 0.01
"""Share of the difference that may stay unexplained; and so many logits where the difference is next to nothing."""


def integrated_gradients(asked: Asked, scorer: Asked | Averaging) -> Relevance:
    """Integrate the gradient from the baseline to the slide.

    The baseline has as many tiles, each the mean tile of the slides the head was fitted to (`Head.mean`), so that the
    values say what makes this slide other than a typical one.

    Args:
        asked: Head and slide.
        scorer: Says whether a pass is cheap; where it is not, the first number of steps has to do.

    Returns:
        Values in logits, and how far their sum is from the difference it should be.
    """
    features, mask = collate([asked.features])
    baseline = asked.head.mean.expand_as(features)
    with torch.no_grad():
        start = float(asked.head(baseline, mask).logits[0, asked.output])
    difference, steps, most = asked.logit - start, STEPS, MOST_STEPS if is_cheap(scorer) else STEPS
    while True:
        values = _integral(asked, (features, baseline), mask, steps)
        gap = abs(float(values.sum()) - difference)
        if gap <= LEAST_GAP * max(abs(difference), 1.0) or steps >= most:
            return Relevance(values.astype(np.float32), gap)
        steps *= 2


def _integral(asked: Asked, ends: tuple[Tensor, Tensor], mask: Tensor, steps: int) -> NDArray[np.float64]:
    """Midpoint rule; only one value a tile is kept of each step's gradient [1, N, D]."""
    features, baseline = ends
    total = np.zeros(asked.count)
    for step in range(steps):
        place = torch.lerp(baseline, features, (step + 0.5) / steps).requires_grad_()
        logit = asked.head(place, mask).logits[0, asked.output]
        (gradient,) = torch.autograd.grad(logit, place)
        total += ((features - baseline) * gradient)[0].sum(dim=1).double().numpy()
    return total / steps

"""How long a step is: it grows from nothing, then falls along a cosine."""

from __future__ import annotations

import math

from mil.training.spec import TrainSpec


def step_size(spec: TrainSpec, step: int, steps: int) -> float:
    """Length of one step of the optimiser.

    Args:
        spec: `lr`, `schedule` and `warm_up` are used.
        step: From 0.
        steps: In all epochs together.

    Returns:
        `lr` or less.

    >>> spec = TrainSpec(lr=1.0, warm_up=0.5)
    >>> [round(step_size(spec, step, 4), 2) for step in range(4)]
    [0.33, 0.67, 1.0, 0.5]
    """
    rising = spec.warm_up * steps
    if step < rising:
        return spec.lr * (step + 1) / (rising + 1)
    if spec.schedule == "constant":
        return spec.lr
    return spec.lr * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2

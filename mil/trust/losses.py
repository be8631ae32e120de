"""Losses of a question as functions of its logits, with gradients: what calibration minimises and is judged by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from mil.tasks.task import Task
from mil.trust.questions import Question

Loss = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Logits [n, C] -> loss of each case [n] and its gradient [n, C]."""


def softplus(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(1 + exp(x)) without overflow.

    Args:
        values: Any shape.

    Returns:
        The same shape.
    """
    return np.asarray(np.maximum(values, 0.0) + np.log1p(np.exp(-np.abs(values))))


def smoothed(truth: NDArray[np.int64], answers: int) -> NDArray[np.float64]:
    """Targets that are never quite certain, so that separable cases do not sharpen without end.

    Platt's targets, (n + 1) / (n + 2) and 1 / (n + 2) (Advances in Large Margin Classifiers, 1999), for K answers:
    the posterior mean under one pseudo-count an answer.

    Args:
        truth: Index of the true answer int64 [n].
        answers: Number K of answers.

    Returns:
        [n, K], each row 1 in sum.
    """
    counts = np.bincount(truth, minlength=answers)[truth]
    soft = np.repeat(1.0 / (counts + answers)[:, None], answers, axis=1)
    soft[np.arange(len(truth)), truth] = (counts + 1.0) / (counts + answers)
    return soft


def question_loss(question: Question, targets: NDArray[np.float32], *, smooth: bool) -> Loss:
    """Make the loss of cases whose answers are known.

    Args:
        question: Any.
        targets: All targets of these cases [n, T].
        smooth: With Platt's targets instead of 0 and 1 (answers without an order only).

    Returns:
        A function of the question's own logits of these cases.
    """
    if question.kind not in {"binary", "multiclass"}:
        return _task_loss(question.task, question.wanted(targets))
    truth, answers = question.truth(targets), len(question.answers)
    soft = smoothed(truth, answers) if smooth else np.eye(answers)[truth]
    return _yes_or_no(soft[:, 1:]) if question.kind == "binary" else _one_of_many(soft)


def _yes_or_no(wanted: NDArray[np.float64]) -> Loss:
    def loss(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chance = np.exp(-softplus(-logits))
        return (softplus(logits) - wanted * logits)[:, 0], chance - wanted

    return loss


def _one_of_many(wanted: NDArray[np.float64]) -> Loss:
    def loss(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        shifted = logits - logits.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return -(wanted * logs).sum(axis=1), np.exp(logs) - wanted

    return loss


def _task_loss(task: Task, targets: NDArray[np.float32]) -> Loss:
    """The task's own likelihood: for grades and hazards, whose logits hang together."""

    def loss(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        given = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
        each = task.losses(given, torch.from_numpy(np.ascontiguousarray(targets)))
        (gradient,) = torch.autograd.grad(each.sum(), given)
        return each.detach().numpy().astype(np.float64), gradient.numpy().astype(np.float64)

    return loss

"""Late fusion: members that were trained apart vote, each with a weight; who is absent is left out of the count.

Stacked generalisation (Wolpert, Neural Networks 5, 1992) with weights that are not negative and sum to 1 (Breiman,
Machine Learning 24, 1996). Nobody needs another's data, encoder or code: a member is a column of logits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mil.errors import CheckpointError, CohortError, ExperimentError
from mil.strict import build, plain
from tiling.whole import write_whole

FORMAT = "oncoscope-stack-1"
NOTICE = "Research use only. Not for diagnosis."
TOLERANCE = 1e-6
"""How far the weights may be from 1 in sum."""


@dataclass(frozen=True)
class Stack:
    """Members and what each counts.

    Raises:
        ExperimentError: The weights are not one a member, not negative and 1 in sum, or two members are the same.
    """

    members: tuple[str, ...]
    """What each is called: the digest of its fit, or who made it."""
    weights: tuple[float, ...]
    """One a member, not negative, 1 in sum."""

    def __post_init__(self) -> None:
        apart = len(set(self.members)) == len(self.members) == len(self.weights) > 0
        if not apart or min(self.weights) < 0 or abs(sum(self.weights) - 1) > TOLERANCE:
            raise ExperimentError("A stack needs different members, each with a weight, not negative, 1 in sum.")

    def __call__(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """Weigh what the members said.

        Args:
            logits: [cases, M, C], NaN throughout where a member is absent.

        Returns:
            [cases, C]; of the members that are there, by their weights; by equal ones where these are all 0.

        Raises:
            CohortError: The members are others than these, or a case has none; names its row.
        """
        if logits.shape[1] != len(self.members):
            raise CohortError(f"The stack has {len(self.members)} members; logits of {logits.shape[1]} were given.")
        if (lost := ~present(logits).any(axis=1)).any():
            raise CohortError(f"Case {lost.argmax()} (counted from 0) was scored by no member of the stack.")
        shares = shares_of(np.array(self.weights), present(logits))
        return np.asarray((np.nan_to_num(logits) * shares[..., None]).sum(axis=1), np.float32)

    def save(self, path: Path) -> None:
        """Write the stack as JSON, whole or not at all.

        Args:
            path: The file.
        """
        table = {"format": FORMAT, "notice": NOTICE, "stack": plain(self)}
        write_whole(path, (json.dumps(table, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Stack:
        """Read a stack, strictly.

        Args:
            path: As given to `save`.

        Returns:
            The stack.

        Raises:
            CheckpointError: The file is missing, damaged, or holds anything else.
        """
        try:
            table = json.loads(path.read_bytes())
            if set(table) != {"format", "notice", "stack"} or table["format"] != FORMAT:
                raise CheckpointError("The file of the stack is of another format.")
            return build(cls, table["stack"], "the stack")
        except (OSError, ValueError, TypeError, AttributeError, ExperimentError) as error:
            raise CheckpointError("The file of the stack is missing or damaged.") from error


def present(logits: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which members scored which cases.

    Args:
        logits: [cases, M, C].

    Returns:
        [cases, M].
    """
    return np.asarray(np.isfinite(logits).all(axis=2))


def shares_of(weights: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights of the members that are there, 1 in sum again.

    Args:
        weights: One a member [M].
        there: [cases, M].

    Returns:
        [cases, M]; equal ones where all who are there have weight 0, and 0 where nobody is.
    """
    counted = weights * there
    counted = np.where(counted.sum(axis=1, keepdims=True) > 0, counted, there)
    return np.asarray(counted / np.maximum(counted.sum(axis=1, keepdims=True), np.finfo(float).tiny))


def gather(
    said: Sequence[tuple[Sequence[str], NDArray[np.floating]]],
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Bring what members said of their own cases into one array; they need not have seen the same ones.

    Args:
        said: For each member its cases (all different) and their logits [cases, C].

    Returns:
        The union of the cases, in the order in which they first occur, and logits [cases, M, C], NaN where absent.

    Raises:
        CohortError: There is no member, one has a case twice, or they have different numbers of logits.
    """
    if not said or len({logits.shape[1] for _, logits in said}) > 1:
        raise CohortError("The members to stack must be at least one and give the same number of logits.")
    cases = tuple(dict.fromkeys(case for names, _ in said for case in names))
    rows = {case: row for row, case in enumerate(cases)}
    found = np.full((len(cases), len(said), said[0][1].shape[1]), np.nan)
    for member, (names, logits) in enumerate(said):
        if len(set(names)) < len(names) or len(names) != len(logits):
            raise CohortError(f"Member {member} of the stack does not give each of its cases once.")
        found[[rows[name] for name in names], member] = logits
    return cases, found

"""Several tasks over one head: logits and targets side by side, each case counting for what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil.errors import ExperimentError
from mil.tasks.task import Kind, Part, Task
from mil.tasks.texts import Table


@dataclass(frozen=True)
class Member:
    """One task among several."""

    name: str
    task: Task
    weight: float = 1.0
    """Of its loss, where the weights are fixed."""


@dataclass(frozen=True)
class Multitask(Task):
    """Tasks in an order; the first is the one that cases are ranked by."""

    members: tuple[Member, ...] = ()
    weighting: Literal["fixed", "uncertainty"] = "fixed"
    """Learnt weights are those of Kendall, Gal & Cipolla 2018, Multi-task learning using uncertainty."""
    kind: ClassVar[Kind] = "multitask"

    def __post_init__(self) -> None:
        """Refuse tasks that cannot be learnt side by side.

        Raises:
            ExperimentError: There are fewer than two, two have one name, one is several itself, or a weight is none.
        """
        names = {member.name for member in self.members}
        if len(self.members) < 2 or len(names) < len(self.members) or "" in names:
            raise ExperimentError("A multitask needs at least two members, all with names of their own.")
        if any(isinstance(member.task, Multitask) or member.weight <= 0 for member in self.members):
            raise ExperimentError("A member of a multitask is a single task with a weight above 0.")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The members with their places."""
        c = [0, *accumulate(member.task.outputs for member in self.members)]
        t = [0, *accumulate(member.task.width for member in self.members)]
        return tuple(
            Part(member.name, member.task, member.weight, slice(c[i], c[i + 1]), slice(t[i], t[i + 1]))
            for i, member in enumerate(self.members)
        )

    def part(self, name: str) -> Part:
        """Find a member.

        Args:
            name: Its name.

        Returns:
            It with its places.

        Raises:
            ExperimentError: There is none of that name.
        """
        found = [part for part in self.parts if part.name == name]
        if not found:
            raise ExperimentError(f"There is no task {name} among the members.")
        return found[0]

    @property
    def learns_weights(self) -> bool:
        """Whether the weights are learnt."""
        return self.weighting == "uncertainty"

    @property
    def columns(self) -> tuple[str, ...]:
        """Of all members, each once."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.task.columns))

    @property
    def outputs(self) -> int:
        """The sum of the members'."""
        return sum(member.task.outputs for member in self.members)

    @property
    def width(self) -> int:
        """The sum of the members'."""
        return sum(member.task.width for member in self.members)

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the members, each with the name of its member before it."""
        return tuple(f"{member.name}: {name}" for member in self.members for name in member.task.classes)

    def targets(self, table: Table) -> NDArray[np.float32]:
        """Read those of all members.

        Args:
            table: Column -> texts.

        Returns:
            [cases, T].
        """
        return np.concatenate([member.task.targets(table) for member in self.members], axis=1)

    def check(self, targets: NDArray[np.float32]) -> None:
        """Let each member check its own.

        Args:
            targets: [cases, T].
        """
        for part in self.parts:
            part.task.check(targets[:, part.targets])

    def fit_to(self, targets: NDArray[np.float32]) -> Multitask:
        """Settle each member.

        Args:
            targets: Of the training cases [cases, T].

        Returns:
            The task with settled members.
        """
        settled = [part.task.fit_to(targets[:, part.targets]) for part in self.parts]
        pairs = zip(self.members, settled, strict=True)
        return replace(self, members=tuple(replace(member, task=task) for member, task in pairs))

    def known(self, targets: Tensor) -> Tensor:
        """Where one member knows something.

        Args:
            targets: [B, T].

        Returns:
            bool [B].
        """
        return torch.stack([part.task.known(targets[:, part.targets]) for part in self.parts]).any(dim=0)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The members' losses, weighed as they are fixed.

        Args:
            logits: [B, C].
            targets: [B, T].

        Returns:
            [B].
        """
        each = [p.weight * p.task.losses(logits[:, p.logits], targets[:, p.targets]) for p in self.parts]
        return torch.stack(each).sum(dim=0)

    def strata(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """That of the first member that knows something, members apart.

        Args:
            targets: [cases, T].

        Returns:
            [cases]; -1 where no member does.
        """
        found = np.full(len(targets), -1, np.int64)
        for part in self.parts:
            own = part.task.strata(targets[:, part.targets])
            found = np.where((found < 0) & (own >= 0), own + found.max(initial=-1) + 1, found)
        return found

    def one_hot(self, targets: Tensor) -> Tensor | None:
        """True classes, where all members have some.

        Args:
            targets: [B, T].

        Returns:
            bool [B, C], or None.
        """
        found = [part.task.one_hot(targets[:, part.targets]) for part in self.parts]
        some = [each for each in found if each is not None]
        return torch.cat(some, dim=1) if len(some) == len(found) else None

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Those of the members, side by side; `parts` and a member's own verb give them one by one.

        Args:
            logits: [cases, C].

        Returns:
            [cases, K].
        """
        return self._side_by_side(logits, lambda task, own: task.probabilities(own))

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The score of each member.

        Args:
            logits: [cases, C].

        Returns:
            [cases, members].
        """
        return self._side_by_side(logits, lambda task, own: task.score(own)[:, None])

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """That of the first member.

        Args:
            logits: [cases, C].

        Returns:
            [cases].
        """
        return self.scores(logits)[:, 0]

    def _side_by_side(
        self, logits: NDArray[np.float32], say: Callable[[Task, NDArray[np.float32]], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        return np.concatenate([say(part.task, logits[:, part.logits]) for part in self.parts], axis=1)

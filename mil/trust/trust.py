"""What a model's logits may be believed: corrections fitted out of fold, applied with numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError, CheckpointError
from mil.tasks.task import Task
from mil.trust.corrections import Corrections
from mil.trust.ensemble import mutual_information, pool_members, share_apart
from mil.trust.questions import Question, questions_of
from mil.trust.tables import from_table, to_table
from mil.trust.trusted import Trusted

Sets = tuple[NDArray[np.bool_] | None, ...]


@dataclass(frozen=True)
class Trust:
    """Corrections of the logits of one task."""

    task: Task
    corrections: Corrections

    @property
    def questions(self) -> tuple[Question, ...]:
        """What the task asks, in the order of the corrections."""
        return questions_of(self.task)

    def calibrated(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate the logits of one model.

        Args:
            logits: [N, C].

        Returns:
            [N, C]; as they were where there is no probability to calibrate (a value, a log hazard ratio).
        """
        after = logits.copy()
        for question, calibration in zip(self.questions, self.corrections.calibrations, strict=True):
            if calibration is not None:
                after[:, slice(*question.logits)] = calibration.map(question.part(logits))
        return after

    def apply(self, logits: NDArray[np.floating[Any]]) -> Trusted:
        """Say what logits mean and which answers they cannot exclude.

        Args:
            logits: Of one model [N, C], or of an ensemble [members, N, C] whose calibrated logits are averaged; a
                member that did not score a case has NaN there.

        Returns:
            Probabilities, sets or intervals, and how far the members disagree where there are several.

        Raises:
            CalibrationError: The logits are not of this task, or a case has none; names it.
        """
        given = np.asarray(logits, np.float64)
        members = given[None] if given.ndim == 2 else given
        if members.ndim != 3 or members.shape[2] != self.task.outputs:
            raise CalibrationError(f"The task has {self.task.outputs} logits a case; what was given is {given.shape}.")
        flat = np.stack([self.calibrated(member) for member in members])
        pooled, several = pool_members(flat), given.ndim == 3
        sets = self._sets(pooled.logits)
        return Trusted(
            logits=pooled.logits,
            probabilities=self.task.probabilities(pooled.logits.astype(np.float32)),
            sets=sets,
            intervals=tuple(
                None if ends is None else ends.ends(question.values(pooled.logits))
                for question, ends in zip(self.questions, self.corrections.intervals, strict=True)
            ),
            spread=pooled.spread if several else None,
            information=self._information(flat) if several else (None,) * len(self.questions),
            apart=self._apart(flat, sets) if several else (None,) * len(self.questions),
            questions=self.questions,
            alpha=self.corrections.alpha,
        )

    def _sets(self, logits: NDArray[np.float64]) -> Sets:
        return tuple(
            None if sets is None else sets.sets(question.values(logits))
            for question, sets in zip(self.questions, self.corrections.conformal, strict=True)
        )

    def _apart(self, members: NDArray[np.float64], sets: Sets) -> tuple[NDArray[np.float64] | None, ...]:
        each = [self._sets(member) for member in members]
        return tuple(
            None if own is None else share_apart(own, [np.asarray(one[row]) for one in each], members)
            for row, own in enumerate(sets)
        )

    def _information(self, members: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, ...]:
        return tuple(
            mutual_information(np.stack([question.values(member) for member in members])) if question.answers else None
            for question in self.questions
        )

    def to_table(self) -> dict[str, Any]:
        """Write the corrections as JSON values.

        Returns:
            What `from_table` reads.
        """
        return to_table(self.corrections)

    @classmethod
    def from_table(cls, table: object, task: Task) -> Trust:
        """Read what `to_table` wrote.

        Args:
            table: As read from JSON.
            task: The task it was fitted for.

        Returns:
            The same trust.

        Raises:
            CheckpointError: It is not of this task; a wrong key or value ends in one too.
        """
        trust = cls(task, from_table(Corrections, table))
        if not trust.corrections.fit(trust.questions):
            raise CheckpointError("The saved corrections are of another task than the model's.")
        return trust

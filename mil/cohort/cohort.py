"""Cases: what is scored and split, a slide or a patient with several slides, joined with the table of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mil.bag import Bag
from mil.cohort.source import BagSource


@dataclass(frozen=True)
class Case:
    """One thing that gets a score."""

    id: str
    """The slide's pseudonym, or the patient's where all slides of a patient are one case."""
    patient: str
    """Never split by folds."""
    centre: str
    """Where the slide was made; "" where not known."""
    slides: tuple[int, ...]
    """Rows of the source."""
    row: int
    """Row of the table of labels (of the first slide), from 1, for messages."""


@dataclass(frozen=True)
class Joined:
    """What the join of bags and labels left out."""

    bags_without_row: int = 0
    rows_without_bag: int = 0
    filtered: int = 0
    """Slides that have both and that `where` does not ask for."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Cases of one source with the columns of their labels."""

    source: BagSource
    cases: tuple[Case, ...]
    table: Mapping[str, tuple[str, ...]]
    """Column -> one text a case, "" where not known."""
    joined: Joined = Joined()

    def __len__(self) -> int:
        return len(self.cases)

    def sizes(self) -> NDArray[np.int64]:
        """Tiles of each case.

        Returns:
            int64 [cases].
        """
        return np.array([self.source.sizes[list(case.slides)].sum() for case in self.cases], np.int64)

    def features(self, index: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read the tiles of a case: the union of its slides, in their order.

        Args:
            index: Which case.
            tiles: Which of its tiles, ascending; all if None.

        Returns:
            float32 [n, D].
        """
        slides = self.cases[index].slides
        if len(slides) == 1:
            return self.source.features(slides[0], tiles)
        starts = np.concatenate([[0], np.cumsum(self.source.sizes[list(slides)])])
        parts = []
        for slide, low, high in zip(slides, starts[:-1], starts[1:], strict=True):
            own = None if tiles is None else tiles[(tiles >= low) & (tiles < high)] - low
            if own is None or own.size:
                parts.append(self.source.features(slide, own))
        return np.concatenate(parts) if parts else np.zeros((0, self.source.width), np.float32)

    def bag(self, index: int) -> Bag:
        """Read a case whole, as what heads and explanations take.

        Args:
            index: Which case.

        Returns:
            The bag, without a label; places of several slides follow each other and may coincide.
        """
        case = self.cases[index]
        return Bag(
            id=case.id,
            features=self.features(index),
            coords=np.concatenate([self.source.coords(slide) for slide in case.slides]),
            patient=case.patient,
            mpp=self.source.mpp,
            encoder=self.source.encoder,
        )

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row of the table of labels of each case, from 0 [cases]."""
        return np.array([case.row - 1 for case in self.cases], np.int64)

    def laid_out(self, columns: Sequence[str], seen: NDArray[np.bool_] | None = None) -> dict[str, list[str]]:
        """Columns with each text in its row of the table of labels, so that a message about one names the right row.

        Args:
            columns: Which of `table`.
            seen: Whether the texts of a case may be looked at [cases]; all if None.

        Returns:
            Column -> texts; "" in rows of no case, and of cases that may not be seen. `rows` says where cases are.
        """
        shown = self.rows if seen is None else self.rows[seen]
        table = {}
        for name in columns:
            texts = dict(zip(self.rows.tolist(), self.table[name], strict=True))
            table[name] = [""] * (int(self.rows.max(initial=-1)) + 1)
            for row in shown.tolist():
                table[name][row] = texts[row]
        return table

    def subset(self, rows: Sequence[int] | NDArray[np.int64]) -> Cohort:
        """Some of the cases.

        Args:
            rows: Which, in the order wanted.

        Returns:
            A cohort over the same source.
        """
        chosen = [int(row) for row in rows]
        table = {name: tuple(column[row] for row in chosen) for name, column in self.table.items()}
        return replace(self, cases=tuple(self.cases[row] for row in chosen), table=table)

"""A cohort of elsewhere as if its sites were like those of training, so that what standardising wins can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mil.cohort.around import Around
from mil.cohort.cohort import Cohort
from mil.cohort.source import BagSource
from mil.errors import CohortError
from mil.experiment.folder import RunFolder
from mil.trust.combat import Combat, fit_combat
from mil.trust.coral import Coral, fit_coral
from mil.trust.harmonised import harmonise
from mil.trust.moments import slide_moments

Method = Literal["combat", "coral"]
METHODS: Final[tuple[Method, ...]] = ("combat", "coral")


class Window(Around):
    """Some slides of a source; its fingerprint stays the source's, for what is chosen is known from the cases.

    Args:
        source: The source.
        rows: Which.
        encoder: What its features shall be taken for.
    """

    def __init__(self, source: BagSource, rows: Sequence[int], encoder: str) -> None:
        super().__init__(source)
        self._rows, self._encoder = tuple(rows), encoder

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the chosen slides."""
        return tuple(self.source.ids[row] for row in self._rows)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Of the chosen slides."""
        return self.source.sizes[list(self._rows)]

    @property
    def encoder(self) -> str:
        """As given."""
        return self._encoder

    def features(self, row: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read tiles of a chosen slide.

        Args:
            row: Which of the chosen.
            tiles: Which of its tiles, ascending; all if None.

        Returns:
            float32 [n, D].
        """
        return self.source.features(self._rows[row], tiles)

    def coords(self, row: int) -> NDArray[np.int64]:
        """Where the tiles of a chosen slide are.

        Args:
            row: Which of the chosen.

        Returns:
            [N, 2].
        """
        return self.source.coords(self._rows[row])


def harmonised(run: RunFolder, cohort: Cohort, method: Method) -> Cohort:
    """Standardise each centre of a cohort, from its slides and without their labels.

    Args:
        run: Whose training cases are the reference.
        cohort: Of elsewhere.
        method: Which.

    Returns:
        The same cases with other features, which stand in for those of the run's encoder.
    """
    check_centres(cohort)
    window, sites = _window(cohort)
    made = harmonise(window.source, sites, _reference(run, method))
    return replace(window, source=Window(made, range(len(sites)), cohort.source.encoder))


def check_centres(cohort: Cohort) -> None:
    """See that each case has a centre.

    Args:
        cohort: Of elsewhere.

    Raises:
        CohortError: One has none; names its row.
    """
    for case in cohort.cases:
        if not case.centre:
            raise CohortError(f"Row {case.row} of the table of labels names no centre, and centres are standardised.")


def _reference(run: RunFolder, method: Method) -> Combat | Coral:
    training, sites = _window(run.experiment.development(run.experiment.cohort()))
    if method == "coral":
        return fit_coral(training.source, range(len(sites)))
    return fit_combat(slide_moments(training.source), sites)


def _window(cohort: Cohort) -> tuple[Cohort, list[str]]:
    """The cohort over its own slides alone, and the centre of each slide."""
    rows = [slide for case in cohort.cases for slide in case.slides]
    starts = np.concatenate([[0], np.cumsum([len(case.slides) for case in cohort.cases])])
    cases = tuple(
        replace(case, slides=tuple(range(low, high)))
        for case, low, high in zip(cohort.cases, starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    )
    sites = [case.centre for case in cohort.cases for _ in case.slides]
    return replace(cohort, source=Window(cohort.source, rows, cohort.source.encoder), cases=cases), sites

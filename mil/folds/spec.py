"""How cases are split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mil.errors import FoldError

By = Literal["patient", "centre", "leave-one-centre-out"]


@dataclass(frozen=True)
class FoldSpec:
    """How cases are split into folds, each of which is judged once a repeat.

    Raises:
        FoldError: A number is too small.
    """

    count: int = 5
    """Folds; leave-one-centre-out has as many as it finds centres instead."""
    repeats: int = 1
    by: By = "patient"
    """What stays whole. Centres stain and scan in their own way and differ in what they treat, so a head that met the
    centre in training looks better than it is (Howard et al., Nat Commun 2021, 12:4423)."""
    seed: int = 0
    pool: int = 10
    """Cases that a fold of leave-one-centre-out has at least: smaller centres are pooled until they do."""

    def __post_init__(self) -> None:
        if self.count < 2 or self.repeats < 1 or self.pool < 1 or self.seed < 0:
            raise FoldError("Folds need a count of 2 or more, repeats and pool of 1 or more, and a seed of 0 or more.")

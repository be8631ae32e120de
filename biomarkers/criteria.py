"""The numbers of a card that decide: gates, the cells of the grid, cut-offs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from biomarkers.strict import require


@dataclass(frozen=True)
class Gates:
    """How much of a slide must be judged before its score means anything."""

    min_tissue_mm2: float
    """Tissue on the slide, whatever its kind."""
    min_tiles: int
    """Tiles at the finest zoom."""

    def __post_init__(self) -> None:
        """Refuse gates that stop nothing."""
        require(self.min_tissue_mm2 > 0, "min_tissue_mm2 must be positive")
        require(self.min_tiles >= 1, "min_tiles must be at least 1")


@dataclass(frozen=True)
class Cells:
    """The square grid over which a share is followed from place to place."""

    area_mm2: float = 1.0
    """Park et al., J Clin Oncol 2022;40:1916 analyse the slide in cells of 1 mm2."""
    min_tissue_share: float = 0.25
    """A cell with less analysed tissue than this is left out: its share would be the share of a few tiles."""
    immune_share: float = 0.2
    """The fraction of cells with at least this immune share is printed. Ours, not a published cut-off."""

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        require(self.area_mm2 > 0, "area_mm2 must be positive")
        require(0 <= self.min_tissue_share <= 1, "min_tissue_share must lie between 0 and 1")
        require(0 <= self.immune_share <= 1, "immune_share must lie between 0 and 1")


PER_MM2: Final = Cells()
"""The cells of a card that says nothing of them."""


@dataclass(frozen=True)
class Cutoffs:
    """Where the categories begin. A score equal to an edge belongs to the category above it."""

    edges: tuple[float, ...]
    categories: tuple[str, ...]
    origin: str
    """Which data the edges were chosen on."""

    def __post_init__(self) -> None:
        """Refuse edges that do not divide 0..1 into the categories."""
        require(bool(self.edges) and all(0 < edge < 1 for edge in self.edges), "edges must lie between 0 and 1")
        require(all(a < b for a, b in pairwise(self.edges)), "edges must rise")
        require(
            len(self.categories) == len(self.edges) + 1 == len(set(self.categories)),
            "categories must be one more than edges, all different",
        )
        require(all(self.categories) and bool(self.origin.strip()), "categories and their origin must not be empty")

    def category(self, score: float) -> str:
        """The category of a score.

        Args:
            score: The score, without unit.

        Returns:
            The name of the category.
        """
        return self.categories[sum(score >= edge for edge in self.edges)]

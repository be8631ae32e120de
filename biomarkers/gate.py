"""Gates: whether enough of a slide can be judged for its score to mean anything."""

from __future__ import annotations

from collections.abc import Sequence

from biomarkers.card import Biomarker
from biomarkers.errors import GateError
from biomarkers.score import Gate
from tiling import TileGrid, TissueMask

WORDS = {"tissue": "tissue", "tiles": "tiles with tissue"}


def measure_gates(card: Biomarker, mask: TissueMask, grid: TileGrid) -> tuple[Gate, ...]:
    """Measure what the card's gates ask for.

    Args:
        card: The biomarker.
        mask: Tissue of the slide.
        grid: Tiles at the finest zoom.

    Returns:
        One gate a condition, passed or not.
    """
    return (
        Gate("tissue", mask.area_mm2(grid.mpp0), card.gates.min_tissue_mm2, "mm2"),
        Gate("tiles", float(len(grid)), float(card.gates.min_tiles)),
    )


def require_passed(gates: Sequence[Gate]) -> None:
    """Go on only if every gate is passed.

    Args:
        gates: The measured gates.

    Raises:
        GateError: If one is not; the message lists all that failed.
    """
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        reasons = (
            f"{gate.value:.3g} {gate.unit or WORDS[gate.name]}{_of(gate)}, at least {gate.limit:g} needed"
            for gate in failed
        )
        raise GateError(f"too little can be judged: {'; '.join(reasons)}")


def _of(gate: Gate) -> str:
    return f" of {WORDS[gate.name]}" if gate.unit else ""

"""Which columns say what, which rows are taken, and what is one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

CENTRE: Final = "centre"


@dataclass(frozen=True)
class CohortSpec:
    """How bags and labels become cases."""

    slide: str = "slide_id"
    """Column of the slides' names, as the bags have them."""
    patient: str = "patient"
    """Column of the patients; it must be there, for folds that split a patient flatter every model."""
    centre: str = CENTRE
    """Column of the centres; under its usual name it may be missing, and no centre is known then."""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> texts; only rows that have one of them in each such column are taken."""
    unit: Literal["slide", "patient"] = "slide"
    """What is one case; of a patient, all slides are one bag."""
    zooms: tuple[float, ...] = ()
    """Zooms of embeddings stores to join, um/px; () where stores have one only. Files of bags are as they are."""

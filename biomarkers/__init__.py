"""Biomarkers: cards that say what is measured, scores with their whole provenance, reports, cohorts.

>>> from biomarkers import load_card
>>> load_card("demo-response").demonstration
True
"""

from __future__ import annotations

from biomarkers.card import Biomarker, list_cards, load_card
from biomarkers.cohort import score_cohort
from biomarkers.errors import (
    BiomarkerError,
    CardError,
    FolderInUseError,
    GateError,
    ManifestError,
    ResultError,
    UnknownBiomarkerError,
)
from biomarkers.outcome import CohortResult, Outcome
from biomarkers.pipeline import score
from biomarkers.result import read_result, verify_result
from biomarkers.score import Gate, Score

__all__ = [
    "Biomarker",
    "BiomarkerError",
    "CardError",
    "CohortResult",
    "FolderInUseError",
    "Gate",
    "GateError",
    "ManifestError",
    "Outcome",
    "ResultError",
    "Score",
    "UnknownBiomarkerError",
    "list_cards",
    "load_card",
    "read_result",
    "score",
    "score_cohort",
    "verify_result",
]

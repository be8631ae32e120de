"""Folds that can be trusted: no patient split, no centre split where asked, every class in every fold."""

from __future__ import annotations

from mil.folds.check import check_folds, read_folds
from mil.folds.leakage import Finding, leakage_report
from mil.folds.make import hold_out, inner_folds, make_folds
from mil.folds.spec import FoldSpec

__all__ = [
    "Finding",
    "FoldSpec",
    "check_folds",
    "hold_out",
    "inner_folds",
    "leakage_report",
    "make_folds",
    "read_folds",
]

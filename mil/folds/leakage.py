"""Guards against answers that leak from training to judging in ways that folds by patient do not stop."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort

COSINE: Final = 0.999
"""Above it two slides are taken for one: the same section scanned again, or a copy under another name."""
CHANCE: Final = 1e-3
"""Below it, names that hold a label's text hold it not by chance."""
FEWEST: Final = 3
"""Names that hold their label, below which it says nothing."""
BLOCK: Final = 512
"""Cases that are compared with all others at a time."""


@dataclass(frozen=True)
class Finding:
    """Something that may leak."""

    kind: Literal["near-duplicate", "label-in-name"]
    rows: tuple[int, ...]
    """Rows of the table of labels."""
    message: str
    """One sentence."""


def leakage_report(cohort: Cohort, folds: NDArray[np.int64]) -> list[Finding]:
    """Look for slides that are in two folds under two names, and for labels inside the names of slides.

    Reads every bag once.

    Args:
        cohort: The cases, with the columns of their labels.
        folds: [cases] or [repeats, cases].

    Returns:
        What was found; empty when nothing was.
    """
    return [*_near_duplicates(cohort, np.atleast_2d(folds)), *_labels_in_names(cohort)]


def _near_duplicates(cohort: Cohort, folds: NDArray[np.int64]) -> Iterator[Finding]:
    means = np.stack([cohort.features(index).mean(axis=0, dtype=np.float64) for index in range(len(cohort))])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    for start in range(0, len(means), BLOCK):
        near = means[start : start + BLOCK] @ means.T > COSINE
        for one, two in zip(*np.nonzero(near), strict=True):
            first, second = int(one) + start, int(two)
            if first < second and (folds[:, first] != folds[:, second]).any():
                rows = (cohort.cases[first].row, cohort.cases[second].row)
                yield Finding(
                    "near-duplicate", rows, f"Rows {rows[0]} and {rows[1]} are in two folds and nearly the same slide."
                )


def _labels_in_names(cohort: Cohort) -> Iterator[Finding]:
    names = [" ".join(cohort.source.ids[slide] for slide in case.slides).lower() for case in cohort.cases]
    for column, texts in cohort.table.items():
        found = _telling(names, [text.lower() for text in texts])
        if found:
            rows = tuple(cohort.cases[index].row for index in found)
            yield Finding(
                "label-in-name",
                rows,
                f"The names of {len(rows)} slides, the first in row {rows[0]}, hold what column {column} says of them.",
            )


def _telling(names: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Cases whose name holds the text of their label, for labels where that is not by chance.

    Names hold codes of centres and parts of hashes, so a label's text is found in some by chance. It tells something if
    at least 95 % of the cases with that text in their name have the label, and as many would do so by chance less than
    once in a thousand such columns.
    """
    counts = Counter(text for text in texts if text)
    found: list[int] = []
    for text, count in counts.items():
        if count < FEWEST:
            continue
        # short texts must stand alone; a long one may be a part of a word
        part = re.escape(text) if len(text) > 2 else rf"(?<![a-z0-9]){re.escape(text)}(?![a-z0-9])"
        holders = [index for index, name in enumerate(names) if text in name and re.search(part, name)]
        own = [index for index in holders if texts[index] == text]
        by_chance = (count / len(texts)) ** len(own) * len(counts)
        if len(own) >= max(FEWEST, 0.95 * len(holders)) and by_chance < CHANCE:
            found += own
    return sorted(found)

"""Choose prompts by the slide itself, without labels, as KEEP does.

Zhou et al., Cancer Cell 2026, doi 10.1016/j.ccell.2026.01.019. A candidate is one wording: a template, and one word of
each class. Of its cosines z to the tiles of the slide, the mean of (z_1st - z_2nd) - |z_1st + z_2nd - 1| is its score;
the directions of the 50 best candidates are added up for each class. Nothing that is known about the slide enters, so
the choice cannot leak a label, and the slide's own answer cannot prove it right either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foundation.encoder import TextEncoder
from foundation.prompt_set import PromptSet
from foundation.query import Vectors, spelled, templates_of, unit

KEPT: Final = 50
"""Candidates that are added up, as in KEEP's code."""
TRIED: Final = 500
"""Candidates at most."""
TILES: Final = 2000
"""Tiles that judge them: every n-th of a larger slide."""


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """What screening chose."""

    classes: Vectors
    """Direction of each class [C, D], of length 1."""
    kept: tuple[str, ...]
    """The best wordings, the best first: `template: word, word ...`."""
    scores: NDArray[np.float32]
    """Score of every candidate, in the order of `kept` first."""

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            How many wordings were tried and kept, the best of them, and the range of their scores.
        """
        best, worst = (round(float(value), 5) for value in (self.scores[0], self.scores[-1]))
        return {
            "tried": len(self.scores),
            "kept": len(self.kept),
            "best": list(self.kept[:3]),
            "score_best": best,
            "score_worst": worst,
        }


def screened(encoder: TextEncoder, asked: PromptSet, features: NDArray[Any]) -> Screened:
    """Screen the wordings of a set.

    Args:
        encoder: The text side.
        asked: The set.
        features: Of the slide's tiles [N, D].

    Returns:
        The directions to ask with.
    """
    templates = templates_of(asked)
    texts = [spelled(encoder, one.words, templates) for one in asked.classes]
    wordings = _wordings([len(one.words) for one in asked.classes], len(templates))
    vectors = np.stack([[texts[c][word, t] for c, word in enumerate(words)] for t, *words in wordings])
    tiles = unit(features[:: max(1, -(-len(features) // TILES))])
    scores = np.array([_score(tiles @ candidate.T) for candidate in vectors], np.float32)
    order = np.argsort(-scores, kind="stable")
    kept = tuple(_spelt(wordings[k], asked, templates) for k in order[:KEPT])
    return Screened(unit(vectors[order[:KEPT]].sum(axis=0)), kept, scores[order])


def _score(cosines: Vectors) -> float:
    """How clearly and how plausibly a wording parts the tiles [n, C]."""
    second, first = np.partition(cosines, -2, axis=1)[:, -2:].T
    return float(((first - second) - np.abs(first + second - 1)).mean())


def _wordings(words: list[int], templates: int) -> list[tuple[int, ...]]:
    """Candidates (template, word of each class): all of them, or as many as are tried, always the same."""
    sizes = [templates, *words]
    if math.prod(sizes) <= TRIED:
        return list(product(*map(range, sizes)))
    drawn = np.random.default_rng(0).integers(0, sizes, (TRIED, len(sizes)))
    return list(dict.fromkeys(tuple(row) for row in drawn.tolist()))


def _spelt(wording: tuple[int, ...], asked: PromptSet, templates: tuple[str, ...]) -> str:
    template, *words = wording
    return f"{templates[template]}: {', '.join(one.words[k] for one, k in zip(asked.classes, words, strict=True))}"

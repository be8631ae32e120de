"""What a slide answers: values of every tile, a score, areas, tiles to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.bank import Percentiles
from foundation.embeddings import NOTICE
from foundation.slide_score import TopTile

CLOSED_NOTE = (
    "Closed vocabulary: each prompt is one of twelve breast tissues by name or synonym; nothing else is understood. "
    "A probability is the share of the tile's tissue that a tissue head estimates."
)
OPEN_NOTE = (
    "Zero-shot: a probability weighs the prompt against a fixed contrast set, or against the other classes of its set, "
    "by the encoder's own temperature. It is not calibrated, and negation and numbers are not understood."
)
EXAMPLES_NOTE = (
    "By example: a probability weighs the likeness to the examples against that to the slide's average tile; a tile as "
    "near to the examples as they are to each other has 0.9. It is not calibrated."
)


@dataclass(frozen=True, slots=True, eq=False)
class PromptAnswer:
    """What a slide answers to one prompt, to one class of a set, or to examples."""

    prompt: str
    meaning: str
    """The tissues the prompt means in the closed vocabulary; otherwise the prompt itself."""
    raw: NDArray[np.float32]
    """Cosine [N], or the tissue head's output before softmax in the closed vocabulary."""
    probability: NDArray[np.float32]
    """Probability [N] against what the prompt is weighed against."""
    score: float
    """Mean of the K largest probabilities."""
    raw_score: float
    """Mean of the K largest raw values (MI-Zero, Lu et al., CVPR 2023, arXiv:2306.07831)."""
    share: float
    """Share of the tiles where the prompt is more probable than anything it is weighed against."""
    area_mm2: float
    """Tissue in those tiles."""
    share_area_mm2: float | None
    """Tissue weighed with the probability, where that is a share of the tile (closed vocabulary)."""
    top: tuple[TopTile, ...]
    """The most probable first; none over another, and not all alike."""
    background: bool = False
    """Not looked for: left out where classes compete for the slide."""
    against_bank: Percentiles | None = None
    """Where slide and tiles stand among those of a background bank."""

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            The fields by name, without the values of every tile.
        """
        fields = ("prompt", "meaning", "score", "raw_score", "share", "area_mm2", "share_area_mm2", "background")
        document: dict[str, Any] = {name: getattr(self, name) for name in fields}
        names = TopTile.__slots__
        document["top"] = [{name: getattr(tile, name) for name in names} for tile in self.top]
        document["against_bank"] = self.against_bank.to_json() if self.against_bank else None
        return document


@dataclass(frozen=True, slots=True)
class ClassChoice:
    """Which class of a set the slide is, two ways; background never is."""

    by_top_k: str
    """The class with the largest raw score (MI-Zero)."""
    by_share: str | None
    """The class that wins most tiles (KEEP, Zhou et al., Cancer Cell 2026); None where background wins all."""
    shares: dict[str, float]
    """Of each class among the tiles that background does not win; empty where it wins all."""

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            The fields by name.
        """
        return {"by_top_k": self.by_top_k, "by_share": self.by_share, "shares": self.shares}


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a slide answers to a question."""

    prompts: tuple[PromptAnswer, ...]
    """Of the prompts, then of the classes of the set, then of the examples."""
    mpp: float
    """The zoom asked, um/px."""
    coords: NDArray[np.int64]
    """Top left of each tile [N, 2], level-0 pixels."""
    extent: tuple[float, float]
    """Width and height of a tile in level-0 pixels."""
    k: int
    """Tiles in a slide's score."""
    closed_vocabulary: bool
    note: str
    provenance: dict[str, Any]
    """Fingerprints and digests of everything the answer follows from."""
    warnings: tuple[str, ...] = ()
    """What in the prompts is not understood as it is meant."""
    choice: ClassChoice | None = None
    """Of a prompt set."""
    screening: dict[str, Any] | None = None
    """What screening tried and kept."""
    examples: dict[str, Any] | None = None
    """Which tiles were examples, and how near they are to each other."""
    notice: str = NOTICE

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            The fields by name; `tiles` is their number.
        """
        fields = ("mpp", "k", "closed_vocabulary", "note", "provenance", "screening", "examples", "notice")
        document: dict[str, Any] = {name: getattr(self, name) for name in fields}
        document["warnings"] = list(self.warnings)
        document["choice"] = self.choice.to_json() if self.choice else None
        document["prompts"] = [prompt.to_json() for prompt in self.prompts]
        document["tiles"] = len(self.coords)
        return document

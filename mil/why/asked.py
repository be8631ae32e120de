"""A head with the slide it is asked about: the score of all its tiles, of some of them, and of all but one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from mil.batch import collate
from mil.head import Head, HeadOutput
from mil.pooling import in_chunks

NUMBERS = 1 << 25
"""Numbers in one batch of subsets (128 MB); a subset that is larger goes alone."""

Subset = NDArray[np.int64]
"""Which tiles of the slide are there, at least one."""


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores parts of one slide."""

    @property
    def count(self) -> int:
        """Tiles N of the slide."""

    def scores(self, subsets: Sequence[Subset]) -> NDArray[np.float64]:
        """Score parts of the slide.

        Args:
            subsets: K of them.

        Returns:
            One logit a part [K].
        """


@dataclass(frozen=True, eq=False)
class Asked:
    """One output of one head, asked about one slide."""

    head: Head
    """In evaluation mode."""
    features: NDArray[np.float32]
    """Raw embeddings [N, D]."""
    output: int = 0
    """Which logit."""

    @property
    def count(self) -> int:
        """Tiles N of the slide."""
        return len(self.features)

    @cached_property
    def encoded(self) -> NDArray[np.float32]:
        """What the head pools [N, H]: each tile is encoded by itself, so once is enough for all parts of the slide."""
        raw = torch.from_numpy(np.require(self.features, requirements="W"))[None]
        with torch.no_grad():
            found = in_chunks(lambda tiles: self.head.encode((tiles - self.head.mean) / self.head.scale), raw)
        return np.asarray(found[0].numpy())

    @cached_property
    def whole(self) -> HeadOutput:
        """What the head says about the whole slide, with what it explains by itself."""
        with torch.no_grad():
            output: HeadOutput = self.head(*collate([self.features]), explain=True)
        return output

    @property
    def logit(self) -> float:
        """Score of the whole slide."""
        return float(self.whole.logits[0, self.output])

    @property
    def bias(self) -> float:
        """Score before any tile has its say."""
        return float(self.head.bias[self.output])

    def scores(self, subsets: Sequence[Subset]) -> NDArray[np.float64]:
        """Score parts of the slide by pooling each, many at a time.

        Args:
            subsets: K of them.

        Returns:
            One logit a part [K].
        """
        return self._scores(subsets)

    def without_each(self) -> NDArray[np.float64]:
        """Score the slide without each tile in turn.

        Returns:
            One logit a tile [N]; of a slide of one tile, the bias.
        """
        if self.count == 1:
            return np.array([self.bias])
        everything = np.arange(self.count)
        return self._scores(np.delete(everything, tile) for tile in everything)

    def _scores(self, subsets: Iterable[Subset]) -> NDArray[np.float64]:
        found = [self._logits([self.encoded[tiles] for tiles in group]) for group in self._groups(subsets)]
        return np.concatenate(found)

    def _groups(self, subsets: Iterable[Subset]) -> Iterator[list[Subset]]:
        most, group, longest = NUMBERS // self.encoded.shape[1], list[Subset](), 0
        for tiles in subsets:
            longest = max(longest, len(tiles))
            if group and longest * (len(group) + 1) > most:
                yield group
                group, longest = [], len(tiles)
            group.append(tiles)
        yield group

    @torch.no_grad()
    def _logits(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        logits = self.head.pool(*collate(parts), explain=False).logits[:, self.output]
        return np.asarray(logits.double().numpy())

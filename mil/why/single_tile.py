"""What the head would say if the slide were that tile alone."""

from __future__ import annotations

import numpy as np

from mil.why.asked import Asked
from mil.why.averaging import Averaging
from mil.why.relevance import Relevance


def single_tile(asked: Asked, scorer: Asked | Averaging) -> Relevance:
    """Score each tile as a slide of its own.

    Args:
        asked: Head and slide.
        scorer: Not needed: each tile is embedded once in any case.

    Returns:
        Logits of the tiles.
    """
    del scorer
    return Relevance(asked.scores(list(np.arange(asked.count)[:, None])).astype(np.float32))

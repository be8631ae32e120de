"""What the slide's score loses when one tile is not there. Exact for every head; N passes unless the head averages."""

from __future__ import annotations

import numpy as np

from mil.why.asked import Asked
from mil.why.averaging import Averaging
from mil.why.relevance import Relevance


def leave_one_out(asked: Asked, scorer: Asked | Averaging) -> Relevance:
    """Take out each tile in turn.

    Args:
        asked: Head and slide.
        scorer: The cheapest exact way to score parts of the slide.

    Returns:
        Score of the whole less score without the tile, in logits; of a slide of one tile, what it adds to the bias.
    """
    return Relevance((asked.logit - scorer.without_each()).astype(np.float32))

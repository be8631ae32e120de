"""How much each tile was listened to. It has no sign, and need not be what the score rests on.

Ilse, Tomczak, Welling, ICML 2018, arXiv:1802.04712. That attention often fails to show what decides is measured in
arXiv:2603.08328; here the faithfulness figure says so for each slide.
"""

from __future__ import annotations

from mil.errors import HeadError
from mil.why.asked import Asked
from mil.why.averaging import Averaging
from mil.why.relevance import Relevance


def attention(asked: Asked, scorer: Asked | Averaging) -> Relevance:
    """Ask the head how it weighs the tiles.

    Args:
        asked: Head and slide.
        scorer: Not needed.

    Returns:
        Weights, 1 in sum.

    Raises:
        HeadError: The head does not weigh tiles.
    """
    del scorer
    weights = asked.whole.attention
    if weights is None:
        raise HeadError("The head does not weigh tiles, so there is no attention; leave-one-out fits every head.")
    return Relevance(weights[0].numpy())

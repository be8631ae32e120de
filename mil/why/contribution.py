"""What each tile added to the logit, exactly, by heads that are a sum over tiles.

Javed et al., "Additive MIL", NeurIPS 2022, arXiv:2206.01794.
"""

from __future__ import annotations

from mil.errors import HeadError
from mil.why.asked import Asked
from mil.why.averaging import Averaging
from mil.why.relevance import Relevance


def contribution(asked: Asked, scorer: Asked | Averaging) -> Relevance:
    """Ask the head what each tile added; with the bias the values sum to the logit.

    Args:
        asked: Head and slide.
        scorer: Not needed.

    Returns:
        Contributions in logits.

    Raises:
        HeadError: The head is not a sum over tiles.
    """
    del scorer
    parts = asked.whole.contributions
    if parts is None:
        raise HeadError("The head is not a sum over tiles, so none has a contribution; leave-one-out fits every head.")
    values = parts[0, :, asked.output].numpy()
    return Relevance(values, abs(float(values.sum(dtype="float64")) + asked.bias - asked.logit))

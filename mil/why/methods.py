"""The methods of explanation, one a file, and which of them to take where none is named."""

from __future__ import annotations

from collections.abc import Mapping

from mil.errors import ExperimentError
from mil.why.asked import Asked
from mil.why.attention import attention
from mil.why.averaging import Averaging, is_cheap
from mil.why.contribution import contribution
from mil.why.integrated_gradients import integrated_gradients
from mil.why.leave_one_out import leave_one_out
from mil.why.relevance import Method
from mil.why.single_tile import single_tile

METHODS: Mapping[str, Method] = {
    "contribution": contribution,
    "single-tile": single_tile,
    "leave-one-out": leave_one_out,
    "integrated-gradients": integrated_gradients,
    "attention": attention,
}
"""Name -> what does it."""
LABELS: Mapping[str, str] = {
    "contribution": "contribution of the tile to the logit",
    "single-tile": "logit of the tile alone",
    "leave-one-out": "what the logit loses without the tile",
    "integrated-gradients": "integrated gradient of the tile, in logits",
    "attention": "attention to the tile",
}
"""Name -> what its values are, for the legend of a map."""


def find_method(name: str) -> Method:
    """Find a method.

    Args:
        name: A name in `METHODS`.

    Returns:
        What does it.

    Raises:
        ExperimentError: There is none of that name.
    """
    if name not in METHODS:
        raise ExperimentError(f"There is no explanation by {name}; there are {', '.join(METHODS)}.")
    return METHODS[name]


def fitting_method(asked: Asked, scorer: Asked | Averaging) -> str:
    """Choose for a head.

    Args:
        asked: Head and slide.
        scorer: The cheapest exact way to score parts of the slide.

    Returns:
        `contribution` where the head is a sum over tiles, else `leave-one-out`; where that would take more than
        `MOST_PASSES` passes, `integrated-gradients`.
    """
    if asked.whole.contributions is not None:
        return "contribution"
    return "leave-one-out" if is_cheap(scorer) else "integrated-gradients"

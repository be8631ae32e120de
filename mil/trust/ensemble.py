"""Members of an ensemble (folds times seeds): the mean of their calibrated logits, and how far they disagree."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError


@dataclass(frozen=True, eq=False)
class Pooled:
    """What members say together."""

    logits: NDArray[np.float64]
    """Mean over the members that scored the case [N, C]."""
    spread: NDArray[np.float64]
    """Their standard deviation [N, C]: what the choice of training cases and seed moves; NaN where one alone scored."""
    members: NDArray[np.int64]
    """How many scored the case [N]."""


def pool_members(logits: NDArray[np.float64]) -> Pooled:
    """Average members, each case over those that scored it.

    Args:
        logits: Calibrated [members, N, C]; NaN where a member did not score the case.

    Returns:
        Mean, spread and number of members.

    Raises:
        CalibrationError: A case has no member, or a logit is infinite; names the case.
    """
    there = np.logical_not(np.isnan(logits).any(axis=2))
    wrong = ~there.any(axis=0) | np.isinf(logits).any(axis=(0, 2))
    if wrong.any():
        raise CalibrationError(f"Case {int(wrong.argmax())} has no finite logit of any member.")
    seen = np.where(there[..., None], logits, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one member alone has no spread: NaN is the answer
        spread = np.nanstd(seen, axis=0, ddof=1)
    return Pooled(np.nanmean(seen, axis=0), spread, there.sum(axis=0))


def mutual_information(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """What members' answers say of which member was asked: the part of the uncertainty that is disagreement.

    Entropy of the mean minus mean of the entropies (Houlsby et al., 2011, arXiv:1112.5745).

    Args:
        chances: Probability of each answer by each member [members, N, K]; NaN where a member did not score the case.

    Returns:
        Nats, [N], at least 0.
    """

    def entropy(part: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(-(part * np.log(np.clip(part, 1e-300, None))).sum(axis=-1))

    gain = entropy(np.nanmean(chances, axis=0)) - np.nanmean(entropy(chances), axis=0)
    return np.asarray(np.maximum(gain, 0.0))


def share_apart(
    own: NDArray[np.bool_], others: Sequence[NDArray[np.bool_]], logits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How many members alone would give another set than all together.

    Args:
        own: The set of all [N, K].
        others: The sets of each member [N, K].
        logits: Of the members [members, N, C]; NaN where one did not score the case.

    Returns:
        Share of those that scored the case [N].
    """
    scored = np.logical_not(np.isnan(logits).any(axis=2))
    apart = np.stack([np.not_equal(other, own).any(axis=1) for other in others])
    return np.asarray((apart & scored).sum(axis=0) / scored.sum(axis=0))

"""Scoring a bag with a fitted head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mil.bag import Bag
from mil.batch import collate, pin_threads
from mil.cohort.cohort import Cohort
from mil.errors import BagError, EmptyBagError
from mil.train import Fit


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a head says about one slide."""

    probability: float
    """Of the positive class, not calibrated."""
    logit: float
    """Before the logistic function."""
    contributions: NDArray[np.float32] | None
    """What each tile added to the logit [N], in the order of the bag; with the head's bias they sum to it. None where
    the head is not a sum over tiles; `mil.explain_tiles` then says what each did."""
    attention: NDArray[np.float32] | None
    """How much each tile was listened to [N], 1 in sum; None where the head does not weigh tiles."""


def require_fitting(fit: Fit, bag: Bag) -> None:
    """Refuse a bag that a head was not fitted to.

    Args:
        fit: Fresh or loaded.
        bag: What it is asked about.

    Raises:
        BagError: The bag is of another encoder, other zooms or another width.
    """
    if (bag.encoder, bag.mpp, bag.features.shape[1]) != (fit.encoder, fit.mpp, fit.head.in_dim):
        raise BagError("The bag was made by another encoder or at other zooms than the head was fitted to.")


@torch.inference_mode()
def predict(fit: Fit, bag: Bag) -> Prediction:
    """Score one bag; the same bits on any number of cores. One of another encoder, zoom or width is a `BagError`.

    Args:
        fit: Fresh or loaded.
        bag: Made by the encoder and at the zooms the head was fitted to.

    Returns:
        Probability, logit, and contribution and attention of each tile.

    Raises:
        BagError: The head gives several logits.
    """
    if fit.head.out_dim != 1:
        raise BagError("The head gives several logits, so there is no one probability.")
    require_fitting(fit, bag)
    pin_threads()
    output = fit.head(*collate([bag.features]), explain=True)
    logit = float(output.logits[0, 0])
    return Prediction(
        probability=float(torch.sigmoid(output.logits[0, 0])),
        logit=logit,
        contributions=None if output.contributions is None else output.contributions[0, :, 0].numpy(),
        attention=None if output.attention is None else output.attention[0].numpy(),
    )


@torch.inference_mode()
def predict_cohort(fit: Fit, cohort: Cohort) -> NDArray[np.float32]:
    """Score cases one by one on all their tiles, so that no score depends on who else is in the cohort.

    Args:
        fit: Fresh or loaded.
        cohort: Cases of the encoder and at the zooms the head was fitted to; one bag at a time is in memory.

    Returns:
        Logits float32 [cases, C].

    Raises:
        BagError: The bags are of another encoder, other zooms or another width.
        EmptyBagError: A case has no tile; names its row.
    """
    source = cohort.source
    if (source.encoder, source.mpp, source.width) != (fit.encoder, fit.mpp, fit.head.in_dim):
        raise BagError("The bags were made by another encoder or at other zooms than the head was fitted to.")
    pin_threads()
    logits = np.zeros((len(cohort), fit.head.out_dim), np.float32)
    for index, case in enumerate(cohort.cases):
        features = cohort.features(index)
        if not len(features):
            raise EmptyBagError(f"The case of row {case.row} of the labels has no tile.")
        logits[index] = fit.head(*collate([features])).logits[0].float().numpy()
    return logits

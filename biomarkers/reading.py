"""What a head says about one slide: from embeddings to numbers. mil, and torch with it, is loaded on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from biomarkers.card import Biomarker
from biomarkers.composition import IMMUNE, measure
from biomarkers.errors import GateError
from foundation import ContractError, Embeddings, TissueHead
from tiling import TileGrid

if TYPE_CHECKING:
    from mil import Explanation


@dataclass(frozen=True, eq=False)
class Reading:
    """Score, measures and one value a tile, all over the tiles of the finest zoom in the order of the grid."""

    score: float
    measures: Mapping[str, object]
    heat: NDArray[np.floating]
    """What the heat map shows, [N]."""
    heat_label: str
    diverging: bool
    """True where 0 is the middle of the heat map's scale."""
    head: Mapping[str, object]
    """Name and digest of what turned features into numbers."""
    shares: NDArray[np.floating] | None = None
    """Tissue class shares of each tile, [N, C]; None where no tissue head fits the encoder and zoom."""
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> list[str]:
        """The most likely class of each tile; empty without shares."""
        return [] if self.shares is None else [self.names[index] for index in np.argmax(self.shares, axis=1)]


def read(card: Biomarker, embeddings: Embeddings, grid: TileGrid) -> Reading:
    """Apply the head of a card.

    Args:
        card: The biomarker.
        embeddings: Of the slide, at the card's zooms.
        grid: Tiles at the finest zoom.

    Returns:
        The reading.
    """
    return KINDS[card.kind](card, embeddings, grid)


def read_composition(card: Biomarker, embeddings: Embeddings, grid: TileGrid) -> Reading:
    """Measure the tissue composition.

    Args:
        card: A card of kind `composition`.
        embeddings: Of the slide.
        grid: Its tiles.

    Returns:
        The reading; the heat map shows the immune share.

    Raises:
        GateError: If the score cannot be formed, because there is neither stroma nor tumour.
    """
    head = TissueHead.fitting(embeddings, grid.mpp)
    shares = head.shares(embeddings.features(grid.mpp))
    measures = measure(grid, shares, head.names, card.cells)
    value = measures[card.score]
    if not isinstance(value, float):
        raise GateError("too little can be judged: there is neither stroma nor tumour epithelium")
    return Reading(
        score=value,
        measures={"surrogate": card.surrogate, **measures},
        heat=shares[:, head.names.index(IMMUNE)],
        heat_label="immune share of the tile",
        diverging=False,
        head={"name": "tissue", "digest": head.weights_digest},
        shares=shares,
        names=head.names,
    )


def read_mil(card: Biomarker, embeddings: Embeddings, grid: TileGrid) -> Reading:
    """Apply a trained multiple-instance head.

    Args:
        card: A card of kind `mil`.
        embeddings: Of the slide.
        grid: Its tiles at the finest zoom.

    Returns:
        The reading; the heat map shows what each tile added to the logit, or, where the head is not a sum over tiles,
        what the logit loses without it; the measures say which, and how faithful the map is.
    """
    from mil import bag_from_embeddings, explain_tiles, load_fit, predict

    fit = load_fit(card.head_dir)
    bag = bag_from_embeddings(embeddings, card.zooms)
    prediction = predict(fit, bag)
    why = explain_tiles(fit, bag)
    shares, names = _tissue(embeddings, grid.mpp)
    return Reading(
        score=prediction.probability,
        measures={"logit": prediction.logit, "calibrated": False, **faithfulness(why)},
        heat=why.values,
        heat_label=why.label,
        diverging=True,
        head={"name": fit.head_name, "digest": fit.digest},
        shares=shares,
        names=names,
    )


def faithfulness(why: Explanation) -> dict[str, object]:
    """The figure that stands beside every map: is it what the score rests on?

    Args:
        why: The explanation whose values are drawn.

    Returns:
        Method, and the area between the flipping curves in logits, beside that of random orders.
    """
    return {
        "explanation": why.method,
        "faithfulness": why.faithfulness.area,
        "faithfulness_random": why.faithfulness.random_area,
        "faithfulness_random_sd": why.faithfulness.random_sd,
    }


def tissue_digest(encoder: str) -> str | None:
    """Digest of the tissue head that draws the class map of a report and measures the composition.

    Args:
        encoder: Key of the card's encoder.

    Returns:
        64 hex digits, or None where no head reads its features.
    """
    try:
        return TissueHead.for_encoder(encoder).weights_digest
    except ContractError:
        return None


def _tissue(embeddings: Embeddings, mpp: float) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
    """Class shares and names for a report, where a tissue head fits encoder and scale."""
    try:
        head = TissueHead.fitting(embeddings, mpp)
    except ContractError:
        return None, ()
    return head.shares(embeddings.features(mpp)), head.names


KINDS: Final[Mapping[str, Callable[[Biomarker, Embeddings, TileGrid], Reading]]] = {
    "composition": read_composition,
    "mil": read_mil,
}
"""Kind of card -> what reads it."""

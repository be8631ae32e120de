"""For which encoders there is a tissue head, and what its making and its card need to know of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.tissue_bank import Field, Splitter, by_block, by_name


@dataclass(frozen=True)
class Plan:
    """How the head of one encoder is made and described."""

    field: Field
    splitter: Splitter
    precision: type[np.floating[Any]]
    """Of the weights file."""
    command: str
    """Behind `python -m tools.train_tissue_head`."""
    features: str
    """Whose features it reads."""
    split: str
    """How patches are split."""
    caveats: tuple[str, ...]
    """What this head cannot do beyond what none can."""


PLANS = {
    "builtin": Plan(
        field=Field(224, (0.5, 1.0)),
        splitter=by_name,
        precision=np.float32,
        command="--data ../shared/data",
        features="the built-in encoder (EfficientNet-Lite0)",
        split="60/20/20 by hash of their file name",
        caveats=(
            "Stain matters although training varies it: on a head and neck carcinoma stained brick red it calls most of the tissue haemorrhage and necrosis, which is wrong, and on skin it calls some epidermis tumour.",  # noqa: E501 - one caveat a line
            "One patch alone is told far less surely than a tile of a dozen patches of one tissue: read shares over many tiles, not single tiles.",  # noqa: E501
            "The encoder was trained on photographs, not on histology.",
        ),
    ),
    "tissue-lite0": Plan(
        field=Field(128, (0.25, 0.5)),
        splitter=by_block,
        precision=np.float16,
        command="--encoder tissue-lite0 --data ../shared/data",
        features="the default encoder, `tissue-lite0`",
        split="68/12/20 by blocks of their file numbers, as the encoder's",
        caveats=(
            "Stain matters although training varies it: on a head and neck carcinoma stained brick red it calls most of the tissue necrosis, which is wrong, and on skin it finds vessels and apocrine change where there are none.",  # noqa: E501
            "The encoder was trained on the same training patches with their labels, so that the head sees them better told apart than any other tile will be; the test patches were seen by neither.",  # noqa: E501
            "A tile at 0.5 um/px shows 64 um, at 0.25 um/px 32 um, less than a patch: such tiles were cut from patches of one tissue or from where up to four of them meet.",  # noqa: E501
        ),
    ),
}
"""By key of the encoder."""

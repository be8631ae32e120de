"""What in a prompt an image-text encoder does not understand: it is asked all the same, and said.

Encoders of this kind read a sentence much like a bag of words (Alhamoud et al., "Vision-Language Models Do Not
Understand Negation", CVPR 2025, arXiv:2501.09425): "no necrosis" finds necrosis.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

NEGATION: Final = re.compile(
    r"\b(no|not|non(?!-(?:small|invasive)\b)|without|absent|absence|lack|lacks|lacking|never|none"
    r"|neither|nor|free of|negative for|rule[sd]? out|except|excluding)\b|n't\b",
    re.IGNORECASE,
)
NUMBER: Final = re.compile(
    r"(?<![\w&-])\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|many|few|most|half|percent)\b|%|[<>≤≥]",
    re.IGNORECASE,
)
"""A digit inside a name (CD8, HER-2) is none, and non-small-cell carcinoma negates nothing."""


def doubts_of(prompts: Sequence[str]) -> tuple[str, ...]:
    """Say which prompts are not understood as they are meant.

    Args:
        prompts: What is asked, checked before.

    Returns:
        A sentence for each that holds a negation or a number; prompts are named by their place, not repeated.
    """
    found = []
    for number, prompt in enumerate(prompts, start=1):
        if NEGATION.search(prompt):
            found.append(
                f"Prompt {number} holds a negation, which these encoders do not understand: it is answered as if it "
                "asked for the thing. Ask for what is to be seen, and say what is not meant as an unlike-prompt."
            )
        if NUMBER.search(prompt):
            found.append(f"Prompt {number} holds a number or an amount, which these encoders do not understand.")
    return tuple(found)

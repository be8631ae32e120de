"""What this installation knows, as documents for the service and the command line."""

from __future__ import annotations

import dataclasses
from typing import Any

from biomarkers import list_cards
from foundation import list_encoders


def biomarkers() -> list[dict[str, Any]]:
    """The biomarkers with their intended use and limits.

    Returns:
        One document a card.
    """
    cards = [dataclasses.asdict(card) | {"notice": card.notice} for card in list_cards()]
    return [{key: value for key, value in card.items() if key not in {"folder", "head"}} for card in cards]


def encoders() -> list[dict[str, Any]]:
    """The encoders that are known by name, with their licences.

    Returns:
        One document an encoder.
    """
    return [spec.to_json() for spec in list_encoders()]

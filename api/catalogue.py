"""What this installation knows, as documents for the service and the command line."""

from __future__ import annotations

import dataclasses
from typing import Any

from biomarkers import list_cards
from foundation.access import Access
from foundation.readiness import Readiness, readiness
from foundation.registry import known_families, list_encoders, list_slide_encoders
from foundation.slide_encoder import SLIDE_FAMILIES
from foundation.slide_spec import SlideEncoderSpec
from foundation.spec import EncoderSpec


def biomarkers() -> list[dict[str, Any]]:
    """The biomarkers with their intended use and limits.

    Returns:
        One document a card.
    """
    cards = [dataclasses.asdict(card) | {"notice": card.notice} for card in list_cards()]
    return [{key: value for key, value in card.items() if key not in {"folder", "head"}} for card in cards]


def encoders(access: Access) -> list[dict[str, Any]]:
    """The encoders that are known by name, with their licences, and whether they can run here.

    Args:
        access: What this installation allows, and where its weights are.

    Returns:
        One document an encoder: the fields of `EncoderSpec`, `tile_px`, `ready`, `state` and `detail`.
    """
    families = known_families()
    return [_with(spec, readiness(spec, access, families)) | {"tile_px": spec.tile_px} for spec in list_encoders()]


def slide_encoders(access: Access) -> list[dict[str, Any]]:
    """The slide encoders that are known by name, and which features of tiles they demand.

    Args:
        access: What this installation allows.

    Returns:
        One document a slide encoder: the fields of `SlideEncoderSpec`, `ready`, `state` and `detail`.
    """
    return [_with(spec, readiness(spec, access, SLIDE_FAMILIES)) for spec in list_slide_encoders()]


def _with(spec: EncoderSpec | SlideEncoderSpec, found: Readiness) -> dict[str, Any]:
    return spec.to_json() | {"ready": found.ready, "state": found.state, "detail": found.detail}

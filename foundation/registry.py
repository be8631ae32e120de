"""Encoders by name: a strict table, generic families, and plug-ins."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import cast

from foundation.access import Access, chosen
from foundation.encoder import Encoder
from foundation.errors import UnknownEncoderError, UnsupportedEncoderError
from foundation.licence import require_allowed
from foundation.readiness import obstacle
from foundation.slide_spec import SlideEncoderSpec
from foundation.spec import EncoderSpec
from foundation.table import STATED, read_document, read_rows, require_possible, require_sound
from foundation.weights import locate, pinned

Loader = Callable[[str, "Path | None", "EncoderSpec | None"], Encoder]
"""(key, weights or None, row of the table or None) -> encoder."""

FAMILIES = {
    "adapted": "foundation.encoders.builtin:load_adapted",
    "builtin": "foundation.encoders.builtin:load",
    "handcrafted": "foundation.encoders.handcrafted:load",
    "small": "foundation.encoders.small:load",
    "timm": "foundation.encoders.timm_model:load",
    "open_clip": "foundation.encoders.open_clip_model:load",
    "bert_pair": "foundation.encoders.bert_pair:load",
    "mettle": "foundation.encoders.mettle:load",
    "conch": "foundation.encoders.outside:load",
    "conch_pair": "foundation.encoders.outside:load",
    "musk": "foundation.encoders.outside:load",
    "musk_pair": "foundation.encoders.outside:load",
    "gemma": "foundation.encoders.outside:load",
    "kronos": "foundation.encoders.outside:load",
    "seal": "foundation.encoders.outside:load",
    "transformers": "foundation.encoders.outside:load",
}
"""Loaders by family, imported on first use. Other distributions add theirs as entry points `oncoscope.encoders`."""

DEFAULT_ENCODER = "tissue-lite0"
"""What embeds where nobody names an encoder: docs/decisions/0017-default-encoder.md."""


GENERIC = ("timm:<arch>", "open_clip:<arch>")
"""Families that take any architecture of theirs, with a weights file of the user's."""


def list_encoders() -> tuple[EncoderSpec, ...]:
    """The encoders that are known by name; loads no weights and no torch.

    Returns:
        One spec for each `[[encoder]]` of `registry.toml`, in its order.
    """
    return _table()[0]


def list_slide_encoders() -> tuple[SlideEncoderSpec, ...]:
    """The slide encoders that are known by name; loads no weights and no torch.

    Returns:
        One spec for each `[[slide_encoder]]` of `registry.toml`, in its order.
    """
    return _table()[1]


def load_encoder(key: str, weights: Path | None = None, access: Access | None = None) -> Encoder:
    """Load an encoder with its weights; weights are never random.

    Args:
        key: A name of `list_encoders`, `timm:<arch>`, `open_clip:<arch>`, or `<family>:<arch>` of a plug-in.
        weights: A file of weights, or for open_clip a folder with `open_clip_config.json` beside them. None looks where
            `foundation.weights` says.
        access: Where to look, and what the encoder is for; None for what the process was configured with.

    Returns:
        The encoder, ready to be called from several threads.

    Raises:
        UnknownEncoderError: If nothing has that name.
    """
    access = access or chosen()
    rows = {spec.key: spec for spec in list_encoders()}
    spec = rows.get(key)
    family, _, arch = key.partition(":")
    name = spec.family if spec else family
    target = _families().get(name)
    if spec is None and (target is None or not arch):
        raise UnknownEncoderError(f"There is no encoder named {key[:80]!r}; {_hint(key, rows)}.")
    if spec is not None:
        spec, weights = _prepared(spec, weights, access)
    encoder = cast("Callable[[], Loader]", target)()(key, weights, spec)
    require_allowed(encoder.spec, access.policy)  # one without a row says only now whose it is
    return encoder


def _hint(key: str, rows: Iterable[str]) -> str:
    """What somebody who asked for an unknown encoder may have meant."""
    if any(slide.key == key for slide in list_slide_encoders()):
        return "that one encodes slides, from the features of tiles"
    return nearest(key, [*rows, *GENERIC])


def _prepared(spec: EncoderSpec, weights: Path | None, access: Access) -> tuple[EncoderSpec, Path]:
    """Refuse what cannot or must not run before anything is fetched, then find the weights.

    Raises:
        UnsupportedEncoderError: If it needs what is not here, or code of strangers.
    """
    require_allowed(spec, access.policy)
    lacks = obstacle(spec, _families())
    if lacks is not None:
        raise UnsupportedEncoderError(lacks.detail)
    path = locate(spec.key, weights, spec, access)
    return pinned(spec, path), path


def known_families() -> frozenset[str]:
    """Families of encoders that there is a loader for.

    Returns:
        Ours and those of plug-ins.
    """
    return frozenset(_families())


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """Say which names come nearest.

    Args:
        word: What was typed.
        known: What exists.
        count: How many to name.

    Returns:
        `did you mean a, b or c?` without the question mark, or what exists where nothing is near.
    """
    names = {name.casefold(): name for name in sorted(known)}
    near = [names[name] for name in difflib.get_close_matches(word.casefold(), names, n=count, cutoff=0.5)]
    return f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(list(names.values())[:12])}"


def _families() -> dict[str, Callable[[], Loader]]:
    """How to get the loader of each family; ours win over a plug-in of the same name."""
    found = {entry.name: cast("Callable[[], Loader]", entry.load) for entry in entry_points(group="oncoscope.encoders")}
    return found | {name: functools.partial(_resolve, target) for name, target in FAMILIES.items()}


def _resolve(target: str) -> Loader:
    module, _, name = target.partition(":")
    return cast("Loader", getattr(import_module(module), name))


@functools.cache
def _table() -> tuple[tuple[EncoderSpec, ...], tuple[SlideEncoderSpec, ...]]:
    return read_registry(files("foundation").joinpath("registry.toml").read_text(encoding="utf-8"))


def read_registry(text: str) -> tuple[tuple[EncoderSpec, ...], tuple[SlideEncoderSpec, ...]]:
    """Read a table of encoders strictly.

    Args:
        text: TOML with `[[encoder]]` and `[[slide_encoder]]` tables and a table `[norm]` of normalisations that the
            first name.

    Returns:
        One spec a table: the encoders of tiles, and those of slides.
    """
    document = read_document(text)
    specs = read_rows(EncoderSpec, document.get("encoder", []), STATED)
    slides = read_rows(SlideEncoderSpec, document.get("slide_encoder", []))
    for spec in specs:
        require_possible(spec)
    for slide in slides:
        require_sound(slide, {spec.key for spec in specs})
    return specs, slides

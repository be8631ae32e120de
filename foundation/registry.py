"""Encoders by name: a strict table, generic families, and plug-ins."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import fields
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from foundation.encoder import Encoder
from foundation.errors import RegistryError, UnknownEncoderError
from foundation.spec import EncoderSpec

Loader = Callable[[str, "Path | None", "EncoderSpec | None"], Encoder]
"""(key, weights or None, row of the table or None) -> encoder."""

FAMILIES = {
    "builtin": "foundation.encoders.builtin:load",
    "timm": "foundation.encoders.timm_model:load",
    "open_clip": "foundation.encoders.open_clip_model:load",
}
"""Loaders by family, imported on first use. Other distributions add theirs as entry points `oncoscope.encoders`."""

_KINDS = {"str": str, "int": int, "bool": bool, "str | None": str}


def list_encoders() -> tuple[EncoderSpec, ...]:
    """The encoders that are known by name; loads no weights and no torch.

    Returns:
        One spec for each table of `registry.toml`, in its order.
    """
    return _table()


def load_encoder(key: str, weights: Path | None = None) -> Encoder:
    """Load an encoder with its weights; weights are never random.

    Args:
        key: A name of `list_encoders`, `timm:<arch>` or `open_clip:<arch>`.
        weights: A file of weights, or for open_clip a folder with `open_clip_config.json` beside them. None looks where
            the table says.

    Returns:
        The encoder, ready to be called from several threads.

    Raises:
        UnknownEncoderError: If nothing has that name.
    """
    rows = {spec.key: spec for spec in list_encoders()}
    spec = rows.get(key)
    family, _, arch = key.partition(":")
    name = spec.family if spec else family
    target = _families().get(name)
    if target is None or not (spec or arch):
        near = nearest(key, [*rows, *(f"{name}:<arch>" for name in FAMILIES if name not in rows)])
        raise UnknownEncoderError(f"There is no encoder named {key[:80]!r}; {near}.")
    return target()(key, weights, spec)


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
def _table() -> tuple[EncoderSpec, ...]:
    return read_registry(files("foundation").joinpath("registry.toml").read_text(encoding="utf-8"))


def read_registry(text: str) -> tuple[EncoderSpec, ...]:
    """Read a table of encoders strictly.

    Args:
        text: TOML with `[[encoder]]` tables.

    Returns:
        One spec a table.

    Raises:
        RegistryError: If the text is not TOML, a key is unknown, missing, of another kind, or given twice.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"The table of encoders is not TOML: {error}.") from error
    rows = document.get("encoder")
    if set(document) != {"encoder"} or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RegistryError("The table of encoders holds [[encoder]] tables and nothing else.")
    specs = tuple(_spec(row) for row in rows)
    if len({spec.key for spec in specs}) != len(specs):
        raise RegistryError("Two encoders of the table have the same key.")
    return specs


def _spec(row: dict[str, Any]) -> EncoderSpec:
    kinds = {field.name: str(field.type) for field in fields(EncoderSpec)}
    optional = {name for name, kind in kinds.items() if kind.endswith("None")}
    wrong = (set(row) - set(kinds)) | (set(kinds) - set(row) - optional)
    wrong |= {name for name in set(row) & set(kinds) if not _fits(row[name], kinds[name])}
    if wrong:
        raise RegistryError(
            f"Encoder {row.get('key', '?')!r} of the table is not well formed at: {', '.join(sorted(wrong))}."
        )
    values: dict[str, Any] = {name: row.get(name) for name in kinds}
    for name, value in values.items():
        values[name] = tuple(value) if isinstance(value, list) else value
    return EncoderSpec(**values)


def _fits(value: object, kind: str) -> bool:
    """Whether a TOML value is of the kind that a field wants."""
    if kind in _KINDS:
        return type(value) is _KINDS[kind]
    numbers = isinstance(value, list) and all(type(item) in {int, float} for item in value)
    return numbers and (kind != "Triple" or len(cast("list[float]", value)) == 3)

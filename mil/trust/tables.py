"""Frozen dataclasses as JSON tables and back, strictly: an unknown, missing or mistyped key is an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mil.errors import CheckpointError

T = TypeVar("T")


def to_table(item: object) -> dict[str, Any]:
    """Turn a frozen dataclass into JSON values.

    Args:
        item: Its fields are numbers, texts, booleans, None, tuples of these, or dataclasses of the same kind.

    Returns:
        Field -> value; tuples stay tuples, which JSON writes as arrays.

    Raises:
        CheckpointError: It is no dataclass.
    """
    if not is_dataclass(item) or isinstance(item, type):
        raise CheckpointError("Only a description of ours can be written as a table.")
    return asdict(item)


def from_table(kind: type[T], table: object) -> T:
    """Read a table that `to_table` wrote, believing nothing.

    Args:
        kind: The dataclass to make.
        table: As read from JSON.

    Returns:
        The dataclass.

    Raises:
        CheckpointError: A key is unknown or missing, or a value is of the wrong kind; names the key.
    """
    wanted = {field.name for field in fields(cast("Any", kind))}
    if not isinstance(table, Mapping) or set(table) != wanted:
        wrong = sorted(wanted ^ set(table)) if isinstance(table, Mapping) else ["an object"]
        raise CheckpointError(f"A saved {kind.__name__} has unknown or missing keys: {', '.join(map(str, wrong))}.")
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], table[name], f"{kind.__name__}.{name}") for name in sorted(wanted)})


def _value(hint: Any, value: object, place: str) -> Any:  # noqa: ANN401 - any field of any dataclass
    origin, inside = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return _either(inside, value, place)
    if origin is tuple and isinstance(value, list | tuple):  # always tuple[X, ...]
        return tuple(_value(inside[0], part, place) for part in value)
    if is_dataclass(hint):
        return from_table(cast("type[Any]", hint), value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if hint in {int, str, bool} and type(value) is hint:
        return value
    raise CheckpointError(f"The value of {place} is not of the right kind.")


def _either(kinds: tuple[Any, ...], value: object, place: str) -> Any:  # noqa: ANN401 - as above
    """The first kind that fits.

    Raises:
        CheckpointError: None does.
    """
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        try:
            return _value(kind, value, place)
        except CheckpointError:
            continue
    raise CheckpointError(f"The value of {place} is not of the right kind.")

"""Fill frozen dataclasses from TOML, strictly: an unknown key, a missing key and a wrong type are errors."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from biomarkers.errors import CardError

T = TypeVar("T")


def nearest(word: str, known: list[str]) -> str:
    """A hint for a mistyped word.

    Args:
        word: What was written.
        known: What could have been meant.

    Returns:
        "; did you mean ...?", or the list of known words where none is near.

    >>> nearest("tile", ["tiles", "gates"])
    '; did you mean "tiles"?'
    """
    near = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(sorted(known))}"


def require(holds: bool, message: str) -> None:  # noqa: FBT001 - a condition is what this function is about
    """Refuse a card where a condition does not hold.

    Args:
        holds: The condition.
        message: One sentence about the value.

    Raises:
        CardError: If it does not hold.
    """
    if not holds:
        raise CardError(message)


def build(kind: type[T], table: Mapping[str, object], where: str) -> T:
    """Make a dataclass of a TOML table.

    Args:
        kind: A dataclass whose fields are str, bool, int, float, tuples of these, dataclasses, or one of these or None.
        table: Key -> value, as tomllib gives it.
        where: What the table is called in messages.

    Returns:
        The dataclass; what it checks itself raises its own errors.

    Raises:
        CardError: If a key is unknown or missing or a value has another type.
    """
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise CardError(f'{where} has an unknown key "{key}"{nearest(key, list(fields))}')
    for name, field in fields.items():
        if name not in table and field.default is dataclasses.MISSING:
            raise CardError(f'{where} lacks the key "{name}"')
    return kind(**{key: _value(hints[key], value, f'"{key}" of {where}') for key, value in table.items()})


def _value(hint: object, value: object, where: str) -> object:
    """Check one value against one type.

    Raises:
        CardError: If it does not fit.
    """
    if get_origin(hint) in {Union, types.UnionType}:
        return _value(next(part for part in get_args(hint) if part is not types.NoneType), value, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise CardError(f"{where} must be a list")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise CardError(f"{where} must be a table")
        return build(hint, value, where)
    return _scalar(hint, value, where)


def _scalar(hint: object, value: object, where: str) -> object:
    """Check a str, bool, int or float; a whole number may stand for a float, true and false never for a number.

    Raises:
        CardError: If the value is of another type or not finite.
    """
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise CardError(f"{where} must be {getattr(hint, '__name__', hint)}, not {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise CardError(f"{where} must be finite")
    return value

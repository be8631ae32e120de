"""Fill frozen dataclasses from tables of TOML or JSON, strictly, and write them back."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mil.errors import ExperimentError

T = TypeVar("T")
MOST = 1 << 1023
"""Whole numbers from here on are no floats."""


def build(kind: type[T], table: Mapping[str, object], where: str) -> T:
    """Make a dataclass of a table.

    Args:
        kind: A dataclass whose fields are texts, numbers, truth values, literals, tuples of these, dataclasses, or one
            of these or None.
        table: Key -> value, as tomllib or json gives it. A single value where a list is wanted is a list of one.
        where: What the table is called in messages.

    Returns:
        The dataclass; what it checks itself raises its own errors.

    Raises:
        ExperimentError: A key is unknown or missing, or a value has another type.
    """
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type] # T is one
    for key in table:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1) or sorted(fields)
            raise ExperimentError(f"{where} has no key {key}; perhaps {', '.join(near)} is meant.")
    for name, field in fields.items():
        lacks = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if name not in table and lacks:
            raise ExperimentError(f"{where} lacks the key {name}.")
    return kind(**{key: _value(hints[key], value, f"{key} of {where}") for key, value in table.items()})


def plain(value: object) -> object:
    """Write a dataclass as what TOML and JSON hold; the inverse of `build`.

    Args:
        value: A dataclass, or what its fields hold.

    Returns:
        Dicts and lists; a field that is None is left out.
    """
    if dataclasses.is_dataclass(value):
        pairs = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init]
        return {name: plain(item) for name, item in pairs if item is not None}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _value(hint: object, value: object, where: str) -> object:
    """Check one value against one type.

    Raises:
        ExperimentError: It does not fit.
    """
    if get_origin(hint) in {Union, types.UnionType}:
        return _value(next(part for part in get_args(hint) if part is not types.NoneType), value, where)
    if get_origin(hint) is Literal:
        if value not in get_args(hint) or not isinstance(value, str):
            raise ExperimentError(f"{where} must be one of {', '.join(get_args(hint))}.")
        return value
    if get_origin(hint) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_value(get_args(hint)[0], item, where) for item in items)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        if not isinstance(value, Mapping):
            raise ExperimentError(f"{where} must be a table.")
        return build(hint, value, where)
    return _scalar(hint, value, where)


def _scalar(hint: object, value: object, where: str) -> object:
    """Check a text, truth value or number; a whole number may stand for a float, true and false never for a number.

    Raises:
        ExperimentError: The value is of another type or not finite.
    """
    if hint is float and type(value) is int:
        value = float(value) if abs(value) < MOST else math.inf
    if type(value) is not hint:
        raise ExperimentError(f"{where} must be {getattr(hint, '__name__', hint)}, not {type(value).__name__}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ExperimentError(f"{where} must be finite.")
    return value

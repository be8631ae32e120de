"""What may be changed: one range or list of choices a key of the experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol, runtime_checkable

from mil.errors import ExperimentError
from mil.strict import build

TUNABLE = ("training", "objective", "coteaching", "head")
"""Tables whose keys may change; data, task, folds and test decide what is learnt and judged, not how well."""
HEAD = "head.name"
Value = bool | int | float | str


@runtime_checkable
class Suggests(Protocol):
    """What is needed of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
        """One of several."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """A whole number."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number."""


@dataclass(frozen=True)
class Entry:
    """One key of `[tune.space]`.

    Raises:
        ExperimentError: It is neither a range nor a list of choices.
    """

    key: str
    """Such as `training.lr` or `head.name`."""
    choices: tuple[Value, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    """Whether a factor counts alike wherever it is, as for step sizes."""
    heads: tuple[str, ...] = ()
    """Only where the head is one of these; () for all."""

    def __post_init__(self) -> None:
        ranged = self.low is not None and self.high is not None
        if ranged == bool(self.choices) or (self.low is None) != (self.high is None):
            raise ExperimentError(f'"{self.key}" of [tune.space] needs "choices", or "low" and "high".')
        if (
            self.low is not None
            and self.high is not None
            and not (self.low < self.high and (self.low > 0 or not self.log))
        ):
            raise ExperimentError(
                f'"{self.key}" of [tune.space] must rise from "low" to "high", from above 0 with "log".'
            )

    def suggest(self, trial: Suggests) -> Value:
        """Let a trial choose.

        Args:
            trial: Of Optuna.

        Returns:
            The value.
        """
        if self.low is None or self.high is None:
            return trial.suggest_categorical(self.key, self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.key, self.low, self.high, log=self.log)
        return trial.suggest_float(self.key, float(self.low), float(self.high), log=self.log)

    def examples(self) -> tuple[Value, ...]:
        """Values to try the experiment with before anything is trained.

        Returns:
            All choices, or the ends of the range.
        """
        return self.choices if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class _Conditions:
    """The keys of an entry that every kind has."""

    log: bool = False
    heads: tuple[str, ...] = ()


def read_space(table: object) -> tuple[Entry, ...]:
    """Read `[tune.space]`.

    Args:
        table: As TOML gives it.

    Returns:
        The entries, the head first, since others may depend on it.

    Raises:
        ExperimentError: It is no such table; names the key.
    """
    if not isinstance(table, Mapping) or not table:
        raise ExperimentError("[tune.space] must name at least one key and what it may be.")
    entries = [_entry(key, entry) for key, entry in table.items()]
    return tuple(sorted(entries, key=lambda entry: entry.key != HEAD))


def choose(space: tuple[Entry, ...], trial: Suggests, head: str) -> dict[str, Value]:
    """Let a trial choose every value that matters.

    Args:
        space: The entries, the head first.
        trial: Of Optuna.
        head: The head of the experiment, where no entry changes it.

    Returns:
        Key -> value.
    """
    found: dict[str, Value] = {}
    for entry in space:
        if not entry.heads or found.get(HEAD, head) in entry.heads:
            found[entry.key] = entry.suggest(trial)
    return found


def _entry(key: str, table: object) -> Entry:
    """Read one entry.

    Raises:
        ExperimentError: It is not one.
    """
    where = f'"{key}" of [tune.space]'
    name, _, rest = key.partition(".")
    if name not in TUNABLE or not rest or "." in rest:
        raise ExperimentError(f"{where} is not the key of a table that may be tuned: {', '.join(TUNABLE)}.")
    if not isinstance(table, Mapping):
        raise ExperimentError(f"{where} must be a table.")
    choices = table.get("choices", [])
    if not isinstance(choices, list) or not all(type(value) in {bool, int, float, str} for value in choices):
        raise ExperimentError(f'"choices" of {where} must be a list of numbers, texts, true or false.')
    plain = {name: value for name, value in table.items() if name not in {"choices", "low", "high"}}
    low, high = (_end(table.get(end), where) for end in ("low", "high"))
    return Entry(key, tuple(choices), low, high, **vars(build(_Conditions, plain, where)))


def _end(value: object, where: str) -> int | float | None:
    """One end of a range.

    Raises:
        ExperimentError: It is no number.
    """
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)):
        return value
    raise ExperimentError(f'"low" and "high" of {where} must be numbers.')

"""A plan of tuning: an experiment, what of it may change, and how long and how honestly is looked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mil.errors import ExperimentError
from mil.experiment.experiment import Experiment
from mil.experiment.read import SHARED, parse_experiment
from mil.strict import build
from mil.tuning.space import HEAD, Entry, Value, read_space
from mil.tuning.toml import write_toml

Tables = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class TuneSpec:
    """`[tune]`, without its space.

    Raises:
        ExperimentError: A value makes no sense.
    """

    trials: int = 30
    """Settings that are tried in each search."""
    inner: int = 3
    """Folds on which each trial is judged; 3 is the least that shows a spread, and pruning spares most of the rest."""
    nested: bool = False
    """Whether the folds of the experiment judge the tuning itself: a search in each, on the cases of the others."""
    startup: int = 5
    """Trials at random before proposals follow what came back; as many must have come as far as one that lags behind
    their median before that is given up."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1 or self.inner < 2 or self.startup < 1 or self.seed < 0:
            raise ExperimentError('[tune] needs "trials" and "startup" from 1, "inner" from 2 and "seed" from 0.')


@dataclass(frozen=True)
class Plan:
    """What `oncoscope tune` is asked to do."""

    base: Experiment
    """As the TOML says it, without `[tune]`."""
    spec: TuneSpec
    space: tuple[Entry, ...]
    tables: Tables
    """Of the TOML, without `[tune]`."""
    root: Path
    """What `ONCOSCOPE_DATA` stands for."""

    def text(self, values: Mapping[str, Value], beside: str | None = None) -> str:
        """The experiment with other values, as a TOML of its own.

        Args:
            values: Key such as `training.lr` -> value.
            beside: Where the folder of the data is, seen from the folder of the TOML; unchanged if None.

        Returns:
            The text. Settings of a head that is replaced go with it.
        """
        tables = {name: dict(table) for name, table in self.tables.items()}
        if values.get(HEAD, self.base.head) != self.base.head:
            tables["head"] = {}
        for key, value in values.items():
            name, _, rest = key.partition(".")
            tables.setdefault(name, {})[rest] = value
        if beside is not None and tables["data"].get("root", ".") != SHARED:
            tables["data"]["root"] = beside
        return write_toml(tables)

    def changed(self, values: Mapping[str, Value]) -> Experiment:
        """The experiment with other values.

        Args:
            values: Key -> value.

        Returns:
            The experiment; values that it cannot have end in an `ExperimentError`.
        """
        return parse_experiment(self.text(values).encode(), lambda _: self.base.place)


def read_plan(path: Path, root: Path) -> Plan:
    """Read an experiment with a table `[tune]`.

    Args:
        path: The TOML.
        root: What `ONCOSCOPE_DATA` stands for.

    Returns:
        The plan, of which every end and choice has been tried.

    Raises:
        ExperimentError: It cannot be read or does not say what it must; names the table and the key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExperimentError("The experiment cannot be read, or is not a TOML text.") from error
    table = tables.pop("tune", None)
    if not isinstance(table, dict):
        raise ExperimentError("The table [tune] is missing: it says what may change.")
    spec = build(TuneSpec, {key: value for key, value in table.items() if key != "space"}, "[tune]")
    folder = path.absolute().parent
    base = parse_experiment(
        write_toml(tables).encode(), lambda name: root.absolute() if name == SHARED else folder / name
    )
    plan = Plan(base, spec, read_space(table.get("space")), tables, root)
    _check(plan)
    return plan


def with_trials(plan: Plan, trials: int | None) -> Plan:
    """Another number of trials.

    Args:
        plan: A plan.
        trials: How many; its own if None.

    Returns:
        The plan with that number.
    """
    return plan if trials is None else replace(plan, spec=replace(plan.spec, trials=trials))


def _check(plan: Plan) -> None:
    """See that each value is one the experiment can have, before hours are spent."""
    from mil.head import build_head

    heads = next((entry.choices for entry in plan.space if entry.key == HEAD), (plan.base.head,))
    for head in heads:
        named = {HEAD: head} if head != plan.base.head else {}
        build_head(str(head), 8, 1, dict(plan.changed(named).settings))
        for entry in plan.space:
            if entry.key != HEAD and (not entry.heads or head in entry.heads):
                for value in entry.examples():
                    experiment = plan.changed({**named, entry.key: value})
                    build_head(experiment.head, 8, 1, dict(experiment.settings))

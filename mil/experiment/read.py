"""From a TOML to an experiment, strictly: what is not known or contradicts itself is named with its table."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mil.errors import ExperimentError
from mil.experiment.experiment import DataSpec, Experiment, TrustSpec
from mil.experiment.sealed import SealedSpec
from mil.folds import FoldSpec
from mil.strict import build
from mil.tasks.read import read_task
from mil.training.coteaching import CoteachingSpec
from mil.training.objective import ObjectiveSpec
from mil.training.regions import RegionSpec
from mil.training.spec import TrainSpec

SHARED: Final = "ONCOSCOPE_DATA"
"""The root that stands for the folder of data of the settings."""
NEEDED: Final = ("experiment", "data", "task", "head")
PARTS: Final[Mapping[str, type]] = {
    "training": TrainSpec,
    "objective": ObjectiveSpec,
    "coteaching": CoteachingSpec,
    "regions": RegionSpec,
    "folds": FoldSpec,
    "test": SealedSpec,
    "trust": TrustSpec,
}
KNOWN: Final = (*NEEDED, *PARTS, "tune")
"""Tables; `[tune]` is read by `mil.tuning.plan` and changes nothing of a run."""
LARGEST: Final = 1 << 20
"""Bytes of a TOML."""


def read_experiment(path: Path, root: Path | None = None) -> Experiment:
    """Read an experiment.

    Args:
        path: The TOML.
        root: What `ONCOSCOPE_DATA` stands for; None where the experiment may not ask for it.

    Returns:
        The experiment.

    Raises:
        ExperimentError: It cannot be read, or does not say what an experiment must; names the table and the key.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExperimentError("The experiment cannot be read: no file of this name may be opened.") from error

    def place(name: str) -> Path:
        if name != SHARED:
            return path.absolute().parent / name
        if root is None:
            raise ExperimentError(f'"root" of [data] is {SHARED}, and no such folder is set.')
        return root.absolute()

    return parse_experiment(content, place)


def parse_experiment(content: bytes, place: Callable[[str], Path]) -> Experiment:
    """Make an experiment of the text of its TOML.

    Args:
        content: UTF-8.
        place: From `root` of `[data]` to the folder.

    Returns:
        The experiment.

    Raises:
        ExperimentError: As `read_experiment` says.
    """
    tables = _tables(content)
    for name in tables:
        if name not in KNOWN:
            raise ExperimentError(f"There is no table [{name}]; there are {', '.join(KNOWN)}.")
    for name in NEEDED:
        if name not in tables:
            raise ExperimentError(f"The table [{name}] is missing.")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ExperimentError(f"{name} must be a table.")
    about, head, data = _about(tables["experiment"]), _head(tables["head"]), _data(tables["data"])
    parts: dict[str, Any] = {
        name: build(kind, tables[name], f"[{name}]") for name, kind in PARTS.items() if name in tables
    }
    return Experiment(**about, **head, **parts, data=data, task=read_task(tables["task"]), place=place(data.root))


def _tables(content: bytes) -> dict[str, Any]:
    """Read the text.

    Raises:
        ExperimentError: It is no TOML, or too large.
    """
    if len(content) > LARGEST:
        raise ExperimentError(f"The experiment is larger than {LARGEST >> 20} MB.")
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        place = re.search(r"\(at line \d+, column \d+\)", str(error))
        where = f" {place[0]}" if place else ""
        raise ExperimentError(f"The experiment is not a TOML text{where}.") from error


def _about(table: Mapping[str, Any]) -> dict[str, Any]:
    """Name, purpose and seeds.

    Raises:
        ExperimentError: One is missing or of another type.
    """
    if unknown := sorted(set(table) - {"name", "purpose", "seeds"}):
        raise ExperimentError(f'[experiment] has an unknown key "{unknown[0]}".')
    for key in ("name", "purpose"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise ExperimentError(f'"{key}" of [experiment] must be a text.')
    seeds = table.get("seeds", [0])
    whole = isinstance(seeds, list) and all(type(seed) is int and 0 <= seed < 1 << 31 for seed in seeds)
    if not isinstance(seeds, list) or not whole or not seeds or len(set(seeds)) < len(seeds):
        raise ExperimentError('"seeds" of [experiment] must be a list of different whole numbers.')
    return {"name": table["name"], "purpose": table["purpose"], "seeds": tuple(seeds)}


def _data(table: Mapping[str, object]) -> DataSpec:
    """Where the data are.

    Raises:
        ExperimentError: The table does not say it.
    """
    where = table.get("where", {})
    lists = where.values() if isinstance(where, dict) else [None]
    if not all(isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts) for texts in lists):
        raise ExperimentError('"where" of [data] must be a table of lists of texts, one a column.')
    plain = build(DataSpec, {key: value for key, value in table.items() if key != "where"}, "[data]")
    pairs = where.items() if isinstance(where, dict) else ()
    return replace(plain, where=tuple((column, tuple(texts)) for column, texts in pairs))


def _head(table: Mapping[str, Any]) -> dict[str, Any]:
    """Name and settings; `build_head` knows which settings there are.

    Raises:
        ExperimentError: There is no name, or a setting is a list or a table.
    """
    if not isinstance(table.get("name"), str):
        raise ExperimentError('"name" of [head] must be a text.')
    settings = {key: value for key, value in table.items() if key != "name"}
    for key, value in settings.items():
        if type(value) not in {int, float, bool, str}:
            raise ExperimentError(f'"{key}" of [head] must be a number, a text, true or false.')
    return {"head": table["name"], "settings": tuple(settings.items())}

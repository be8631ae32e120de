"""The `[task]` table of an experiment, read strictly, and written back."""

from __future__ import annotations

from collections.abc import Mapping

from mil.errors import ExperimentError
from mil.strict import build, plain
from mil.tasks.multitask import Member, Multitask
from mil.tasks.task import TASKS, Task, task_class


def read_task(table: Mapping[str, object]) -> Task:
    """Build a task of its table.

    Args:
        table: `kind` (a name in `TASKS`) and the fields of that task; a multitask has `members`, a list of such tables
            with `name` and, if wanted, `weight`.

    Returns:
        The task.

    Raises:
        ExperimentError: There is no such kind, an unknown or missing key, or a value of another type.
    """
    name = table.get("kind")
    if not isinstance(name, str):
        raise ExperimentError(f"The table of a task needs a kind, one of {', '.join(sorted(TASKS))}.")
    own = {key: value for key, value in table.items() if key != "kind"}
    kind = task_class(name)
    if kind is not Multitask:
        return build(kind, own, "The task")
    if unknown := set(own) - {"members", "weighting"}:
        raise ExperimentError(f"A multitask has no key {min(unknown)}; it has members and weighting.")
    members = own.pop("members", ())
    if not isinstance(members, list) or not all(isinstance(item, Mapping) for item in members):
        raise ExperimentError("The members of a multitask must be a list of tables.")
    return build(Multitask, own | {"members": [_member(item) for item in members]}, "The task")


def task_table(task: Task) -> dict[str, object]:
    """Write a task as its table; the inverse of `read_task`.

    Args:
        task: Any task of `TASKS`, settled or not.

    Returns:
        Texts, numbers, truth values, lists and dicts alone.
    """
    home = f"{type(task).__module__}:{type(task).__qualname__}"
    kind = next(name for name, place in TASKS.items() if place == home)
    if isinstance(task, Multitask):
        members = [{"name": m.name, "weight": m.weight} | task_table(m.task) for m in task.members]
        return {"kind": kind, "weighting": task.weighting, "members": members}
    own = plain(task)
    return {"kind": kind, **own} if isinstance(own, dict) else {"kind": kind}


def _member(table: Mapping[str, object]) -> Member:
    own = {key: value for key, value in table.items() if key not in {"name", "weight"}}
    named = {key: value for key, value in table.items() if key in {"name", "weight"}}
    return build(Member, named | {"task": read_task(own)}, "A member of the task")

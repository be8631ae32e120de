"""`evaluate`: a run in, a page and a file of figures out."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from api import NOTICE
from api.cli.reply import Reply
from api.errors import BadRequestError
from mil.cohort.cohort import Cohort
from mil.experiment.folder import RunFolder
from mil.judging.against import check_alike
from mil.judging.elsewhere import Elsewhere, read_elsewhere
from mil.judging.evaluate import Wanted, What, judge_run
from mil.judging.report.page import write
from mil.judging.report.words import interval, words
from mil.tuning.seal import Opening, open_seal

OPTIONS = ("column", "where", "group", "treatment", "biology", "prevalence", "harmonise", "seed", "resamples")
"""Of the command as the report tells it; files are not named there."""


def evaluate(arguments: argparse.Namespace) -> Reply:
    """Judge a run.

    Args:
        arguments: As `judging_parser` has them.

    Returns:
        The reply.
    """
    begin = time.perf_counter()
    check(arguments)
    run = RunFolder.open(arguments.run_folder, arguments.data)
    against = RunFolder.open(arguments.against, arguments.data) if arguments.against else None
    if against is not None:
        check_alike(run, against)
    wanted = wanted_of(arguments)
    what: What = "sealed test" if arguments.test else "external cohort" if arguments.bags else "out of fold"
    cohort, opening = _cases(arguments, run, wanted)
    document = judge_run(run, cohort, wanted, against, what)
    if opening is not None:
        opening.close(json.dumps(document))
    out = arguments.out or arguments.run_folder / f"evaluation-{what.replace(' ', '-')}"
    names = write(document, command_of(arguments), out)
    files = {name: str(out / file) for name, file in names.items()}
    seconds = round(time.perf_counter() - begin, 3)
    return Reply(document | {"files": files, "seconds": seconds}, text_of(document, files["report_html"]))


def check(arguments: argparse.Namespace) -> None:
    """See that the options go together.

    Args:
        arguments: The same.

    Raises:
        BadRequestError: They do not.
    """
    if arguments.test and arguments.bags:
        raise BadRequestError("The sealed test set is of the run's own cases; --bags are others.")
    if arguments.unseal and not arguments.test:
        raise BadRequestError("--unseal goes with --test.")
    if not arguments.bags and (arguments.labels or arguments.column or arguments.where):
        raise BadRequestError("--labels, --column and --where go with --bags.")
    if arguments.harmonise and not (arguments.bags or arguments.test):
        raise BadRequestError("--harmonise goes with --bags or --test: cases of training are the reference.")
    if arguments.prevalence is not None and not 0 < arguments.prevalence < 1:
        raise BadRequestError("--prevalence must be between 0 and 1.")
    if arguments.resamples < 100:
        raise BadRequestError("--resamples must be at least 100.")


def wanted_of(arguments: argparse.Namespace) -> Wanted:
    """What the report shall hold.

    Args:
        arguments: The same.

    Returns:
        It.
    """
    return Wanted(
        groups=tuple(arguments.group),
        treatment=arguments.treatment,
        biology=arguments.biology,
        harmonise=arguments.harmonise,
        prevalence=arguments.prevalence,
        count=arguments.resamples,
        seed=arguments.seed,
    )


def _cases(arguments: argparse.Namespace, run: RunFolder, wanted: Wanted) -> tuple[Cohort | None, Opening | None]:
    if arguments.test:
        everything = run.experiment.cohort(wanted.columns)  # a column that is not there must not cost the opening
        opening = open_seal(run, unseal=arguments.unseal)
        return run.experiment.sealed(everything), opening
    if not arguments.bags:
        return None, None
    where = {name: tuple(texts.split(",")) for name, texts in pairs(arguments.where, "--where").items()}
    place = Elsewhere(arguments.bags, arguments.labels, pairs(arguments.column, "--column"), where)
    return read_elsewhere(run, place, wanted.columns), None


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """Read NAME=TEXT.

    Args:
        given: What was typed.
        option: Where.

    Returns:
        Name -> text.

    Raises:
        BadRequestError: One has no "=", or a name stands twice.
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value) or name in found:
            raise BadRequestError(f"{option} takes NAME=TEXT, each name once.")
        found[name] = value
    return found


def command_of(arguments: argparse.Namespace) -> str:
    """The command as a report may tell it: files are not named, for their names may be of patients.

    Args:
        arguments: The same.

    Returns:
        The command.
    """
    parts = ["oncoscope evaluate RUN"]
    for name, stand_in in (("bags", "F"), ("labels", "F"), ("against", "RUN")):
        parts += [f"--{name} {stand_in}"] if getattr(arguments, name) else []
    parts += [f"--{name}" for name in ("test", "unseal") if getattr(arguments, name)]
    for name in OPTIONS:
        value = getattr(arguments, name)
        values = value if isinstance(value, list) else [] if value in {None, ""} else [value]
        parts += [f"--{name} {each}" for each in values]
    return " ".join(parts)


def text_of(document: Mapping[str, Any], page: str) -> str:
    """A judgement in a few lines.

    Args:
        document: Of `judge_run`.
        page: Where the page is.

    Returns:
        The text.
    """
    lines = [f"{document['run']['name']}, {document['what']}"]
    for model in ("head", "baseline"):
        own = document[model]
        for name, one in own.get("parts", {"": own}).items():
            prefix = f"{name}: " if name else ""
            if one["figures"]:
                figure = one["figures"][one["primary"]]
                lines.append(f"{prefix}{model} {words(one['primary'])} {interval(figure)}, n = {one['n']}")
        for name, one in ((document["drop"] or {}).get(model) or {}).items():
            lines.append(f"{name + ': ' if name else ''}{model} changes from out of fold by {interval(one['change'])}")
    return "\n".join([*lines, f"report: {page}", NOTICE])

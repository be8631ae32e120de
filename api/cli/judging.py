"""`evaluate`: a run in, a page and a file of figures out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from api import NOTICE
from api.cli.reply import Reply
from api.errors import BadRequestError
from mil.cohort.cohort import Cohort
from mil.experiment.folder import RunFolder
from mil.judging.against import check_alike
from mil.judging.elsewhere import Elsewhere, read_elsewhere
from mil.judging.evaluate import Wanted, What, check_before, judge_run
from mil.judging.report.page import data_of, write
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
    cohort, opening = _cases(arguments, run, wanted, against)
    what = _what(cohort, opening)
    document = judge_run(run, cohort, wanted, against, what)
    if opening is not None:
        opening.close(data_of(document))
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
    _check_values(arguments)


def _check_values(arguments: argparse.Namespace) -> None:
    """See that each option makes sense alone.

    Raises:
        BadRequestError: One does not.
    """
    if arguments.prevalence is not None and not 0 < arguments.prevalence < 1:
        raise BadRequestError("--prevalence must be between 0 and 1.")
    if arguments.resamples < 100:
        raise BadRequestError("--resamples must be at least 100.")
    if not 0 <= arguments.seed < 2**32:
        raise BadRequestError("--seed must be a whole number from 0 to 4294967295.")
    if arguments.out is not None and arguments.out.exists() and not arguments.out.is_dir():
        raise BadRequestError("--out must be a folder.")


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


def _cases(
    arguments: argparse.Namespace, run: RunFolder, wanted: Wanted, against: RunFolder | None
) -> tuple[Cohort | None, Opening | None]:
    """The cases; whatever is wrong with the call is said before a seal is opened."""
    if arguments.test:
        everything = run.experiment.cohort(wanted.columns)
        check_before(everything.subset(np.flatnonzero(run.experiment.sealed_rows(everything))), wanted, against)
        opening = open_seal(run, unseal=arguments.unseal, columns=wanted.columns)
        return opening.cohort, opening
    if not arguments.bags:
        return None, None
    where = {name: tuple(texts.split(",")) for name, texts in pairs(arguments.where, "--where").items()}
    place = Elsewhere(arguments.bags, arguments.labels, pairs(arguments.column, "--column"), where)
    cohort = read_elsewhere(run, place, wanted.columns)
    check_before(cohort, wanted, against)
    return cohort, None


def _what(cohort: Cohort | None, opening: Opening | None) -> What:
    """What the cases are; a test set is one once, and a later report does not take the place of the first."""
    if opening is not None:
        return "sealed test" if opening.number == 1 else "test set opened again"
    return "out of fold" if cohort is None else "external cohort"


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
    lines = [f"{document['run']['name']}, {document['what']}", *_figures(document)]
    for model in ("head", "baseline"):
        for name, one in ((document["drop"] or {}).get(model) or {}).items():
            lines.append(f"{name + ': ' if name else ''}{model} changes from out of fold by {interval(one['change'])}")
    if document["harmonised"]:
        lines += [
            f"centres made like training by {document['harmonised']['method']}:",
            *_figures(document["harmonised"]),
        ]
    return "\n".join([*lines, f"report: {page}", NOTICE])


def _figures(models: Mapping[str, Any]) -> Iterator[str]:
    """The first figure of head and baseline, question by question."""
    for model in ("head", "baseline"):
        for name, one in models[model].get("parts", {"": models[model]}).items():
            if one["figures"]:
                figure = interval(one["figures"][one["primary"]])
                yield f"{name + ': ' if name else ''}{model} {words(one['primary'])} {figure}, n = {one['n']}"

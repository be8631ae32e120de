"""The report as one HTML file, no script and no reference to anything outside of it, and as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from mil.judging.report.chapters import Chapter, of_groups, of_models, questions
from mil.judging.report.drawing import Document
from mil.judging.report.others import others
from mil.judging.report.words import interval, number, words
from tiling.whole import write_whole

TEMPLATES: Final = Path(__file__).parent
PAGE, DATA = "report.html", "report.json"
LIMITS: Final = (
    "Figures hold for these cases, their centres, scanners and stains, and for no others.",
    "Figures out of fold say how well the way of training works; the members together were judged by nobody.",
    "Intervals are over patients; they do not hold what another choice of centres or labels would change.",
    "An association is no cause, and none of this says that anybody is helped.",
)


def render(document: Document, command: str) -> str:
    """Write the page.

    Args:
        document: Of `evaluate`.
        command: What was called.

    Returns:
        The HTML document.
    """
    return _template().render(
        document=document,
        command=command,
        facts=list(_facts(document)),
        summary=list(_summary(document)),
        chapters=list(_chapters(document)),
        limits=LIMITS,
    )


def data_of(document: Mapping[str, Any]) -> str:
    """The document as it stands in the file of data.

    Args:
        document: Of `evaluate`.

    Returns:
        Strict JSON.
    """
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def write(document: Mapping[str, Any], command: str, folder: Path) -> dict[str, str]:
    """Write page and data, each whole or not at all.

    Args:
        document: Of `evaluate`.
        command: What was called.
        folder: Made if it is not there.

    Returns:
        What each file is -> its name.
    """
    texts = {PAGE: render(document, command), DATA: data_of(document)}
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    return {"report_html": PAGE, "report_json": DATA}


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template("report.html.j2")


def _facts(document: Document) -> Iterator[tuple[str, str]]:
    run, head = document["run"], document["head"]
    yield "Judged", document["what"]
    yield "Cases", f"{head['n']} of {head['patients']} patients"
    yield "Task", run["task"]["kind"]
    yield "Head", f"{run['head']['name']}, {run['members']} members"
    yield "Recommended after training", {"head": "head", "baseline": "linear model"}.get(run["winner"], run["winner"])
    yield "Folds of training", f"{run['folds']['count']} by {run['folds']['by']}, {run['folds']['repeats']} repeats"


def _summary(document: Document) -> Iterator[str]:
    for name, models in questions(document):
        prefix = f"{name}: " if name else ""
        for model, own in models.items():
            if own["figures"]:
                yield f"{prefix}{words(own['primary'])} of the {model} {interval(own['figures'][own['primary']])}."
        gap = document["comparison"].get(name)
        if gap:
            first = interval(gap["differences"][gap["primary"]])
            yield f"{prefix}The head differs from the linear model by {first}, p {number(gap['p_holm'])}."
    if document["unlike"] is not None:
        many = document["head"].get("n", 0)
        yield f"{document['unlike']} of {many} cases are unlike those of training: their scores promise nothing."
    for model, each in (document["drop"] or {}).items():
        for name, one in each.items():
            what = f"{name}: " if name else ""
            yield f"{what}From out of fold to here the {model} changes by {interval(one['change'])}."


def _chapters(document: Document) -> Iterator[Chapter]:
    for name, models in questions(document):
        yield of_models(name, models, document["comparison"])
        yield from of_groups(name, next(iter(models.values())))
    yield from others(document)

"""Chapters of what is neither of one question nor of one group: centres, sets, elsewhere, treatment, another run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mil.judging.report.chapters import Chapter, Table
from mil.judging.report.drawing import Document
from mil.judging.report.treating import treating
from mil.judging.report.words import interval, number, words


def others(document: Document) -> Iterator[Chapter]:
    """The further chapters.

    Args:
        document: Of `evaluate`.

    Yields:
        Those that there is something to say in.
    """
    for title, key, write in (
        ("From training to elsewhere", "drop", _drop),
        ("Centres made like training", "harmonised", _harmonised),
        ("Across folds", "cross_validation", _folds),
        ("Sets of answers", "sets", _sets),
        ("Does the slide give away its centre?", "centres", _centres),
        ("Treatment", "treatment", treating),
        ("Against another run", "against", _against),
    ):
        if document[key]:
            yield Chapter(title, *write(document[key]))


def _drop(found: Document) -> tuple[list[str], list[Any], list[Table]]:
    lines = [
        [f"{model} {name}", words(one["figure"]), number(one["before"]), number(one["after"]), interval(one["change"])]
        for model, each in found.items()
        for name, one in each.items()
    ]
    header = ["model", "figure", "out of fold", "here", "change (95 % interval)"]
    return [], [], [Table("What is lost", header, lines)]


def _harmonised(found: Document) -> tuple[list[str], list[Any], list[Table]]:
    lines = [
        [f"{model} {name}", words(key), interval(made["figures"][key]), interval(figure)]
        for model, questions in found["gain"].items()
        for name, one in questions.items()
        for made in [found[model]["parts"][name] if name else found[model]]
        for key, figure in one["differences"].items()
    ]
    said = f"Each centre was standardised by {found['method']} from its own slides, without their labels."
    header = ["model", "figure", "standardised", "change (95 % interval)"]
    return [said], [], [Table("What standardisation wins", header, lines)]


def _folds(found: Document) -> tuple[list[str], list[Any], list[Table]]:
    lines = [
        [name or "all", *(interval(one[key]) for key in ("head", "baseline", "difference")), number(one["p"])]
        for name, one in found.items()
    ]
    note = "Means over folds and repeats; intervals are widened because folds share training cases (Nadeau & Bengio)."
    header = ["question", "head", "linear model", "difference", "p"]
    return [], [], [Table("Fold by fold", header, lines, note)]


def _sets(found: Any) -> tuple[list[str], list[Any], list[Table]]:  # noqa: ANN401 - a list, or a reason
    if isinstance(found, Mapping):
        return [f"Not judged: {found['reason']}"], [], []
    shown = ("patients", "coverage", "size", "single", "right", "either", "neither", "width")
    lines = [
        [
            str(place),
            *(number(one.get(name)) for name in shown),
            ", ".join(number(each["coverage"]) for each in one.get("by_class", ())) or "–",
        ]
        for place, one in enumerate(found, 1)
        if one
    ]
    note = (
        "How often the set of answers that cannot be excluded held the truth, on patients it was not fitted to; single "
        "is the share of sets of one answer, right the share of these that hold the truth."
    )
    return [], [], [Table("Conformal sets", ["question", *shown, "coverage of each class"], lines, note)]


def _centres(found: Document) -> tuple[list[str], list[Any], list[Table]]:
    if "probe" not in found:
        return [f"Not judged: {found['reason']}."], [], []
    probe, robust = found["probe"], found["robustness"]
    said = f"Not probed: {probe['reason']}."
    if probe["balanced_accuracy"] is not None:
        said = (
            f"From the mean tile of a slide its centre, one of {probe['centres']}, is told with a balanced accuracy of "
            f"{number(probe['balanced_accuracy'])}; chance is {number(probe['chance'])}. {probe['left_out']} cases of "
            "centres with too few patients are left out."
        )
    index = robust["reason"] or f"{number(robust['index'])} over {robust['k']} neighbours (1 is robust)"
    return [said, f"Robustness index: {index}."], [], []


def _against(found: Document) -> tuple[list[str], list[Any], list[Table]]:
    lines = [
        [name or "all", words(key), interval(figure), number(one["p"]), number(one["p_holm"])]
        for name, one in found["questions"].items()
        for key, figure in one["differences"].items()
    ]
    header = ["question", "figure", "this run less the other", "p of the first", "p (Holm)"]
    said = f"The other run: {found['name']} (head {found['head']}), on {found['n']} cases that both judged."
    return [said], [], [Table("Differences", header, lines)]

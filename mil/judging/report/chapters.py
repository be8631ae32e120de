"""What stands on the page: chapters of sentences, plots and tables, made of the document alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mil.judging.report import curves, pictures
from mil.judging.report.drawing import Document, Plot
from mil.judging.report.forest import forest
from mil.judging.report.words import interval, number, rows, words
from mil.judging.subgroups import LEAST

HEAD, BASELINE = "head", "linear model"


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first cell names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Chapter:
    """One section of the page."""

    title: str
    notes: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = field(default_factory=tuple)


def questions(document: Document) -> Iterator[tuple[str, curves.Models]]:
    """What was judged, question by question.

    Args:
        document: Of `evaluate`.

    Yields:
        Name ("" for a single task) and what was said of head and linear model.
    """
    head, baseline = document["head"], document["baseline"]
    if "parts" not in head:
        yield "", {HEAD: head, BASELINE: baseline}
        return
    for name in head["parts"]:
        yield name, {HEAD: head["parts"][name], BASELINE: baseline["parts"][name]}


def of_models(name: str, models: curves.Models, comparison: Document) -> Chapter:
    """Figures and plots of one question.

    Args:
        name: Of the question.
        models: What was said.
        comparison: Of both models, one entry a question.

    Returns:
        The chapter.
    """
    title, own = f"Figures: {name}" if name else "Figures", models[HEAD]
    if not own["figures"]:
        return Chapter(title, [f"Not judged: {own['reason']}"])
    left_out = f"; {own['unknown']} without a label are left out" if own.get("unknown") else ""
    counted = f"{own['n']} cases of {own['patients']} patients{left_out}."
    plots = [draw(models) for draw in _PLOTS.get(own["kind"], ())] if own.get("curves", True) else []
    return Chapter(title, [counted], plots, [*_figures(models, comparison.get(name)), *_details(own)])


def _figures(models: curves.Models, comparison: Document | None) -> Iterator[Table]:
    pairs = zip(*(model["figures"].items() for model in models.values()), strict=True)
    gaps = {} if comparison is None else comparison["differences"]
    lines = [
        [words(key), *(interval(pair[1]) for pair in pair_of), interval(gaps[key]) if key in gaps else "–"]
        for pair_of in pairs
        for key in [pair_of[0][0]]
    ]
    if all(model.get("delong") for model in models.values()):
        gap = comparison and comparison["delong"]
        cells = [interval(model["delong"]) for model in models.values()]
        lines.insert(1, ["AUROC, by DeLong", *cells, interval(gap) if gap else "–"])
    note = "95 % intervals from resampled patients (BCa); differences are paired."
    tested = [f"{name} {number(own['permutation_p'])}" for name, own in models.items() if own.get("permutation_p")]
    note += f" p that the order is chance, from permutations: {', '.join(tested)}." if tested else ""
    if comparison is not None:
        note += f" p of the first difference {number(comparison['p'])}, Holm-corrected {number(comparison['p_holm'])}."
    yield Table("Head and linear model", ["figure", *models, "difference"], lines, note)


def _details(own: Document) -> Iterator[Table]:
    if isinstance(own.get("decisions"), Mapping):
        yield _decisions(own["decisions"])
    if "calibration" in own and "brier" in own["calibration"]:
        found = list(rows({key: own["calibration"][key] for key in ("slope", "intercept", "brier")}))
        lines = [[name, interval(figure)] for name, figure in found]
        lines += [[words(key), number(own["calibration"][key])] for key in ("ece", "max_ce")]
        yield Table("Calibration of the head", ["figure", "value (95 % interval)"], lines)
    if own.get("confusions"):
        lines = [[one["truth"], one["said"], str(one["n"]), f"{one['share']:.1%}"] for one in own["confusions"]]
        yield Table("Most frequent mistakes of the head", ["true", "said", "n", "share of the true class"], lines)
    if "survival" in own:
        lines = [[name, interval(figure)] for name, figure in rows(own["survival"])]
        yield Table("Survival, head", ["figure", "value (95 % interval)"], lines)


def _decisions(decisions: Mapping[str, Any]) -> Table:
    shown = ("sensitivity", "specificity", "ppv", "npv", "balanced_accuracy", "mcc", "f1")
    judged = {rule: one for rule, one in decisions.items() if one["figures"]}
    lines = [[words(rule), *(interval(one["figures"][name]) for name in shown)] for rule, one in judged.items()]
    for rule, one in judged.items():
        if one["predictive_values"]:
            at = one["predictive_values"]
            cells = [interval(at["ppv"]), interval(at["npv"])]
            lines.append([f"{words(rule)}, at prevalence {number(at['prevalence'])}", "", "", *cells, "", "", ""])
    if judged:
        note = f"Thresholds were chosen on {next(iter(judged.values()))['chosen_on']}."
    else:
        note = f"No decisions: {next(iter(decisions.values()))['reason']}."
    return Table("Decisions of the head", ["threshold", *map(words, shown)], lines, note)


def of_groups(name: str, own: Document) -> Iterator[Chapter]:
    """Figures by group.

    Args:
        name: Of the question.
        own: What was said of the head.

    Yields:
        A chapter a column.
    """
    for column, found in own.get("subgroups", {}).items():
        whole = own["figures"][own["primary"]]
        plot = forest(column, found, whole, own["primary"])
        yield Chapter(
            f"By {words(column)}" + (f": {name}" if name else ""),
            list(_group_notes(found)),
            [plot] if plot else [],
            [_group_table(found)] if found["worst"] else [],
        )


def _group_notes(found: Document) -> Iterator[str]:
    if found["worst"] and len(found["groups"]) - len(found["too_small"]) > 1:
        yield f"Worst group: {found['worst']['group']}; from best to worst {number(found['gap'])}."
    if found["within"]:
        yield f"Among pairs of the same group alone the AUROC is {interval(found['within'])}."
    if found["equal_opportunity"] and found["equal_opportunity"]["gap"] is not None:
        yield f"Sensitivities of one decision differ by up to {number(found['equal_opportunity']['gap'])}."
    if found["too_small"]:
        sizes = {group["group"]: group["n"] for group in found["groups"]}
        small = ", ".join(f"{name} (n = {sizes[name]})" for name in found["too_small"])
        yield f"Too small to judge, fewer than {LEAST} patients or patients of a class: {small}."


def _group_table(found: Document) -> Table:
    names = list(dict.fromkeys(key for group in found["groups"] for key in group["figures"]))
    tested = any("p_holm" in group for group in found["groups"])
    lines = [
        [
            group["group"],
            str(group["n"]),
            str(group["patients"]),
            *(interval(group["figures"][name]) for name in names),
            *([number(group["p"]), number(group["p_holm"])] if tested else []),
        ]
        for group in found["groups"]
        if not group["reason"]
    ]
    header = ["group", "cases", "patients", *map(words, names), *(["p (permutation)", "p (Holm)"] if tested else [])]
    return Table("Groups", header, lines)


Draw = Callable[[curves.Models], Plot]
_BOTH: Final[tuple[Draw, ...]] = (curves.roc, curves.precision_recall, curves.reliability, curves.benefit)
_TABLE: Final[tuple[Draw, ...]] = (lambda models: pictures.confusion(models[HEAD]["classes"], models[HEAD]["table"]),)
_PLOTS: Final[dict[str, tuple[Draw, ...]]] = {
    "binary": _BOTH,
    "multilabel": _BOTH,
    "multiclass": _TABLE,
    "ordinal": _TABLE,
    "regression": (lambda models: pictures.scatter(models[HEAD]["pairs"], models[HEAD]["figures"]),),
    "survival": (lambda models: pictures.kaplan_meier(models[HEAD]["survival"]["curves"]),),
}

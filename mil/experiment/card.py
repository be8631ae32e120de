"""The model card: what was made, of what, how well it does, and what it is not, on one page for people.

The headings follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, arXiv:1810.03993.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mil.experiment.experiment import Experiment

PAGE: Final = """# {name}
**Research use only.** Not for diagnosis or treatment.

## Intended use
{purpose}

## Which model won
{verdict}

| | {figure} | 95 % interval, over patients |
|---|---|---|
| head `{head}` | {head_figure} | {head_interval} |
| linear model on the mean and deviation of tiles | {base_figure} | {base_interval} |

Difference {difference:+.3f}; standard error {error_folds} over folds (widened as in Nadeau & Bengio 2003, since
training sets overlap) and {error_patients} over patients. The head is
recommended only if it wins by more than the larger.
All figures are out of fold: no case was judged by a model that had seen its patient.

{folds}

## Data
{cases} cases ({unit}s) of {patients} patients from {centres} centres, {tiles} tiles of {width} features. Encoder:
{encoder}. Strata of the task (class, event or quantile -> cases): {strata}.
{sealed}

## Model
Task: {task}. Head: `{head}` {settings}, {parameters} weights. {assumption} {additive}
{members} members: one a fold and seed, each with the weights of the {kept}.
Fingerprints: bags `{bags}`, labels `{labels}`.

## What a score may be believed
{trust}
- Unlike slides: {outliers}.

{suspects}

## What it cannot do
It has seen no other centre, scanner, stain or encoder than those above, and says nothing about them until it is judged
there (`oncoscope evaluate`). Its scores are not calibrated beyond these cases. Where folds are not by centre, a score
may follow the centre and not the tissue. It finds associations, no causes.
"""


def card(experiment: Experiment, about: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        experiment: What was asked for.
        about: What `record` says.

    Returns:
        Markdown.
    """
    verdict, data, head = about["verdict"], about["data"], about["head"]
    return PAGE.format(
        name=experiment.name,
        purpose=experiment.purpose,
        verdict=_verdict(verdict),
        figure=verdict["figure"],
        head=head["name"],
        head_figure=_number(verdict["head"]),
        head_interval=_interval(verdict["head_interval"]),
        base_figure=_number(verdict["baseline"]),
        base_interval=_interval(verdict["baseline_interval"]),
        difference=verdict["difference"],
        error_folds=_number(verdict["error_folds"]),
        error_patients=_number(verdict["error_patients"]),
        folds=_folds(verdict["folds"], experiment.folds.by),
        encoder=data["encoder"] or "not said by the file",
        strata=", ".join(f"{stratum}: {count}" for stratum, count in data["strata"].items()),
        sealed=_sealed(about),
        task=about["task"]["kind"],
        settings=", ".join(f"{key} {value}" for key, value in head["settings"].items()),
        parameters=head["parameters"],
        assumption=_assumption(head),
        additive="What each tile adds sums to its score." if head["additive"] else "Its score is no sum over tiles.",
        kept="epoch of lowest validation loss" if experiment.training.validation else "last epoch",
        members=len(experiment.seeds) * len(verdict["folds"]),
        trust="\n".join(f"- Of the {name}: {said}" for name, own in about["trust"].items() for said in own["said"]),
        outliers=_fitted(about["outliers"], "known by `outliers/`"),
        suspects=_suspects(about),
        bags=data["bags_fingerprint"],
        labels=data["labels_sha256"] or "in the bags",
        **{key: data[key] for key in ("cases", "unit", "patients", "centres", "tiles", "width")},
    )


def _verdict(verdict: Mapping[str, Any]) -> str:
    if not verdict["above_chance"]:
        return "**Neither is recommended.** The interval of the better one holds .5, which is what chance gets."
    if verdict["winner"] == "head":
        return "The head: it beats the linear model by more than one standard error."
    return "**The linear model.** The head does not beat it by more than one standard error and is not recommended."


def _assumption(head: Mapping[str, Any]) -> str:
    if head["respects_mil_assumption"]:
        return "It respects the multiple-instance assumption: one more tile can only raise its score."
    return "It does not respect the multiple-instance assumption: it may take the absence of something as evidence."


def _fitted(state: str, where: str) -> str:
    return where if state == "fitted" else f"none, because {state[:1].lower()}{state[1:].rstrip('.')}"


def _suspects(about: Mapping[str, Any]) -> str:
    if about["suspects"] is None:
        return ""
    noise = ", ".join(f"{share:.0%}" for share in about["label_noise"])
    return f"{about['suspects']} labels look wrong (`suspects.csv`, most suspicious first; estimated share {noise})."


def _sealed(about: Mapping[str, Any]) -> str:
    return (
        "Further cases are sealed as a test set and were not looked at."
        if about["sealed"]
        else "No test set is sealed."
    )


def _folds(folds: list[dict[str, Any]], by: str) -> str:
    lines = [f"| repeat | fold (by {by}) | cases | head | linear |", "|---|---|---|---|---|"]
    lines += [
        f"| {one['repeat']} | {one['fold']} | {one['cases']} | {_number(one['head'])} | {_number(one['baseline'])} |"
        for one in folds
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _interval(ends: list[float | None]) -> str:
    return " to ".join(_number(end) for end in ends)

"""Curves of one question: the head, and the linear model beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mil.judging.report.drawing import BASELINE, HEAD, INK, SOFT, Document, Plot, canvas, finish
from mil.judging.report.words import interval

Models = Mapping[str, Document]
"""Name of the model -> what was said of it."""
COLOURS: Final = (HEAD, BASELINE)


def roc(models: Models) -> Plot:
    """Sensitivity against false alarms.

    Args:
        models: Judged.

    Returns:
        The plot.
    """
    with canvas() as (_, axes, uri):
        for colour, (name, own) in zip(COLOURS, models.items(), strict=False):
            label = f"{name} {interval(own['figures']['auroc'])}"
            axes.plot(own["curves"]["false_positive_rate"], own["curves"]["recall"], color=colour, label=label)
        axes.plot([0, 1], [0, 1], ":", color=SOFT, label="chance 0.5")
        finish(axes, "1 − specificity", "sensitivity", "lower right")
    return Plot("ROC curve", "ROC curve. " + _areas(models, "auroc", "area"), uri[0])


def precision_recall(models: Models) -> Plot:
    """Precision against sensitivity, with the prevalence that chance gives.

    Args:
        models: Judged.

    Returns:
        The plot.
    """
    base = next(iter(models.values()))["prevalence"]
    with canvas() as (_, axes, uri):
        for colour, (name, own) in zip(COLOURS, models.items(), strict=False):
            label = f"{name} {interval(own['figures']['auprc'])}"
            axes.step(own["curves"]["recall"], own["curves"]["precision"], color=colour, label=label, where="pre")
        axes.axhline(base, ls=":", color=SOFT, label=f"prevalence {base:.3f}")
        axes.set_ylim(0, 1.02)
        finish(axes, "sensitivity (recall)", "precision", "best")
    alt = f"Precision-recall curve; prevalence {base:.3f}. " + _areas(models, "auprc", "average precision")
    return Plot("Precision and recall", alt, uri[0])


def reliability(models: Models) -> Plot:
    """What was said against what was seen.

    Args:
        models: Judged.

    Returns:
        The plot.
    """
    with canvas() as (_, axes, uri):
        axes.plot([0, 1], [0, 1], ":", color=SOFT, label="perfect")
        for colour, (name, own) in zip(COLOURS, models.items(), strict=False):
            bins = own["calibration"]["bins"]
            label = f"{name}, error {own['calibration']['ece']:.3f}"
            axes.plot(bins["said"], bins["seen"], "o-", ms=4, color=colour, label=label)
        finish(axes, "probability that was said", "share of positives", "upper left")
    said = "; ".join(
        f"{name}: expected calibration error {own['calibration']['ece']:.3f}" for name, own in models.items()
    )
    return Plot("Calibration", f"Reliability diagram, bins of equal numbers of cases. {said}.", uri[0])


def benefit(models: Models) -> Plot:
    """Net benefit against acting on all and on nobody.

    Args:
        models: Judged.

    Returns:
        The plot.
    """
    first = next(iter(models.values()))
    with canvas() as (_, axes, uri):
        for colour, (name, own) in zip(COLOURS, models.items(), strict=False):
            axes.plot(own["benefit"]["at"], own["benefit"]["model"], color=colour, label=name)
        axes.plot(first["benefit"]["at"], first["benefit"]["all"], "--", color=SOFT, label="act on all")
        axes.axhline(0, color=INK, lw=0.8, label="act on nobody")
        top = max(0.02, first["prevalence"])
        axes.set_ylim(-0.3 * top, 1.1 * top)
        finish(axes, "probability at which one would act", "net benefit", "upper right")
    said = "; ".join(f"{name}: {_ranges(own['benefit']['useful'])}" for name, own in models.items())
    return Plot("Decision curve", f"Net benefit. Better than acting on all and on nobody: {said}.", uri[0])


def _areas(models: Models, key: str, what: str) -> str:
    return "; ".join(f"{name}: {what} {interval(own['figures'][key])}" for name, own in models.items()) + "."


def _ranges(useful: Sequence[Sequence[float]]) -> str:
    return ", ".join(f"{low:.2f} to {high:.2f}" for low, high in useful) or "nowhere"

"""Judging a run: on its own cases out of fold, on a cohort of elsewhere, or on its sealed test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from mil.cohort.cohort import Cohort
from mil.experiment.environment import environment
from mil.experiment.folder import RunFolder
from mil.experiment.record import NOTICE
from mil.judging.across import cross_validation, drop
from mil.judging.against import against as compared
from mil.judging.against import check_unseen
from mil.judging.cases import Asked
from mil.judging.compare import compare
from mil.judging.extras import UNLIKE, centres, likeness, sets, treated_of, treatment
from mil.judging.figure import Json, clean
from mil.judging.harmonising import Method, check_centres, harmonised
from mil.judging.judge import judge
from mil.judging.own import groups, own_cohort
from mil.judging.predicted import Predicted, elsewhere, out_of_fold
from mil.tasks.read import task_table

FORMAT: Final = "oncoscope-report-1"
LIKENESS: Final = "likeness"
"""Column of groups that is made here, of slides like and unlike those of training."""
What = Literal["out of fold", "external cohort", "sealed test", "test set opened again"]


@dataclass(frozen=True)
class Wanted:
    """What a judgement shall hold."""

    groups: tuple[str, ...] = ()
    """Columns by which figures are grouped, beside the centre."""
    treatment: str = ""
    """Column that says who was treated (1) and who was not (0)."""
    biology: str = ""
    """Column of what tissue is, for the robustness index; "" takes the strata of the task."""
    harmonise: Method | None = None
    """How each centre of a cohort of elsewhere is made like the training cohort, to be judged beside the cohort."""
    prevalence: float | None = None
    """Where the answers would be used."""
    count: int = 2000
    """Resamples."""
    seed: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table of labels, beside those of the task."""
        return tuple(dict.fromkeys(filter(None, (*self.groups, self.treatment, self.biology))))

    @property
    def asked(self) -> Asked:
        """How cases are judged."""
        return Asked(self.count, self.seed, self.prevalence)


def judge_run(
    run: RunFolder,
    cohort: Cohort | None = None,
    wanted: Wanted = Wanted(),
    against: RunFolder | None = None,
    what: What = "external cohort",
) -> Json:
    """Judge a run.

    Args:
        run: A finished run.
        cohort: Labelled cases that none of its members has seen; None for its own cases, out of fold.
        wanted: What the document shall hold.
        against: Another run of the same task, compared on the cases that both judged.
        what: What the cohort is.

    Returns:
        A strict JSON document.
    """
    own = out_of_fold(run)
    bags = own_cohort(run, own, wanted.columns) if cohort is None else cohort
    said = own if cohort is None else elsewhere(run, cohort)
    alike = [] if cohort is None else likeness(run, cohort)
    said = said.grouped(groups(run, bags, wanted.groups) | ({LIKENESS: alike} if alike else {}))
    reference = None if cohort is None else own
    document: Json = {
        "format": FORMAT,
        "notice": NOTICE,
        "what": "out of fold" if cohort is None else what,
        "run": _about(run),
        "versions": environment(),
        "resamples": {"count": wanted.count, "seed": wanted.seed, "level": 0.95, "unit": "patient", "method": "BCa"},
        "prevalence": wanted.prevalence,
        **_models(run, said, reference, wanted),
        "cross_validation": cross_validation(run.task, run.out_of_fold()) if cohort is None else None,
        "harmonised": None if cohort is None else _harmonised(run, cohort, said, own, wanted),
        "drop": None if reference is None else _drop(run, reference, said, wanted),
        "unlike": alike.count(UNLIKE) if alike else None,
        "sets": sets(run, said),
        "centres": _centres(run, bags, wanted),
        "treatment": _treatment(run, said, bags, wanted),
        "against": None if against is None else compared(run, against, said, cohort, wanted.asked),
    }
    return dict(clean(document))


def _about(run: RunFolder) -> Json:
    record = run.record
    return {
        "name": record["name"],
        "purpose": record["purpose"],
        "task": task_table(run.task),
        "head": record["head"],
        "members": len(record["members"]),
        "winner": record["winner"] if record["verdict"]["above_chance"] else "neither",
        "folds": record["folds"],
        "bags_fingerprint": record["data"]["bags_fingerprint"],
        "versions": record["versions"],
    }


def _models(run: RunFolder, said: Predicted, reference: Predicted | None, wanted: Wanted) -> Json:
    each: Json = {}
    for name in ("head", "baseline"):
        cases = getattr(said, name)
        asked = replace(wanted.asked, reference=None if reference is None else getattr(reference, name))
        each[name] = judge(
            run.task,
            cases.targets,
            cases.probabilities,
            cases.scores,
            cases.patients,
            groups=cases.groups,
            folds=cases.folds,
            asked=asked,
        )
    return each | {"comparison": compare(run.task, said.head, said.baseline, wanted.asked)}


def _drop(run: RunFolder, before: Predicted, after: Predicted, wanted: Wanted) -> Json:
    pairs = {"head": (before.head, after.head), "baseline": (before.baseline, after.baseline)}
    return {name: drop(run.task, *pair, wanted.asked) for name, pair in pairs.items()}


def _harmonised(run: RunFolder, cohort: Cohort, said: Predicted, reference: Predicted, wanted: Wanted) -> Json | None:
    """The same cases with standardised features, and what that wins over them as they are."""
    if wanted.harmonise is None:
        return None
    other = elsewhere(run, harmonised(run, cohort, wanted.harmonise))
    gains = {
        name: compare(run.task, getattr(other, name), replace(getattr(said, name), groups={}), wanted.asked)
        for name in ("head", "baseline")
    }
    return {"method": wanted.harmonise, **_models(run, other, reference, wanted), "gain": gains}


def _centres(run: RunFolder, cohort: Cohort | None, wanted: Wanted) -> Json:
    if cohort is None:
        return {"reason": "the bags of the run are no longer where they were"}
    biology = cohort.table[wanted.biology] if wanted.biology else None
    return centres(run.task, cohort, biology, wanted.seed)


def _treatment(run: RunFolder, said: Predicted, cohort: Cohort | None, wanted: Wanted) -> Json | None:
    if not wanted.treatment or cohort is None:
        return None
    treated, known = treated_of(wanted.treatment, cohort), {name: cohort.table[name] for name in wanted.groups}
    return treatment(run.task, said, treated, known, wanted.asked)


def check_before(cohort: Cohort, wanted: Wanted, against: RunFolder | None = None) -> None:
    """See what would end a judgement before it begins, so that it does not cost the opening of a seal.

    Args:
        cohort: That will be judged; labels are not looked at.
        wanted: What the document shall hold; a text of treatment that is none ends in a `LabelError`.
        against: The run that will be compared; one that has learnt from these cases ends in a `CohortError`.
    """
    if wanted.harmonise is not None:
        check_centres(cohort)
    if wanted.treatment:
        treated_of(wanted.treatment, cohort)
    if against is not None:
        check_unseen(against, cohort)

"""A cohort on worker processes gives the same bits as in this process; one that loses them still has its tables."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from biomarkers import score_cohort
from biomarkers.cohort import Task
from slides.testing import write_slide
from tiling import Event, Needs, Outcome
from tiling.cluster import DaskPool
from tiling.pool import ANYWHERE, Item, Result


@pytest.mark.slow
def test_worker_processes_give_the_same_bits(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.svs", size=(2600, 1700), seed=3)
    write_slide(tmp_path / "b.svs", size=(2400, 1800), seed=5)
    (tmp_path / "text.svs").write_text("no slide")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("slide\na.svs\ntext.svs\nb.svs\n")
    here = score_cohort(manifest, "tissue-composition", tmp_path / "here")
    with DaskPool(workers=2) as pool:
        there = score_cohort(manifest, "tissue-composition", tmp_path / "there", pool)
    assert here.count("scored") == there.computed == 2
    assert [row.state for row in there.outcomes] == ["scored", "failed", "scored"]
    for name in ("scores.csv", "status.csv"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    for one, other in zip(here.outcomes, there.outcomes, strict=True):
        assert (one.score is None) == (other.score is None)
        if one.score is not None and other.score is not None:
            assert one.score.measures == other.score.measures
            assert one.score.provenance["embeddings"] == other.score.provenance["embeddings"]


def die_of_case_2(function: Callable[[Item], Result], item: Item) -> Result:
    """End the process that scores one slide, as a decoder's crash does."""
    if isinstance(item, Task) and item.row.id == "CASE-2":
        os._exit(3)
    return function(item)


class Poisoned(DaskPool):
    """A pool on which one slide ends every worker that scores it."""

    def outcomes(
        self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
    ) -> Iterator[Outcome[Result]]:
        return super().outcomes(partial(die_of_case_2, function), items, needs)


def states(out: Path) -> list[tuple[str, str]]:
    with (out / "status.csv").open(newline="", encoding="utf-8") as file:
        return [(row["state"], row["reason"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_slide_that_ends_workers_costs_one_row_and_a_lost_cluster_no_table(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.svs", size=(2600, 1700), seed=3)
    write_slide(tmp_path / "b.svs", size=(2400, 1800), seed=5)
    for number in range(3):
        write_slide(tmp_path / f"glass{number}.svs", kind="glass", seed=number, size=(700 + number, 500))
    manifest, out = tmp_path / "manifest.csv", tmp_path / "out"
    manifest.write_text(
        "slide,path\nCASE-1,glass0.svs\nCASE-2,b.svs\nCASE-3,a.svs\nCASE-4,glass1.svs\nCASE-5,glass2.svs\n"
    )
    with DaskPool(workers=1) as pool:

        def lose(event: Event) -> None:
            if event.slides_done == 1:
                pool._cluster.close()

        score_cohort(manifest, "tissue-composition", out, pool, lose)
    found = states(out)
    assert [state for state, _ in found] == ["not_evaluable", *["failed"] * 4]
    assert all("scheduler is gone" in reason for _, reason in found[1:])
    with Poisoned(workers=1) as pool:
        score_cohort(manifest, "tissue-composition", out, pool)
    found = states(out)
    assert [state for state, _ in found] == ["not_evaluable", "failed", "scored", *["not_evaluable"] * 2]
    assert "worker process ended" in found[1][1]

"""A cohort on worker processes gives the same bits as in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from biomarkers import score_cohort
from slides.testing import write_slide
from tiling.cluster import DaskPool


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

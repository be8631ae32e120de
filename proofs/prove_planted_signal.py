"""Proof: `demo-response` tells slides with a planted nodule from slides without, and points at the nodule.

    python proofs/prove_planted_signal.py [--work WORK] [--tools ../shared/tools] [--data ../shared/data]

Makes 20 planted and 20 plain slides of 30,000 x 30,000 px from maps and seeds that never trained or chose the head,
scores each with `biomarkers.score` as the command line does, and reads the contributions from the `tiles.geojson` that
a user gets. Started again with the same WORK it goes on where it was. Takes about 20 minutes on two cores. Prints one
JSON object, last, and exits 1 when a claim does not hold, 2 when nothing could be proved.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biomarkers import load_card, score
from mil import load_fit, roc_auc
from tools.demo_slides import IMMUNE, Plan, disc, discard, make, proof_plan, tile_shares

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
BIOMARKER = "demo-response"
SLIDE_AUROC, TILE_AUROC = 0.95, 0.85  # what is claimed


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one slide."""

    planted: bool
    score: float
    contributions: NDArray[np.float64]
    """Of each tile [N], as exported."""
    immune: NDArray[np.float64]
    """Share of the tile's tissue cells that are immune [N]."""
    inside: NDArray[np.float64]
    """Share of the tile's tissue cells inside the planted disc [N]."""


def outcome(plan: Plan, call: argparse.Namespace, digest: str) -> Outcome:
    """Make and score one slide, unless that was done for this head.

    Args:
        plan: The slide.
        call: Where things are.
        digest: Of the head.

    Returns:
        Score and tiles.
    """
    kept = call.work / digest[:16] / f"{plan.name}.npz"
    if not kept.exists():
        slides, results = call.work / "slides", call.work / "results" / plan.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        slides.mkdir(exist_ok=True)
        slide = make(plan, call.tools, call.data, slides)
        result = score(slide, BIOMARKER, results)
        draft = kept.with_suffix(".part.npz")
        values, immune, inside = tiles_of(results / "tiles.geojson", slide, plan)
        np.savez(draft, score=result.score, contributions=values, immune=immune, inside=inside)
        draft.replace(kept)
        discard([slide])
        shutil.rmtree(results)
    with np.load(kept) as file:
        return Outcome(plan.planted, float(file["score"]), file["contributions"], file["immune"], file["inside"])


def tiles_of(geojson: Path, slide: Path, plan: Plan) -> tuple[NDArray[np.float64], ...]:
    """Read what a user reads, and the truth beside it.

    Args:
        geojson: The exported tiles.
        slide: The slide, for its truth.
        plan: How it was made.

    Returns:
        Contributions, immune shares, shares inside the disc, each [N].
    """
    features = json.loads(geojson.read_text())["features"]
    corners = np.array([feature["geometry"]["coordinates"][0] for feature in features], np.int64)  # [N, 5, 2]
    coords, side = corners.min(axis=1), float(np.ptp(corners[0, :, 0]))
    values = [feature["properties"]["measurements"] for feature in features]
    name = next(key for key in values[0] if key.startswith("contribution"))
    with np.load(slide.with_suffix(".truth.npz")) as truth:
        classes = truth["classes"]
    tissue = classes > 0
    inside = disc(tissue, plan.seed) if plan.planted else np.zeros_like(tissue)
    contributions = np.array([value[name] for value in values], np.float64)
    return contributions, *(tile_shares(cells, tissue, coords, side) for cells in (classes == IMMUNE, inside))


def tile_figures(outcomes: list[Outcome], truth: str) -> dict[str, float]:
    """Judge the contributions on the planted slides.

    Args:
        outcomes: Of all slides.
        truth: `immune` or `inside`; a tile counts when its share is at least half.

    Returns:
        Mean and worst AUROC over slides, and the AUROC of all their tiles together.
    """
    planted = [(one.contributions, getattr(one, truth) >= 0.5) for one in outcomes if one.planted]
    judged = [(values, marks) for values, marks in planted if 0 < marks.sum() < marks.size]
    areas = [roc_auc(marks, values) for values, marks in judged]
    pooled = roc_auc(np.concatenate([m for _, m in judged]), np.concatenate([v for v, _ in judged]))
    return {"mean": float(np.mean(areas)), "worst": float(np.min(areas)), "pooled": pooled, "slides": len(areas)}


def prove(call: argparse.Namespace) -> dict[str, object]:
    """Score all slides and judge.

    Args:
        call: Where things are.

    Returns:
        The figures; `holds` says whether every claim does.
    """
    started = time.monotonic()
    digest = load_fit(load_card(BIOMARKER).head_dir).digest
    outcomes: list[Outcome] = []
    for plan in proof_plan():
        outcomes.append(outcome(plan, call, digest))
        print(
            json.dumps({"slide": plan.name, "score": outcomes[-1].score, "tiles": len(outcomes[-1].inside)}), flush=True
        )
    auroc = roc_auc([one.planted for one in outcomes], [one.score for one in outcomes])
    tiles = {
        "immune_share_at_least_half": tile_figures(outcomes, "immune"),
        "in_the_disc": tile_figures(outcomes, "inside"),
    }
    return {
        "proof": "planted_signal",
        "head": digest,
        "slides": {"planted": sum(one.planted for one in outcomes), "plain": sum(not one.planted for one in outcomes)},
        "auroc": auroc,
        "tile_auroc": tiles,
        "lowest_planted": min(one.score for one in outcomes if one.planted),
        "highest_plain": max(one.score for one in outcomes if not one.planted),
        "seconds": round(time.monotonic() - started, 1),
        "holds": auroc >= SLIDE_AUROC and all(figures["mean"] >= TILE_AUROC for figures in tiles.values()),
    }


def main() -> int:
    """Parse the call, prove, and print.

    Returns:
        0 when every claim holds, 1 when one does not, 2 when what is needed is not there.
    """
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--tools", type=Path, default=SHARED / "tools", help="folder of make_slide.py")
    cli.add_argument("--data", type=Path, default=SHARED / "data", help="folder of patches and tissue_maps.npz")
    cli.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "oncoscope-planted-signal")
    call = cli.parse_args()
    needed = (call.tools / "make_slide.py", call.data / "tissue_maps.npz", call.data / "patches")
    if missing := [path.name for path in needed if not path.exists()]:
        print(f"nothing was proved: {', '.join(missing)} not found; see --tools and --data", file=sys.stderr)
        return 2
    figures = prove(call)
    print(json.dumps(figures))
    return 0 if figures["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())

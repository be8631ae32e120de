"""Proof: no slide crashes, stalls or starves the process that opens it, and none shows the pixels of others.

    python proofs/prove_reading_robust.py [--mutants 1500] [--seed 0]

- Mutants of small slides of every container, each looked at twice: with both layers, as users have it, and with the
  jail alone, so that native decoders get to see what the header checks would have refused. Every one must end in a
  typed verdict within 10 s and 2 GiB.
- Small files with huge claims: refused in under 1 s each.
- Files of others, by name, link and pipe: refused by the header checks without the jail; without the checks the jail
  shows nothing of them. Without either they would be seen, or the reader would hang.
- One broken tile in the middle of a slide: reported by its place, through the jail.

Takes about six minutes on two cores. Prints one JSON object, last, and exits 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slides.jail.launcher import zygote
from tools.hostile_claims import CLAIMS
from tools.hostile_containers import CONTAINERS
from tools.hostile_escapes import ESCAPES
from tools.hostile_look import Layers, Verdict, break_tile, look, look_naked
from tools.hostile_mutants import mutate

MOST_SECONDS, CLAIM_SECONDS, NAKED_SECONDS = 10.0, 1.0, 8.0
MOST_RSS_BYTES = 2 << 30
OWN_READERS = tuple(name for name in CONTAINERS if name not in {"plain", "leica", "ventana", "vms", "mirax"})
HARMFUL = 12
"""Escapes that must do harm where no layer is; of the others the reader itself shows nothing."""
PROGRESS_EVERY = 250


@dataclass
class Tally:
    """What was seen."""

    figures: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    """Claims that do not hold, one sentence each."""

    def require(self, holds: bool, what: str) -> None:  # noqa: FBT001 - reads like the assertion that it is
        """Note a claim that does not hold."""
        if not holds:
            self.missed.append(what)
            print(f"MISSED {what}", flush=True)


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def prove_mutants(tally: Tally, work: Path, count: int, seed: int) -> None:
    """Mutants by turns of every container."""
    good = {
        name: writer(fresh(work / "good" / name)).relative_to(work / "good" / name)
        for name, writer in CONTAINERS.items()
    }
    verdicts: dict[Layers, Counter[str]] = {"both": Counter(), "jail alone": Counter()}
    worst = 0.0
    for number in range(count):
        name = list(good)[number % len(good)]
        copy = work / "mutant"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(work / "good" / name, copy)
        what = mutate(copy, seed + number)
        for layers, counter in verdicts.items():
            verdict = look(copy / good[name], work / "deaths", layers)
            counter[verdict.kind] += 1
            worst = max(worst, verdict.seconds)
            place = f"mutant {seed + number} of {name} ({what}), {layers}: {verdict.kind} in {verdict.seconds:.1f} s"
            tally.require(verdict.typed and verdict.seconds <= MOST_SECONDS, place)
        if number % PROGRESS_EVERY == PROGRESS_EVERY - 1:
            print(f"{number + 1} mutants, {dict(verdicts['both'])}", flush=True)
    tally.figures |= {"mutants": count, "containers": len(good), "mutant_seed": seed}
    tally.figures |= {"verdicts": {layers: dict(counter) for layers, counter in verdicts.items()}}
    tally.figures |= {"mutant_worst_seconds": round(worst, 2)}


def prove_claims(tally: Tally, work: Path) -> None:
    """Huge claims, with both layers."""
    worst, kinds = 0.0, Counter[str]()
    for name, writer in CLAIMS.items():
        verdict = look(writer(fresh(work / "claim")), work / "deaths-of-claims")
        worst, kinds[verdict.kind] = max(worst, verdict.seconds), kinds[verdict.kind] + 1
        fine = verdict.refused and verdict.kind != "SlideCrashedError" and verdict.seconds < CLAIM_SECONDS
        tally.require(fine, f"claim {name}: {verdict.kind} in {verdict.seconds:.2f} s")
    tally.figures |= {"claims": len(CLAIMS), "claim_verdicts": dict(kinds), "claim_worst_seconds": round(worst, 3)}


def prove_escapes(tally: Tally, work: Path) -> None:
    """Files of others, with each layer alone and with none."""
    found: dict[str, Counter[str]] = {"guard alone": Counter(), "jail alone": Counter(), "neither": Counter()}
    tests: dict[Layers, Callable[[Verdict], bool]] = {
        "guard alone": lambda verdict: verdict.kind == "UnsafeSlideError" and verdict.seconds < CLAIM_SECONDS,
        "jail alone": lambda verdict: verdict.typed and verdict.kind != "foreign" and verdict.seconds < MOST_SECONDS,
    }
    for name, writer in ESCAPES.items():
        path = writer(fresh(work / "escape"))
        for layers, fine in tests.items():
            verdict = look(path, work / f"deaths-{name}".replace(" ", "-"), layers)
            found[layers][verdict.kind] += 1
            tally.require(fine(verdict), f"escape {name}, {layers}: {verdict.kind} in {verdict.seconds:.1f} s")
        found["neither"][look_naked(path, NAKED_SECONDS)] += 1
    harm = found["neither"]["foreign"] + found["neither"]["hangs"]
    tally.require(harm >= HARMFUL, f"the escapes have teeth: only {harm} do harm where no layer is")
    tally.figures |= {"escapes": len(ESCAPES), "escape_verdicts": {key: dict(value) for key, value in found.items()}}


def prove_places(tally: Tally, work: Path) -> None:
    """One broken tile: its place is in the message."""
    for name in OWN_READERS:
        path = CONTAINERS[name](fresh(work / "broken"))
        break_tile(path, 1, 2)
        side = 240 if name == "svs_rgb" else 128
        verdict = look(path, work / "deaths-of-tiles")
        said = verdict.kind == "DamagedSlideError" and f"({2 * side}, {side})" in verdict.detail
        tally.require(said, f"broken tile of {name}: {verdict.kind}, {verdict.detail}")
    tally.figures |= {"broken_tiles_reported_by_place": len(OWN_READERS)}


def rss_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """Run all, print the figures.

    Returns:
        Exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    call = parser.parse_args()
    begin, tally, ancestor = time.monotonic(), Tally(), zygote()
    before = rss_bytes()
    with tempfile.TemporaryDirectory() as folder:
        prove_mutants(tally, Path(folder), call.mutants, call.seed)
        prove_claims(tally, Path(folder))
        prove_escapes(tally, Path(folder))
        prove_places(tally, Path(folder))
    alive = ancestor.alive and zygote() is ancestor
    tally.require(alive, "the ancestor of the children lives")
    tally.require(ancestor.peak_rss_bytes <= MOST_RSS_BYTES, "a child had more than 2 GiB resident")
    tally.figures |= {
        "layers": ancestor.layers,
        "worst_child_rss_mb": ancestor.peak_rss_bytes >> 20,
        "parent_alive": True,
        "parent_rss_delta_mb": (rss_bytes() - before) >> 20,
        "seconds": round(time.monotonic() - begin),
        "missed": tally.missed,
    }
    print(json.dumps(tally.figures))
    return 1 if tally.missed else 0


if __name__ == "__main__":
    sys.exit(main())

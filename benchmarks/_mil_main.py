"""How good and how fast heads are: classic sets, algorithmic tests, and treatment response, MSI and survival in TCGA.

    python benchmarks/mil.py [--data ../shared/data] [--out FOLDER] [--workers 2] [--fewer]
                             [--only classic ucsb algorithmic msi response survival transfer conformal speed]

Nothing is chosen on test: one recipe a part, written down before, and every judgement is out of fold. Runs are kept in
FOLDER, and a second call goes on with what is there. The features of the TCGA bags are of an encoder trained on
TCGA itself (HIPT), without labels. One JSON object is printed last. Research use only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks._algorithmic import run as algorithmic
from benchmarks._mil_classic import classic, ucsb
from benchmarks._mil_cohorts import conformal, msi, response, survival, transfer
from benchmarks._mil_runs import Bench
from benchmarks._mil_speed import speed
from mil import HEADS
from tiling.cluster import DaskPool
from tiling.pool import LocalPool

ROOT: Final = Path(__file__).resolve().parents[1]
PARTS: Final[dict[str, Callable[[Bench], Any]]] = {
    "speed": speed,
    "classic": classic,
    "msi": msi,
    "response": response,
    "survival": survival,
    "transfer": transfer,
    "conformal": conformal,
    "algorithmic": lambda _: algorithmic(tuple(HEADS)),
    "ucsb": ucsb,
}


def main() -> None:
    """Run, measure, print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    cli.add_argument("--out", type=Path, help="where runs are kept (default: nowhere)")
    cli.add_argument("--workers", type=int, default=2, help="processes that train; 1 trains in this one")
    cli.add_argument("--fewer", action="store_true", help="fewer folds, seeds and repeats, for a look in minutes")
    cli.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    arguments = cli.parse_args()
    begin = time.perf_counter()
    document: dict[str, Any] = {}
    with ExitStack() as stack:
        out = arguments.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        out.mkdir(parents=True, exist_ok=True)
        pool = LocalPool(1) if arguments.workers == 1 else DaskPool(workers=arguments.workers)
        bench = Bench(arguments.data, out, stack.enter_context(pool), arguments.fewer)
        for name in (part for part in PARTS if part in arguments.only):
            print(f"{time.perf_counter() - begin:6.0f} s  {name} begins", file=sys.stderr, flush=True)
            document[name] = PARTS[name](bench)
    if "ucsb" in document:
        document["ucsb_auc"] = document["ucsb"]["auroc_of_the_chosen"]
    document["seconds"] = round(time.perf_counter() - begin, 1)
    document["fewer"] = arguments.fewer
    document["machine"] = {"cores": os.cpu_count(), "processor": platform.machine()}
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

"""How good and how fast heads are. What it measures, and its options: `python benchmarks/mil.py --help`."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ in {"__main__", "mil"}:  # Python looks in the folder of a script first, and would take this file for `mil`
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE]
if __name__ == "__main__":
    runpy.run_module("benchmarks._mil_main", run_name="__main__")
elif __name__ == "mil":  # imported by another script of this folder, which wants the package
    del sys.modules["mil"]
    importlib.import_module("mil")

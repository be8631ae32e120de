"""How good and how fast heads are. What it measures, and its options: `python benchmarks/mil.py --help`."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, where this very file would be found in place of the package `mil`
    runpy.run_module("benchmarks._mil_main", run_name="__main__")

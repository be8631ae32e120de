"""Let timm and open_clip be imported where torchvision's compiled operators cannot be loaded.

A torchvision wheel built for CUDA, beside a CPU-only torch, fails on import ("operator torchvision::nms does not
exist"): its library needs CUDA's, the failed load is swallowed, and then implementations are registered for two
operators that nobody declared. Declared here, they exist; called, they raise a clear error. We call neither. Where the
compiled library loads, nothing is changed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_lock = threading.Lock()
_declared: list[torch.library.Library] = []
"""Kept for as long as the process lives: the declarations vanish with their library object."""


def import_beside(name: str) -> ModuleType:
    """Import a library that imports torchvision.

    Args:
        name: `timm` or `open_clip`.

    Returns:
        The module.
    """
    with _lock:
        if "torchvision" not in sys.modules and not _declared:
            _declare()
    return importlib.import_module(name)


def _declare() -> None:
    """Declare the operators, unless the compiled library does."""
    for library in _compiled():
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        fragment.define(schema)
    _declared.append(fragment)


def _compiled() -> list[Path]:
    """Where torchvision keeps its compiled operators; nowhere if it is not installed."""
    spec = importlib.util.find_spec("torchvision")
    return sorted(Path(spec.origin).parent.glob("_C.*")) if spec and spec.origin else []

"""Which software made a run."""

from __future__ import annotations

import platform
from typing import Final

from tiling.fingerprint import software

DISTRIBUTIONS: Final = ("oncoscope", "numpy", "torch", "safetensors", "scipy", "scikit-learn", "lifelines")


def environment() -> dict[str, str]:
    """Versions, and the kind of machine; nothing that names it.

    Returns:
        Name -> version; `source` for one that is not installed as a distribution.
    """
    machine = {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
    return machine | {name: software(name) for name in DISTRIBUTIONS}

"""Saving and loading what sites are made like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.errors import CheckpointError
from mil.trust.arrays import load_arrays, save_arrays
from mil.trust.combat import Combat
from mil.trust.coral import Coral

NAME = "reference"


def save_reference(reference: Combat | Coral, directory: Path) -> None:
    """Write `reference.safetensors` and `reference.json`.

    Args:
        reference: What to save.
        directory: Where.
    """
    if isinstance(reference, Coral):
        arrays = {"mean": reference.mean, "covariance": reference.covariance}
        save_arrays(directory, NAME, arrays, {"method": "coral", "slides": reference.slides})
    else:
        arrays = {"alpha": reference.alpha, "beta": reference.beta, "sigma": reference.sigma}
        save_arrays(directory, NAME, arrays, {"method": "combat"})


def load_reference(directory: Path) -> Combat | Coral:
    """Read what `save_reference` wrote.

    Args:
        directory: Where.

    Returns:
        The same reference.

    Raises:
        CheckpointError: A file is missing or changed, or the numbers do not fit together.
    """
    arrays, record = load_arrays(directory, NAME)
    found = _coral(arrays, record) if record.get("method") == "coral" else _combat(arrays, record)
    if found is None:
        raise CheckpointError("The numbers of the saved reference do not fit together.")
    return found


def _coral(arrays: dict[str, NDArray[Any]], record: dict[str, Any]) -> Coral | None:
    slides = record.get("slides")
    if set(arrays) != {"mean", "covariance"} or set(record) != {"method", "slides"} or type(slides) is not int:
        return None
    mean, covariance = arrays["mean"], arrays["covariance"]
    fits = mean.ndim == 1 and covariance.shape == mean.shape * 2 and slides > 0
    return Coral(mean, covariance, slides) if fits and _wide(arrays) else None


def _combat(arrays: dict[str, NDArray[Any]], record: dict[str, Any]) -> Combat | None:
    if set(arrays) != {"alpha", "beta", "sigma"} or record != {"method": "combat"}:
        return None
    alpha, beta, sigma = arrays["alpha"], arrays["beta"], arrays["sigma"]
    fits = alpha.ndim == 1 and sigma.shape == alpha.shape and beta.ndim == 2 and beta.shape[1:] == alpha.shape
    return Combat(alpha, beta, sigma) if fits and _wide(arrays) and bool((sigma > 0).all()) else None


def _wide(arrays: dict[str, NDArray[Any]]) -> bool:
    return all(value.dtype == np.float64 for value in arrays.values())

"""Rows as one byte a number for the first pass of a search, with a bound on what that may be wrong by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.errors import BadFeaturesError

LARGEST = 127
"""Of a code: -127 to 127, so that a row and its negative have the same error."""
ROUNDING = 2.0**-24
"""Unit roundoff of float32."""


def unit_rows(features: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Rows of length 1, as they are stored: from then on these are the truth.

    Args:
        features: [N, D].

    Returns:
        [N, D]; a row of zeros stays one.

    Raises:
        BadFeaturesError: If a number is not finite.
    """
    wide = features.astype(np.float32)
    if not np.isfinite(wide).all():
        raise BadFeaturesError("Features that are not finite cannot be searched.")
    norms = np.linalg.norm(wide.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(wide / np.where(norms > 0, norms, 1), np.float16)


def quantise(rows: NDArray[np.float16]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each row to multiples of its own step.

    Write x for a stored row, c for its codes, s for its step and e for the length of x - s c. For a query q, by
    Cauchy and Schwarz, |x.q - s (c.q)| <= e |q|. Computing s (c.q) in float32, in whatever order, is off by at most
    g |s c| |q| with g = (D + 1) u / (1 - (D + 1) u) and u = 2^-24 (Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, section 3.1), |s c| <= |x| + e, and rounding the true score to float32 by at most u |x| |q|. The
    width of a row is the sum of these three for |q| = 1, with some room for its own rounding.

    Args:
        rows: [N, D], finite.

    Returns:
        Codes [N, D]; step and width of each row [N, 2].
    """
    wide = rows.astype(np.float64)
    step = (np.abs(wide).max(axis=1, initial=0) / LARGEST).astype(np.float32).astype(np.float64)
    divisor = np.where(step > 0, step, 1)[:, None]
    codes = np.clip(np.rint(wide / divisor), -LARGEST, LARGEST)
    error = np.linalg.norm(wide - step[:, None] * codes, axis=1)
    width = error + 1.01 * (rows.shape[1] + 8) * ROUNDING * (np.linalg.norm(wide, axis=1) + error)
    first = np.column_stack([step, np.nextafter(width.astype(np.float32), np.float32(np.inf))])
    return codes.astype(np.int8), first.astype(np.float32)


def scores(rows: NDArray[np.float16], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """The truth of a search: the product of a stored row with a query, summed in double precision and rounded once.

    Equal rows have equal scores wherever they stand, which no product of matrices in single precision promises.

    Args:
        rows: [N, D].
        query: [D].

    Returns:
        [N].
    """
    products = rows.astype(np.float64) * query.astype(np.float64)
    return np.asarray(products.sum(axis=1), np.float32)

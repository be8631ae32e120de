"""Figures of the tissue head, on patches and maps that training never saw."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from foundation import Encoder
from foundation.tissue import TISSUES, TissueHead
from tools.tissue_bank import Bank
from tools.tissue_mosaics import KINDS, SHIFTS, Kind, draw, mirrored, restained, scaled

Result = TypeVar("Result")
Floats = NDArray[np.float32]
STAINS_AT = 0.5
"""um/px at which other stains are tried: every head reads it."""
BATCH = 16


@dataclass(frozen=True)
class Tiles:
    """Embedded synthetic tiles."""

    features: Floats
    """[N, D], as they come back from float16."""
    shares: Floats
    """[N, 12]."""
    kind: NDArray[np.int64]
    """Index into KINDS, [N]."""
    mpp: Floats
    """[N]."""

    def where(self, kind: Kind, mpp: float) -> Tiles:
        """The tiles of one kind and zoom."""
        at = (self.kind == KINDS.index(kind)) & (self.mpp == np.float32(mpp))
        return Tiles(self.features[at], self.shares[at], self.kind[at], self.mpp[at])


def measured(head: TissueHead, test: Tiles, bank: Bank, encoder: Encoder) -> dict[str, Any]:
    """Every figure, on patches and maps that training never saw."""
    figures: dict[str, Any] = {}
    for mpp in bank.field.mpp:
        pure, mixed = test.where("pure", mpp), test.where("mixed", mpp)
        label = pure.shares.argmax(axis=1)
        found = head.shares(pure.features).argmax(axis=1)
        figures[f"{mpp:g}"] = {
            "pure_tiles": len(label),
            "pure_balanced_accuracy": _balanced(label, found),
            **_single(head, bank, encoder, mpp),
            "mixed_tiles": len(mixed.shares),
            "mixed": _mixed(head.shares(mixed.features), mixed.shares),
        }
    figures[f"{STAINS_AT:g}"]["stain_shift_pure_balanced_accuracy"] = _shifted(head, bank, encoder)
    return figures


def _shifted(head: TissueHead, bank: Bank, encoder: Encoder) -> dict[str, float]:
    """Balanced accuracy on tiles of one tissue under other stains."""
    drawn = [draw(bank, "pure", STAINS_AT, np.random.default_rng([77, number])) for number in range(320)]
    label = np.array([shares.argmax() for _, shares in drawn])
    found = {}
    for name, change in {"none": np.eye(3), **SHIFTS}.items():
        tiles = np.stack([restained(tile, change, np.ones(3)) for tile, _ in drawn])
        features = _encoded(encoder, tiles, f"stain {name}")
        found[name] = _balanced(label, head.shares(features).argmax(axis=1))
    return found


def _encoded(encoder: Encoder, tiles: NDArray[np.uint8], name: str) -> Floats:
    """Features of tiles that are held in memory."""
    firsts = range(0, len(tiles), BATCH)
    return np.concatenate(in_threads(lambda first: stored(encoder, tiles[first : first + BATCH]), firsts, name))


def _single(head: TissueHead, bank: Bank, encoder: Encoder, mpp: float) -> dict[str, Any]:
    """Each test patch alone, reflected until it fills the field."""
    field, side = bank.field, bank.field.side(mpp)
    start = round(0.4 * field.cell) if side > field.cell else 0
    tiles = np.stack([scaled(mirrored(patch, side, start), field) for patches in bank.patches for patch in patches])
    label = np.repeat(np.arange(len(TISSUES)), [len(patches) for patches in bank.patches])
    found = head.shares(_encoded(encoder, tiles, "single")).argmax(axis=1)
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(label == k) for k in range(len(TISSUES))]
    draws = [np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(1000)]
    low, high = np.percentile([_balanced(label[rows], found[rows]) for rows in draws], [2.5, 97.5])
    return {
        "single_patches": len(label),
        "single_patch_balanced_accuracy": _balanced(label, found),
        "single_patch_interval_95": [round(float(low), 3), round(float(high), 3)],
        "single_patch_recall": {
            name: round(float((found[label == k] == k).mean()), 3) for k, name in enumerate(TISSUES)
        },
    }


def _mixed(found: Floats, truth: Floats) -> dict[str, Any]:
    """How well shares are told in tiles of several tissues."""
    classes = {}
    for k, name in enumerate(TISSUES):
        most = truth[:, k] > 0.5
        classes[name] = {
            "mean_absolute_error": round(float(np.abs(found[:, k] - truth[:, k]).mean()), 4),
            "correlation": round(float(np.corrcoef(found[:, k], truth[:, k])[0, 1]), 3),
            "auroc_share_over_half": round(float(roc_auc_score(most, found[:, k])), 3) if most.any() else None,
            "tiles_over_half": int(most.sum()),
        }
    return {"mean_absolute_error": round(float(np.abs(found - truth).mean()), 4), "classes": classes}


def _balanced(label: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """Mean recall over the classes."""
    return round(float(np.mean([(found[label == k] == k).mean() for k in np.unique(label)])), 4)


def in_threads(work: Callable[[int], Result], items: range, name: str) -> list[Result]:
    """Map on two threads, saying how far it is."""
    results = []
    with ThreadPoolExecutor(2) as pool:
        for done, result in enumerate(pool.map(work, items), start=1):
            results.append(result)
            print(f"\r{name}: {done} of {len(items)} batches", end="", file=sys.stderr)
    print(file=sys.stderr)
    return results


def stored(encoder: Encoder, tiles: NDArray[np.uint8]) -> Floats:
    """Features as they come back from a store."""
    return encoder.encode(tiles).astype(np.float16).astype(np.float32)

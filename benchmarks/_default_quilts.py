"""Wider fields of one tissue, sewn from patches: what stands in for tiles at 0.5 and 1 um/px, which the data lack."""

from __future__ import annotations

import numpy as np

from tools._default_data import PATCH, PX, Image, Patches, resized

PATCH_MPP = 0.25
SIDE = 256


def quilts(patches: Patches, mpp: float, step: int, seed: int = 0) -> Patches:
    """A field around every so manyth patch, of patches of its class, each turned.

    Args:
        patches: Of one part of the split: nothing is sewn across parts.
        mpp: Scale of the tile of 128 px that the field becomes.
        step: Every so manyth patch gets a field.
        seed: Same seed, same fields.

    Returns:
        Fields [N, 256, 256, 3]; what an encoder is fed is made of them as of patches.
    """
    rng = np.random.default_rng([seed, round(mpp * 1000)])
    rows = np.arange(0, len(patches.labels), step)
    images = np.stack([_field(patches, int(row), round(PX * mpp / PATCH_MPP), rng) for row in rows])
    return Patches(images, patches.labels[rows], patches.places[rows])


def _field(patches: Patches, row: int, side: int, rng: np.random.Generator) -> Image:
    cells = -(-side // PATCH)
    near = rng.choice(np.flatnonzero(patches.labels == patches.labels[row]), cells * cells)
    near[0] = row
    turned = [np.rot90(patches.images[i], int(rng.integers(4))) for i in near]
    sewn = np.concatenate([np.concatenate(turned[i * cells : (i + 1) * cells], 1) for i in range(cells)])
    return resized(np.ascontiguousarray(sewn[:side, :side]), SIDE)

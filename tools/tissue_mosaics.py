"""Synthetic tiles of known composition: real patches laid out by real tissue maps, at an encoder's size and scales."""

from __future__ import annotations

import math
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from foundation.tissue import TISSUES
from tools.tissue_bank import Bank, Field, Image

Kind = Literal["pure", "single", "mixed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VERSION = 2  # raised whenever the same seed would draw another tile
GLASS = 242
RAGGED = 0.3  # share of mosaics with irregular glass
LEAST_TISSUE = 0.25  # as tiling keeps tiles
HED = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])  # Ruifrok and Johnston 2001


def draw(bank: Bank, kind: Kind, mpp: float, rng: np.random.Generator) -> tuple[Image, NDArray[np.float32]]:
    """Draw a tile.

    Returns:
        The tile [px, px, 3] and the share of each class in its tissue, [12].
    """
    field, cell = bank.field, bank.field.cell
    side = field.side(mpp)
    if kind == "single":
        label = int(rng.integers(len(TISSUES)))
        patch = _turned(bank.patches[label][rng.integers(len(bank.patches[label]))], rng)
        tile = scaled(mirrored(patch, side, int(rng.integers(cell))), field)
        return tile, np.eye(len(TISSUES), dtype=np.float32)[label]
    cells = math.ceil((side + cell - 1) / cell)
    while True:
        layout = _pure(cells, rng) if kind == "pure" else _window(bank, cells, rng)
        y, x = (int(v) for v in rng.integers(cell, size=2))
        labels = layout.repeat(cell, 0).repeat(cell, 1)[y : y + side, x : x + side]
        if rng.random() < RAGGED:
            labels = np.where(_blobs(side, rng), -1, labels)
        shares = np.bincount(labels[labels >= 0], minlength=len(TISSUES)) / labels.size
        if shares.sum() >= LEAST_TISSUE:
            canvas = _paste(bank, layout, rng)[y : y + side, x : x + side]
            canvas[labels < 0] = np.clip(GLASS + rng.normal(0, 5) + rng.normal(0, 2, 3), 0, 255)
            return scaled(canvas, field), (shares / shares.sum()).astype(np.float32)


def _blobs(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Irregular glass over up to two thirds of a field, as at the edge of a section and in its clefts."""
    noise = cv2.resize(rng.random((6, 6)), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(noise < np.quantile(noise, rng.uniform(0.05, 0.67)), np.bool_)


def mirrored(patch: Image, side: int, first: int) -> Image:
    """One patch reflected at its own edges until it fills a field: what a patch alone says."""
    return np.asarray(np.pad(patch, ((first, side), (first, side), (0, 0)), mode="symmetric")[:side, :side], np.uint8)


def scaled(canvas: Image, field: Field) -> Image:
    """A canvas at the fine scale as a tile."""
    if canvas.shape[0] == field.px:
        return np.ascontiguousarray(canvas)
    return np.asarray(cv2.resize(canvas, (field.px, field.px), interpolation=cv2.INTER_AREA), np.uint8)


def _turned(patch: Image, rng: np.random.Generator) -> Image:
    turned = np.rot90(patch, int(rng.integers(4)))
    return turned[:, ::-1] if rng.random() < 0.5 else turned


def _pure(cells: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """One class throughout, at times with a border of glass."""
    layout = np.full((cells, cells), rng.integers(len(TISSUES)), np.int16)
    if rng.random() < 0.25:
        layout[: rng.integers(1, cells // 2 + 1)] = -1
    return np.rot90(layout, int(rng.integers(4)))


def _window(bank: Bank, cells: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """A window of a real map around a cell of a class drawn at random, so that rare classes are seen."""
    while True:
        tissue_map = bank.maps[rng.integers(len(bank.maps))]
        places = np.argwhere(tissue_map == rng.integers(len(TISSUES)))
        if len(places):
            break
    row, col = places[rng.integers(len(places))] - rng.integers(cells, size=2)
    layout = np.full((cells, cells), -1, np.int16)
    part = tissue_map[max(0, row) : max(0, row + cells), max(0, col) : max(0, col + cells)]
    layout[max(0, -row) : max(0, -row) + part.shape[0], max(0, -col) : max(0, -col) + part.shape[1]] = part
    return layout


def _paste(bank: Bank, layout: NDArray[np.int16], rng: np.random.Generator) -> Image:
    cell = bank.field.cell
    canvas = np.full((len(layout) * cell, len(layout) * cell, 3), GLASS, np.uint8)
    for row, col in np.argwhere(layout >= 0):
        patches = bank.patches[layout[row, col]]
        patch = _turned(patches[rng.integers(len(patches))], rng)
        canvas[row * cell : (row + 1) * cell, col * cell : (col + 1) * cell] = patch
    return canvas


def augment(tile: Image, rng: np.random.Generator) -> Image:
    """Another stain and lamp, and at times another focus and compression."""
    if rng.random() < 0.85:
        tile = restained(tile, *_another_stain(rng))
    if rng.random() < 0.3:
        tile = np.asarray(cv2.GaussianBlur(tile, (0, 0), rng.uniform(0.3, 1.2)), np.uint8)
    if rng.random() < 0.2:
        soft = cv2.GaussianBlur(tile, (0, 0), 1.0)
        tile = np.asarray(cv2.addWeighted(tile, 1.6, soft, -0.6, 0), np.uint8)
    if rng.random() < 0.5:
        _, jpeg = cv2.imencode(".jpg", tile, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])
        tile = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return tile


def restained(tile: Image, change: NDArray[np.float64], lamp: NDArray[np.float64]) -> Image:
    """Change the optical density of each colour by a matrix [3, 3], and the light of the lamp by factors [3]."""
    density = -np.log(np.maximum(tile.astype(np.float32), 1) / 255).reshape(-1, 3)
    light = 255 * np.exp(-np.maximum(density @ change.astype(np.float32), 0)) * lamp.astype(np.float32)
    return np.asarray(np.clip(light.reshape(tile.shape), 0, 255), np.uint8)


def _another_stain(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Jitter of each stain (HED jitter, Tellez et al., 2019, arXiv:1902.06543) and of the hue of all of them.

    Laboratories differ more than the patches do: eosin from magenta to brick red, sections pale and dark.
    """
    stains = np.linalg.inv(HED) @ np.diag(np.exp(rng.normal(0, 0.2, 3))) @ HED
    colours = np.diag(np.exp(rng.normal([0, 0, 0.1], [0.25, 0.15, 0.35])) * np.exp(rng.normal(0, 0.2)))
    return stains @ colours, 1 + rng.normal(0, 0.02) + rng.normal(0, 0.012, 3)


SHIFTS = {
    "redder": np.diag([0.8, 1.0, 1.5]),
    "bluer": np.diag([1.3, 1.0, 0.75]),
    "paler": np.diag([0.65, 0.65, 0.65]),
    "darker": np.diag([1.4, 1.4, 1.4]),
}
"""Fixed changes of optical density, for a look at how far the figures fall under another stain."""

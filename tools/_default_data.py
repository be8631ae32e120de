"""The patches that the default encoder is trained and judged on, their split, and how training varies them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from foundation.tissue import TISSUES
from tools._default_split import Part, part_of
from tools.tissue_mosaics import HED, restained

Image = NDArray[np.uint8]
PATCH = 150
PX = 128
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})


@dataclass(frozen=True)
class Patches:
    """Patches of known tissue."""

    images: Image
    """[N, side, side, 3], RGB; 150 px as they are read."""
    labels: NDArray[np.int64]
    """[N], places in `TISSUES`."""
    places: NDArray[np.float64]
    """[N], where a patch stands in its class's row of file names, 0 to 1."""

    def __getitem__(self, rows: NDArray[np.bool_]) -> Patches:
        """The patches of some rows."""
        return Patches(self.images[rows], self.labels[rows], self.places[rows])

    def part(self, *parts: Part) -> Patches:
        """The patches of some parts of the split: contiguous blocks of file numbers, neighbours stay together.

        Args:
            parts: Which.

        Returns:
            Their patches.
        """
        return self[np.array([part_of(place) in parts for place in self.places], np.bool_)]


def load_patches(folder: Path) -> Patches:
    """Read a folder of patches, `<tissue>/<name>.jpg`, or another kind of image.

    Args:
        folder: The folder; names of folders that are none of `TISSUES` are not looked at.

    Returns:
        All its patches, by tissue and name; of other shapes the middle square, of other sizes brought to 150 px.

    Raises:
        ValueError: If there is none, or one cannot be read.
    """
    images, labels, places = [], [], []
    for label, tissue in enumerate(TISSUES):
        paths = sorted(path for path in (folder / tissue).glob("*") if path.suffix.lower() in SUFFIXES)
        for place, path in enumerate(paths):
            image = cv2.imread(str(path))
            if image is None:
                raise ValueError(f"A patch of {tissue} cannot be read.")
            images.append(resized(_middle(np.asarray(image[:, :, ::-1], np.uint8)), PATCH))
            labels.append(label)
            places.append(place / len(paths))
    if not images:
        raise ValueError("The folder holds no patches: <tissue>/<name>.jpg is expected.")
    return Patches(np.stack(images), np.array(labels), np.array(places))


def _middle(image: Image) -> Image:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def resized(image: Image, side: int) -> Image:
    """A square image at another size."""
    if image.shape[:2] == (side, side):
        return image
    shrinks = image.shape[0] > side
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side, side), interpolation=kind), np.uint8)


def varied(bank: Patches, label: int, first: int, rng: np.random.Generator) -> Image:
    """One view of a patch: other place, turn and scale, other stain and lamp, other focus and compression.

    Args:
        bank: Patches of one split, whose others of the same tissue fill wide views.
        label: The tissue.
        first: Row of the patch.
        rng: Chance.

    Returns:
        [128, 128, 3]; between 0.19 and 0.9 um/px.
    """
    patch = bank.images[first]
    wide = rng.random() < 0.15
    canvas = _quilt(bank, label, patch, int(rng.integers(2, 4)), rng) if wide else patch
    share = rng.uniform(0.7, 1.0) if wide else np.exp(rng.uniform(np.log(0.65), np.log(1.08)))
    view = _placed(canvas, share * canvas.shape[0], rng)
    view = restained(view, *_stain(rng)) if rng.random() < 0.8 else view
    if rng.random() < 0.25:
        view = np.asarray(cv2.GaussianBlur(view, (0, 0), rng.uniform(0.3, 1.2)), np.uint8)
    elif rng.random() < 0.2:
        view = np.asarray(cv2.addWeighted(view, 1.6, cv2.GaussianBlur(view, (0, 0), 1.0), -0.6, 0), np.uint8)
    if rng.random() < 0.3:
        _, jpeg = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])
        view = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return view


def _quilt(bank: Patches, label: int, patch: Image, cells: int, rng: np.random.Generator) -> Image:
    """A wider field of one tissue: the patch among others of its class, each turned."""
    rows = rng.choice(np.flatnonzero(bank.labels == label), cells * cells)
    turned = [np.rot90(bank.images[row], int(rng.integers(4))) for row in rows]
    turned[int(rng.integers(len(turned)))] = patch
    return np.concatenate([np.concatenate(turned[i * cells : (i + 1) * cells], 1) for i in range(cells)])


def _placed(canvas: Image, side: float, rng: np.random.Generator) -> Image:
    """A square of a side somewhere on a canvas, turned, mirrored and a little stretched, as 128 px."""
    if side > 1.7 * PX:  # halved first, so that bilinear reading does not skip pixels
        canvas, side = resized(canvas, canvas.shape[0] // 2), side / 2
    whole = canvas.shape[0]
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else np.pi / 2 * rng.integers(4)
    stretch = np.exp(rng.normal(0, 0.06))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([stretch * rng.choice([-1, 1]), 1 / stretch]) * (side / PX)
    slack = max(0.0, whole - side) / 2
    centre = whole / 2 - 0.5 + rng.uniform(-slack, slack, 2)
    shift = centre - linear @ np.full(2, PX / 2 - 0.5)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = np.column_stack([linear, shift])
    return np.asarray(cv2.warpAffine(canvas, matrix, (PX, PX), flags=flags, borderMode=cv2.BORDER_REFLECT_101))


def _stain(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Another stain and lamp; one time in two a mild change, else one as between laboratories."""
    strength = 1.0 if rng.random() < 0.5 else 0.35
    stains = np.linalg.inv(HED) @ np.diag(np.exp(strength * rng.normal(0, 0.2, 3))) @ HED
    hue = np.exp(strength * rng.normal([0, 0, 0.05], [0.22, 0.15, 0.3]))
    colours = np.diag(hue * np.exp(strength * rng.normal(0, 0.2)))
    return stains @ colours, 1 + strength * (rng.normal(0, 0.03) + rng.normal(0, 0.012, 3))

"""Every row of the table feeds its network what its authors fed it, to the fifth digit.

`golden/preprocessing.json` holds, for each recipe, numbers of what the network sees of one fixed image; they come from
the definition below, in numpy, not from the product: `python tests/test_foundation_preprocessing.py` prints them. A row
whose side, crop, filter, mean or deviation changes is of another recipe, and its test fails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from foundation import ContractError, EncoderSpec, list_encoders
from foundation.torch_encoder import TorchEncoder

FILE = Path(__file__).parent / "golden" / "preprocessing.json"
ROWS = {spec.key: spec for spec in list_encoders()}
Floats = NDArray[np.float64]


def fixed_image(side: int) -> NDArray[np.uint8]:
    """Ramps, a product and squares, of whole numbers: no library draws it."""
    y, x = np.mgrid[:side, :side]
    colours = [(3 * x + y) % 256, (x * y // 16) % 256, 40 + 150 * ((x // 16 + y // 16) % 2)]
    return np.stack(colours, axis=-1).astype(np.uint8)


def weights_of(before: int, after: int, how: str) -> Floats:
    """What each old pixel gives to each new one [after, before]: a filter that widens as the image shrinks."""
    scale = max(before / after, 1.0)
    centres = (np.arange(after) + 0.5) * before / after
    away = np.abs((np.arange(before) + 0.5)[None, :] - centres[:, None]) / scale
    if how == "bilinear":
        found = np.maximum(1 - away, 0)
    else:  # Catmull and Rom's cubic, a = -1/2
        near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
        found = np.where(away < 1, near, np.where(away < 2, far, 0))
    return np.asarray(found / found.sum(axis=1, keepdims=True), np.float64)


def bytes_of(values: Floats) -> Floats:
    return np.clip(np.floor(values + 0.5), 0, 255)


def expected(spec: EncoderSpec) -> Floats:
    """The definition: resize rows, then columns, to whole numbers each; cut; (x / 255 - mean) / std. [3, px, px]."""
    image = fixed_image(spec.tile_px).astype(np.float64)
    if spec.resize and spec.resize != len(image):
        matrix = weights_of(len(image), spec.resize, spec.interpolation)
        image = bytes_of(matrix @ image)
        image = bytes_of(np.tensordot(matrix, image, axes=1))
    start = (len(image) - spec.px) // 2
    image = image[start : start + spec.px, start : start + spec.px]
    return np.asarray(((image / 255 - spec.mean) / spec.std).transpose(2, 0, 1), np.float64)


def numbers(seen: Floats) -> list[float]:
    """Mean and deviation of each colour, and four pixels: enough that no two recipes agree."""
    places = [(0, 0), (5, 77), (100, 31), (seen.shape[1] - 1, seen.shape[2] - 2)]
    found = [*seen.mean(axis=(1, 2)), *seen.std(axis=(1, 2)), *(seen[:, y, x] for y, x in places)]
    return [round(float(number), 5) for number in np.hstack(found)]


def golden() -> dict[str, Any]:
    recipes = {spec.preprocessing_digest: spec for spec in ROWS.values()}
    return {
        "recipes": {digest[:12]: [spec.px, *numbers(expected(spec))] for digest, spec in sorted(recipes.items())},
        "rows": {key: spec.preprocessing_digest[:12] for key, spec in ROWS.items()},
    }


def network_input(spec: EncoderSpec) -> Floats:
    tiles = fixed_image(spec.tile_px)[None]
    return TorchEncoder(spec, nn.Identity(), "").network_input(tiles)[0].numpy().astype(np.float64)


@pytest.mark.parametrize("key", ROWS)
def test_the_network_sees_what_the_golden_numbers_say(key: str) -> None:
    spec, kept = ROWS[key], json.loads(FILE.read_text())
    assert kept["rows"][key] == spec.preprocessing_digest[:12]
    px, *stated = kept["recipes"][kept["rows"][key]]
    seen = network_input(spec)
    assert seen.shape == (3, px, px)
    slack = 0.02 if spec.resize not in {None, spec.tile_px} else 2e-5  # one of 255 shades, where pixels were resampled
    assert np.abs(np.array(numbers(seen)) - stated).max() < slack


@pytest.mark.parametrize("key", {spec.preprocessing_digest: key for key, spec in ROWS.items()}.values())
def test_the_network_sees_what_the_definition_says(key: str) -> None:
    spec = ROWS[key]
    away = np.abs(network_input(spec) - expected(spec)) * 255 * np.array(spec.std)[:, None, None]
    assert away.max() < (2.01 if spec.resize not in {None, spec.tile_px} else 0.001)  # in shades of 255: two roundings
    assert away.mean() < 0.02


def test_no_row_is_without_golden_numbers() -> None:
    assert json.loads(FILE.read_text())["rows"].keys() == ROWS.keys()


@pytest.mark.parametrize("key", ["gigapath", "conch_v1_5"])
def test_a_tile_of_the_network_s_own_side_is_not_the_tile_that_is_wanted(key: str) -> None:
    spec = ROWS[key]
    assert spec.tile_px > spec.px
    with pytest.raises(ContractError, match=f"{spec.tile_px} x {spec.tile_px}"):
        TorchEncoder(spec, nn.Identity(), "").network_input(fixed_image(spec.px)[None])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(golden(), indent=1) + "\n")

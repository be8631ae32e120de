"""The conformance kit of encoders, and small real things to test with.

    class TestMyEncoder(EncoderConformance):
        def make(self) -> Encoder:
            return load_encoder("my-encoder", weights)

Each test is a defect found in a published toolkit: features that change with the number of cores or with the company a
tile is in, pixels of another size taken without a word.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation import embeddings as layout
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder
from foundation.errors import ContractError
from tiling.commit import staged
from tiling.fingerprint import fingerprint

HEX_DIGITS = 64


class EncoderConformance:
    """What every encoder must satisfy."""

    count: int = 3
    """Tiles in a test batch."""
    tolerance: float = 1e-4
    """Largest difference, of the largest feature, that the company of other tiles may make."""

    def make(self) -> Encoder:
        """Load the encoder under test; called once for each test.

        Returns:
            The encoder.

        Raises:
            NotImplementedError: Until a subclass says how.
        """
        raise NotImplementedError

    def tiles(self, encoder: Encoder) -> NDArray[np.uint8]:
        """Draw test tiles.

        Args:
            encoder: Says how large they are.

        Returns:
            [count, tile_px, tile_px, 3].
        """
        side = encoder.spec.tile_px
        coarse = np.random.default_rng(5).integers(0, 256, (self.count, 8, 8, 3), np.uint8)
        return np.ascontiguousarray(coarse.repeat(-(-side // 8), 1).repeat(-(-side // 8), 2)[:, :side, :side])

    def test_shape_and_kind(self) -> None:
        """One finite float32 row a tile, as wide as stated, and different tiles differ."""
        encoder = self.make()
        features = encoder.encode(self.tiles(encoder))
        np.testing.assert_equal(
            (features.shape, features.dtype), ((self.count, encoder.spec.dim), np.dtype(np.float32))
        )
        np.testing.assert_equal(bool(np.isfinite(features).all()), desired=True)
        np.testing.assert_array_less(0, features.std(axis=0).max())

    def test_the_same_bits_on_any_number_of_threads(self) -> None:
        """Calls from one thread and from three at once agree bit for bit."""
        encoder = self.make()
        tiles = self.tiles(encoder)
        alone = encoder.encode(tiles)
        with ThreadPoolExecutor(3) as pool:
            for together in pool.map(encoder.encode, [tiles] * 6):
                np.testing.assert_array_equal(together, alone)

    def test_a_tile_does_not_depend_on_its_company(self) -> None:
        """A tile alone, and in a batch turned round, has the same features but for rounding."""
        encoder = self.make()
        tiles = self.tiles(encoder)
        whole = encoder.encode(tiles)
        close = self.tolerance * float(np.abs(whole).max())
        np.testing.assert_allclose(encoder.encode(tiles[:1]), whole[:1], rtol=0, atol=close)
        np.testing.assert_allclose(encoder.encode(tiles[::-1])[::-1], whole, rtol=0, atol=close)

    def test_other_tiles_are_refused(self) -> None:
        """Another size, a lone tile or one colour is a typed error, never resized in silence."""
        encoder = self.make()
        tiles = self.tiles(encoder)
        for wrong in (tiles[:, 1:], tiles[0], tiles[..., :1]):
            with np.testing.assert_raises(ContractError):
                encoder.encode(wrong)

    def test_digests_name_weights_and_preprocessing(self) -> None:
        """Both are SHA-256."""
        encoder = self.make()
        for digest in (encoder.weights_digest, encoder.preprocessing_digest):
            np.testing.assert_equal(len(digest), HEX_DIGITS)
            int(digest, 16)


def made_tensor(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Numbers that are the same on every machine and for ever: they come of whole numbers, not of a generator.

    Args:
        name: Other names give other numbers.
        shape: Of the tensor.

    Returns:
        Numbers of -0.3 to 0.3; of 0.2 to 0.8 where the name says that they are variances.
    """
    count = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()))
    spread = (count * np.uint64(2654435761) % np.uint64(2**32)).astype(
        np.float64
    ) / 2**32  # golden ratio: evenly spread
    half = 0.5 if name.endswith("running_var") else 0.0
    return np.asarray((spread - 0.5) * 0.6 + half, np.float32).reshape(tuple(shape))


TINY_TIMM = "timm:test_vit"
"""A vision transformer of timm of 0.4 million weights, 160 px."""
TINY_PAIR = "open_clip:tiny"


def write_tiny_timm(path: Path, seed: int = 0) -> Path:
    """Write random weights for `TINY_TIMM`, classifier included.

    Args:
        path: A file to be, ending in .safetensors.
        seed: Same seed, same weights.

    Returns:
        `path`.
    """
    import torch
    from safetensors.torch import save_file

    from foundation.torchvision_shim import import_beside

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = import_beside("timm").create_model(TINY_TIMM.partition(":")[2], pretrained=False)
    save_file(model.state_dict(), path)
    return path


def write_tiny_pair(folder: Path, seed: int = 0) -> Path:
    """Write a small image-text pair of open_clip with random weights, the way open_clip keeps one in a folder.

    Args:
        folder: Made if it is not there.
        seed: Same seed, same weights.

    Returns:
        `folder`, for `load_encoder(TINY_PAIR, folder)`.
    """
    import torch
    from safetensors.torch import save_file

    from foundation.torchvision_shim import import_beside

    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"model_cfg": {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = import_beside("open_clip").create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def write_embeddings(
    out: Path,
    features: Mapping[float, NDArray[np.floating[Any]]],
    encoder: Mapping[str, Any],
    columns: int = 10,
    content: str = "0" * HEX_DIGITS,
) -> Embeddings:
    """Write embeddings of a slide that never was: tiles of 224 px side by side on a slide of 0.25 um/px.

    Args:
        out: The folder in which the store appears.
        features: [N, D] of each zoom.
        encoder: At least `key`, `family`, `weights_digest` and `preprocessing_digest`.
        columns: Tiles in a row.
        content: Hash of the slide's content.

    Returns:
        The embeddings; every tile is all tissue.
    """
    tiles = {f"{mpp}": np.asarray(rows, float).tolist() for mpp, rows in features.items()}
    name = fingerprint(tiles=tiles, content=content)
    final = out / f"{name}.embeddings.zarr"
    zooms = [
        {"mpp": mpp, "px": 224, "overlap": 0, "tiles": len(rows), "extent": [896 * mpp, 896 * mpp]}
        for mpp, rows in sorted(features.items())
    ]
    about = {
        "encoder": dict(encoder),
        "slide": {"content_hash": content, "mpp": [0.25, 0.25]},
        "tiles_fingerprint": "1" * HEX_DIGITS,
        "zooms": zooms,
        "provenance": {"tiles": {}, "overridden": []},
    }
    with staged(final, kind=layout.KIND, fingerprint=name) as folder:
        layout.write_header(folder, about)
        for mpp, rows in features.items():
            place = np.stack([np.arange(len(rows)) % columns, np.arange(len(rows)) // columns], axis=1)
            arrays: dict[str, NDArray[Any]] = {
                "features": np.asarray(rows, np.float16),
                "coords": (place * round(896 * mpp)).astype(np.int64),
                "tissue": np.ones(len(rows), np.float32),
                "parent": np.full(len(rows), -1, np.int64),
            }
            layout.write_zoom(folder, mpp, arrays)
    return Embeddings.open(final)

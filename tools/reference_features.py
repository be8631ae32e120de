"""What the library transformers makes of small made-up networks, for the tests of our own towers.

    pip install transformers==5.24.0
    python tools/reference_features.py > tests/golden/transformers.json

Our towers take the checkpoints of transformers without that library (docs/decisions/0005-dependencies.md), so what they
compute is held against it once, here, and not at every test. Each case states the tensors of its checkpoint, which
`foundation.testing.made_tensor` makes of their names, and the features of one made-up image or of two texts.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from foundation.testing import made_tensor
from foundation.torchvision_shim import import_beside

Untyped = Any
"""Of the library, which states no types that we could use."""
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
IMAGE = {"image_size": 32, "patch_size": 8}
PATCHES = 16
INNER = {"intermediate_size": 64}
CLIP_TEXT = {**SHAPE, **INNER, "vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 2}
WORDS = [[49406, 320, 786, 2048, 49407] + [0] * 72, [49406, 5, 49407] + [0] * 74]
PIECES = [[2, 17, 18, 19, 3, 0, 0, 0], [2, 40, 41, 42, 43, 44, 45, 3]]


def main() -> None:
    """Print the cases as one JSON document."""
    import_beside("timm")  # transformers imports torchvision too
    library: Untyped = importlib.import_module("transformers")
    grown = {**IMAGE, "image_size": 64}
    cases = {
        "hf-vit": _images(library.ViTModel, library.ViTConfig(**SHAPE, **INNER, **IMAGE)),
        "hf-dinov2": _images(library.Dinov2Model, library.Dinov2Config(**SHAPE, **IMAGE)),
        "hf-dinov2, SwiGLU": _images(library.Dinov2Model, library.Dinov2Config(**SHAPE, **IMAGE, use_swiglu_ffn=True)),
        "hf-dinov2, larger grid": _images(library.Dinov2Model, library.Dinov2Config(**SHAPE, **grown)),
        "hf-dinov2, registers": _images(
            library.Dinov2WithRegistersModel, library.Dinov2WithRegistersConfig(**SHAPE, **IMAGE, use_swiglu_ffn=True)
        ),
        "hf-clip": _pair(library),
        "bert": _texts(library),
    }
    print(json.dumps({"transformers": library.__version__, "cases": cases}))


def _made(kind: Untyped, config: Untyped) -> tuple[Any, dict[str, list[int]]]:
    """A network whose tensors are made of the names that they have in a file."""
    with tempfile.TemporaryDirectory() as folder:
        kind(config).save_pretrained(folder)
        path = Path(folder) / "model.safetensors"
        shapes = {name: list(tensor.shape) for name, tensor in load_file(path).items()}
        made = {name: torch.from_numpy(made_tensor(name, shape)) for name, shape in shapes.items()}
        save_file(made, path, metadata={"format": "pt"})
        return kind.from_pretrained(folder).eval(), shapes


def _numbers(features: Tensor) -> list[list[float]]:
    return [[round(float(number), 6) for number in row] for row in features.detach()]


def _image() -> Tensor:
    return torch.from_numpy(made_tensor("image", (1, 3, 32, 32)))


def _images(kind: Untyped, config: Untyped) -> dict[str, Any]:
    network, shapes = _made(kind, config)
    tokens = network(pixel_values=_image()).last_hidden_state
    features = torch.cat([tokens[:, 0], tokens[:, -PATCHES:].mean(dim=1)], dim=-1)
    return {"shapes": shapes, "features": _numbers(features)}


def _pair(library: Untyped) -> dict[str, Any]:
    vision = {**SHAPE, **INNER, **IMAGE}
    network, shapes = _made(
        library.CLIPModel, library.CLIPConfig(text_config=CLIP_TEXT, vision_config=vision, projection_dim=16)
    )
    seen = network.vision_model(pixel_values=_image()).pooler_output
    read = network.text_model(input_ids=torch.tensor(WORDS)).pooler_output
    images, texts = network.visual_projection(seen), network.text_projection(read)
    return {"shapes": shapes, "words": WORDS, "images": _numbers(images), "texts": _numbers(texts)}


def _texts(library: Untyped) -> dict[str, Any]:
    network, shapes = _made(library.BertModel, library.BertConfig(**SHAPE, **INNER, vocab_size=100))
    words = torch.tensor(PIECES)
    found = network(input_ids=words, attention_mask=(words != 0).long())
    return {
        "shapes": shapes,
        "words": PIECES,
        "first": _numbers(found.last_hidden_state[:, 0]),
        "pooled": _numbers(found.pooler_output),
    }


if __name__ == "__main__":
    main()

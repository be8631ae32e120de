"""Train a tiny image-text pair of open_clip on captions that are made of class names, and print how well it knows them.

    python -m tools.train_tiny_pair --data ../shared/data --out FOLDER

It proves the path of words end to end with a real, if small, pair: both towers, projection and temperature are
open_clip's own, and `load_encoder("open_clip:tiny", FOLDER)` takes what is written. It is no foundation model: it knows
the twelve tissues of its captions.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from foundation.prompts import contrast_set, vocabulary_words
from foundation.tissue import TISSUES
from foundation.torchvision_shim import import_beside
from tools.tissue_bank import split_of

Images = NDArray[np.uint8]
HOTTEST = math.log(100)
"""Of the temperature, as in CLIP."""


@dataclass(frozen=True)
class Recipe:
    """What is trained and how."""

    px: int = 64
    """Side of an image: a patch of 150 px at a little over half its resolution."""
    layers: tuple[int, int, int, int] = (1, 1, 1, 1)
    width: int = 16
    """Of the residual network that sees."""
    text_width: int = 64
    dim: int = 64
    """Of the space that both towers share."""
    steps: int = 500
    batch: int = 64
    wordings: int = 4
    """Captions of each class in a batch."""
    rate: float = 2e-3
    seed: int = 0


@dataclass(frozen=True)
class Captions:
    """What images of each class are called."""

    words: tuple[tuple[str, ...], ...]
    """Of each class."""
    templates: tuple[str, ...]

    def of(self, label: int) -> list[str]:
        """Every caption of a class."""
        return [template.replace("{}", word) for word in self.words[label] for template in self.templates]


def main() -> None:
    """Train on the patches of the training split, write the pair, print its accuracy on the test split."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--data", type=Path, required=True, help="folder with patches/")
    cli.add_argument("--out", type=Path, required=True, help="folder of the pair, made where missing")
    arguments = cli.parse_args()
    begin = time.perf_counter()
    words = vocabulary_words()
    captions = Captions(tuple(tuple(words[name]) for name in TISSUES), contrast_set().templates)
    recipe = Recipe()
    train, test = (load_patches(arguments.data, split, recipe.px) for split in ("train", "test"))
    model = trained(train, captions, recipe)
    write_pair(model, config_of(recipe), arguments.out)
    found = guesses(model, test[0], captions)
    accuracy = balanced_accuracy(test[1], found, len(TISSUES))
    figures = {"balanced_accuracy": accuracy, "images": len(found), "seconds": time.perf_counter() - begin}
    print(json.dumps(figures, indent=1))


def load_patches(data: Path, split: str, px: int) -> tuple[Images, NDArray[np.int64]]:
    """Patches of one split, made small.

    Args:
        data: Holds `patches/<tissue>/*.jpg`.
        split: `train`, `validation` or `test`, by hash of the file's name; no slide is known.
        px: Side to be.

    Returns:
        Images [N, px, px, 3] and the class of each [N].
    """
    images, labels = [], []
    for label, name in enumerate(TISSUES):
        for path in sorted((data / "patches" / name).glob("*.jpg")):
            if split_of(path.name) == split:
                image = cv2.cvtColor(np.asarray(cv2.imread(str(path)), np.uint8), cv2.COLOR_BGR2RGB)
                images.append(cv2.resize(image, (px, px), interpolation=cv2.INTER_AREA))
                labels.append(label)
    return np.stack(images).astype(np.uint8), np.array(labels)


def config_of(recipe: Recipe) -> dict[str, Any]:
    """What open_clip builds the pair from.

    Args:
        recipe: Its sizes.

    Returns:
        The content of `open_clip_config.json`.
    """
    vision = {"image_size": recipe.px, "layers": list(recipe.layers), "width": recipe.width, "head_width": 32}
    text = {"context_length": 24, "vocab_size": 49408, "width": recipe.text_width, "heads": 2, "layers": 1}
    return {"model_cfg": {"embed_dim": recipe.dim, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}


def trained(data: tuple[Images, NDArray[np.int64]], captions: Captions, recipe: Recipe) -> nn.Module:
    """Train a pair; the same arguments and threads give the same pair.

    Args:
        data: Images [N, px, px, 3] and the class of each [N].
        captions: Of the classes.
        recipe: How.

    Returns:
        The pair, ready to be asked.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        library = import_beside("open_clip.model")
        sizes = config_of(recipe)["model_cfg"]
        model: Any = library.CLIP(sizes["embed_dim"], sizes["vision_cfg"], sizes["text_cfg"]).train()
        tokens = [tokenizer()(captions.of(label)) for label in range(len(captions.words))]
        optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps)
        for images, labels, texts, classes in _batches(data, tokens, recipe):
            loss = _loss(model, images, texts, labels[:, None] == classes[None])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            model.logit_scale.data.clamp_(max=HOTTEST)
    return model.eval()  # type: ignore[no-any-return]


def _loss(model: Any, images: Tensor, texts: Tensor, same: Tensor) -> Tensor:  # noqa: ANN401 - open_clip ships no types
    """CLIP's loss where several captions are right (as in UniCL, Yang et al., CVPR 2022, arXiv:2204.03610)."""
    seen, read = (normalize(side, dim=-1) for side in (model.encode_image(images), model.encode_text(texts)))
    logits = model.logit_scale.exp() * seen @ read.T  # [B, T]
    right = same.float()
    by_image = -(log_softmax(logits, dim=1) * right).sum(dim=1) / right.sum(dim=1)
    found = right.sum(dim=0).clamp(min=1)
    by_text = -(log_softmax(logits, dim=0) * right).sum(dim=0) / found
    return by_image.mean() + by_text.mean()


def _batches(
    data: tuple[Images, NDArray[np.int64]], tokens: Sequence[Tensor], recipe: Recipe
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Images [B, 3, px, px] with classes [B], captions [T, context] with classes [T]; classes are drawn evenly."""
    images, labels = data
    rng = np.random.default_rng(recipe.seed)
    places = [np.flatnonzero(labels == label) for label in range(len(tokens))]
    present = [label for label, at in enumerate(places) if len(at)]
    for _ in range(recipe.steps):
        drawn = rng.choice(present, recipe.batch)
        chosen = np.array([rng.choice(places[label]) for label in drawn])
        texts = [tokens[label][rng.integers(len(tokens[label]), size=recipe.wordings)] for label in present]
        classes = torch.tensor(present).repeat_interleave(recipe.wordings)
        yield as_input(_turned(images[chosen], rng)), torch.from_numpy(labels[chosen]), torch.cat(texts), classes


def _turned(images: Images, rng: np.random.Generator) -> Images:
    """Turned, mirrored, and a little brighter or darker in each colour."""
    turned = np.rot90(images, int(rng.integers(4)), axes=(1, 2))[:, :, :: int(rng.choice([1, -1]))]
    shades = rng.uniform(0.85, 1.1, (len(images), 1, 1, 3)).astype(np.float32)
    return np.asarray(np.clip(turned * shades, 0, 255), np.uint8)


def as_input(images: Images) -> Tensor:
    """Images as open_clip normalises them.

    Args:
        images: [B, px, px, 3].

    Returns:
        [B, 3, px, px].
    """
    constants = import_beside("open_clip.constants")
    mean, std = (torch.tensor(numbers) for numbers in (constants.OPENAI_DATASET_MEAN, constants.OPENAI_DATASET_STD))
    return ((torch.from_numpy(images.copy()).float() / 255 - mean) / std).permute(0, 3, 1, 2)


def tokenizer() -> Any:  # noqa: ANN401 - open_clip ships no types
    """The one that belongs to the text tower.

    Returns:
        Texts to numbers [T, context].
    """
    return import_beside("open_clip.tokenizer").SimpleTokenizer(context_length=24)


def guesses(model: nn.Module, images: Images, captions: Captions) -> NDArray[np.int64]:
    """Which class each image is, by the words alone.

    Args:
        model: The pair.
        images: [N, px, px, 3].
        captions: Of the classes that are possible.

    Returns:
        Places among `captions.words` [N].
    """
    pair: Any = model
    with torch.inference_mode():
        classes = [
            normalize(normalize(pair.encode_text(tokenizer()(captions.of(label))), dim=-1).mean(dim=0), dim=-1)
            for label in range(len(captions.words))
        ]
        seen = [pair.encode_image(as_input(images[first : first + 256])) for first in range(0, len(images), 256)]
    return np.asarray((torch.cat(seen) @ torch.stack(classes).T).argmax(dim=1).numpy(), np.int64)


def balanced_accuracy(truth: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> float:
    """Mean over classes of the share that is found.

    Args:
        truth: Class of each image [N].
        found: What it was taken for [N].
        classes: How many there are; those without an image do not count.

    Returns:
        0 to 1.
    """
    hits = [float((found[truth == label] == label).mean()) for label in range(classes) if (truth == label).any()]
    return float(np.mean(hits))


def write_pair(model: nn.Module, config: Mapping[str, Any], folder: Path) -> Path:
    """Write a pair the way open_clip keeps one.

    Args:
        model: The pair.
        config: From `config_of`.
        folder: Made where missing.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


if __name__ == "__main__":
    main()

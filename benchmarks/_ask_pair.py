"""How well a tiny pair that was trained here understands words that it never read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.prompts import contrast_set, vocabulary_words
from foundation.tissue import TISSUES
from tools.train_tiny_pair import Captions, Recipe, balanced_accuracy, guesses, load_patches, trained

FOLDS = 4
"""Of three classes each, held out in turn."""
DRAWS = 1000
Data = tuple[NDArray[np.uint8], NDArray[np.int64]]


def zero_shot(data: Path, recipe: Recipe) -> dict[str, Any]:
    """Balanced accuracy with templates, synonyms and classes held out, on patches of the test split."""
    train, test = (load_patches(data, split, recipe.px) for split in ("train", "test"))
    words, templates = vocabulary_words(), contrast_set().templates
    known = tuple(tuple(term for k, term in enumerate(words[name]) if k % 3 != 2) for name in TISSUES)
    unread = tuple(tuple(term for k, term in enumerate(words[name]) if k % 3 == 2) for name in TISSUES)
    said = tuple(template for k, template in enumerate(templates) if k % 3 != 1)
    unsaid = tuple(template for k, template in enumerate(templates) if k % 3 == 1)
    model = trained(train, Captions(known, said), recipe)

    def judged(captions: Captions) -> dict[str, Any]:
        return figures(test[1], guesses(model, test[0], captions), len(TISSUES))

    return {
        "as_trained": judged(Captions(known, said)),
        "templates_held_out": judged(Captions(known, unsaid)),
        "synonyms_held_out": judged(Captions(unread, said)),
        "classes_held_out": classes_held_out(train, test, recipe),
        "synonyms": {name: list(terms) for name, terms in zip(TISSUES, unread, strict=True)},
        "templates": list(unsaid),
    }


def classes_held_out(train: Data, test: Data, recipe: Recipe) -> dict[str, Any]:
    """Three classes at a time whose images and words training never saw, told apart by their words."""
    words, templates = vocabulary_words(), contrast_set().templates
    folds, truths, founds = [], [], []
    for fold in range(FOLDS):
        away = list(range(fold, len(TISSUES), FOLDS))
        seen = [label for label in range(len(TISSUES)) if label not in away]
        captions = Captions(tuple(tuple(words[TISSUES[k]]) for k in seen), templates)
        model = trained(_only(train, seen), captions, replace(recipe, steps=recipe.steps // 2, seed=fold))
        images, labels = _only(test, away)
        found = guesses(model, images, Captions(tuple(tuple(words[TISSUES[k]]) for k in away), templates))
        folds.append({"classes": [TISSUES[k] for k in away]} | figures(labels, found, len(away)))
        truths.append(labels + 3 * fold)
        founds.append(found + 3 * fold)
    whole = figures(np.concatenate(truths), np.concatenate(founds), len(TISSUES))
    return whole | {"chance": round(1 / 3, 4), "folds": folds}


def _only(data: Data, labels: list[int]) -> Data:
    """Images of some classes, numbered anew."""
    images, given = data
    kept = np.isin(given, labels)
    return images[kept], np.searchsorted(labels, given[kept])


def figures(truth: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> dict[str, Any]:
    """Balanced accuracy with a 95 % interval of images drawn anew within each class."""
    rng = np.random.default_rng(0)
    hits = [found[truth == label] == label for label in range(classes)]
    drawn = [np.mean([rng.choice(hit, len(hit)).mean() for hit in hits]) for _ in range(DRAWS)]
    low, high = (round(float(value), 4) for value in np.quantile(drawn, [0.025, 0.975]))
    accuracy = round(balanced_accuracy(truth, found, classes), 4)
    return {
        "balanced_accuracy": accuracy,
        "interval": [low, high],
        "images": len(truth),
        "chance": round(1 / classes, 4),
    }

"""A tiny pair, trained here on drawn images, is asked end to end: words that it never read find what they mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from foundation import Embeddings, Examples, Question, TextEncoder, ask, load_encoder, read_prompt_set
from foundation.testing import TINY_PAIR, write_embeddings
from tools.train_tiny_pair import Captions, Recipe, balanced_accuracy, config_of, guesses, trained, write_pair

RECIPE = Recipe(px=32, width=8, text_width=32, dim=32, steps=60, batch=24, wordings=3, rate=5e-3)
WORDS = (("adipose tissue", "fat"), ("lymphocytes", "immune cells"), ("stroma", "collagen fibres"))
TRAINED, HELD_OUT = ("a picture of {}.", "{}", "tissue with {}"), ("an image showing {} here",)

GROUND = ((240, 240, 240), (225, 200, 220), (235, 170, 200))
INK = ((220, 150, 190), (80, 40, 120), (200, 110, 160))


def drawn(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """White cells in thin walls, dark round nuclei, pink fibres: [count, 32, 32, 3] and the class of each."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    y, x = np.mgrid[:32, :32]
    images = np.empty((count, 32, 32, 3), np.float64)
    for k, label in enumerate(labels):
        phase, period = rng.uniform(0, 9), rng.uniform(6, 10)
        across = np.sin((x + phase) * 2 * np.pi / period)
        dots = across * np.sin((y + phase) * 2 * np.pi / period)
        walls, nuclei, fibres = across > 0.9, dots > 0.3, np.sin((x + y) * 2 * np.pi / period) > 0
        ground, ink = (
            ((240,) * 3, (220, 150, 190)),
            ((225, 200, 220), (80, 40, 120)),
            ((235, 170, 200), (200, 110, 160)),
        )[label]
        images[k] = np.where((walls, nuclei, fibres)[label][..., None], ink, ground)
    return np.clip(images + rng.normal(0, 8, images.shape), 0, 255).astype(np.uint8), labels.astype(np.int64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = trained(drawn(240, 0), Captions(WORDS, TRAINED), RECIPE)
    images, labels = drawn(90, 1)
    found = guesses(model, images, Captions(WORDS, HELD_OUT))
    assert balanced_accuracy(labels, found, 3) > 0.9
    return write_pair(model, config_of(RECIPE), tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def pair(folder: Path) -> TextEncoder:
    encoder = load_encoder(TINY_PAIR, folder)
    assert isinstance(encoder, TextEncoder)
    return encoder


@pytest.fixture(scope="module")
def slide(pair: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    images, _ = drawn(120, 2)
    digests = {"weights_digest": pair.weights_digest, "preprocessing_digest": pair.preprocessing_digest}
    made_by = {"key": pair.spec.key, "family": "open_clip", **digests}
    return write_embeddings(tmp_path_factory.mktemp("e"), {0.5: pair.encode(images)}, made_by)


LABELS = drawn(120, 2)[1]


def test_words_in_a_sentence_never_read_find_what_they_mean(slide: Embeddings, pair: TextEncoder) -> None:
    names = "".join(f'[[class]]\nname = "{words[0]}"\nsynonyms = ["{words[1]}"]\n' for words in WORDS)
    asked = read_prompt_set(f'title = "T"\ntemplates = ["{HELD_OUT[0]}"]\n{names}')
    for screen in (False, True):
        answer = ask(slide, Question(classes=asked, screen=screen), encoder=pair)
        best = np.stack([one.probability for one in answer.prompts]).argmax(axis=0)
        assert balanced_accuracy(LABELS, best, 3) > 0.9
        assert [one.share for one in answer.prompts] == pytest.approx([1 / 3] * 3, abs=0.05)
        assert all(LABELS[tile.index] == k for k, one in enumerate(answer.prompts) for tile in one.top)


def test_examples_find_the_same_as_words(slide: Embeddings) -> None:
    answer = ask(slide, Question(like=Examples(tiles=(1, 4, 7))))
    (one,) = answer.prompts
    assert (one.raw[LABELS == 1][:, None] > one.raw[LABELS != 1][None]).mean() > 0.95
    assert answer.examples is not None
    assert answer.examples["leave_one_out"]["min"] > 0.5


def test_the_temperature_is_the_one_that_was_learnt(folder: Path, pair: TextEncoder) -> None:
    from safetensors.numpy import load_file

    learnt = load_file(folder / "open_clip_model.safetensors")["logit_scale"]
    assert pair.logit_scale == pytest.approx(float(np.exp(learnt)))
    assert abs(pair.logit_scale * 0.07 - 1) > 0.01  # training moved it from where it began

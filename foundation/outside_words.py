"""Image-text pairs of packages of others, and how their texts become the numbers of words."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foundation.checkpoint import as_scale
from foundation.errors import MissingWeightsError, UnsupportedEncoderError
from foundation.spec import EncoderSpec
from foundation.torch_encoder import TorchEncoder, one_thread

SENTENCE_PIECES = "tokenizer.spm"
"""The vocabulary of MUSK, which its authors keep apart from the weights."""

Words = Callable[[Sequence[str]], tuple[Tensor, ...]]
"""Texts in, what the text tower takes out: one tensor [T, context] or several."""
Vocabulary = Callable[[EncoderSpec, Path], Words]
"""(row, folder of the weights) -> the tokenizer of the pair."""
Texts = Callable[..., Tensor]
"""(model, *words) -> features [T, dim] of length 1."""


class OutsidePair(TorchEncoder):
    """An image tower and its text tower as one pair that cannot be misused.

    Args:
        spec: What it is.
        network: Its `model` is the whole pair, with its weights.
        weights_digest: SHA-256 of the weights file.
        texts: How the model is asked for texts.
        words: Makes the tokenizer, when the first text comes.
    """

    def __init__(
        self, spec: EncoderSpec, network: nn.Module, weights_digest: str, texts: Texts, words: Callable[[], Words]
    ) -> None:
        super().__init__(spec, network, weights_digest)
        self._model = network.get_submodule("model")
        self._texts = texts
        self._make_words = words
        self._words: Words | None = None
        self.logit_scale = as_scale(cast("Tensor", self._model.logit_scale))

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode prompts.

        Args:
            texts: T prompts.

        Returns:
            Features [T, dim] of length 1.
        """
        if self._words is None:  # images alone need no vocabulary
            self._words = self._make_words()
        one_thread()
        with torch.inference_mode():
            features = self._texts(self._model, *self._words(texts))
        return np.asarray(features.float().numpy(), np.float32)


def package(module: str, spec: EncoderSpec) -> Any:  # noqa: ANN401  # a module of a package that ships no types
    """Import a module of a package that the user installs.

    Args:
        module: Its name.
        spec: Of the encoder that needs it.

    Returns:
        The module.

    Raises:
        UnsupportedEncoderError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedEncoderError(
            f"Encoder {spec.key!r} needs the package {module.partition('.')[0]} of its authors, which is not installed."
        ) from error


def conch_words(spec: EncoderSpec, _: Path) -> Words:
    """CONCH's own words (Lu et al., doi 10.1038/s41591-024-02856-4); the vocabulary lies in its package.

    Args:
        spec: Its row.

    Returns:
        The tokenizer: 127 words and a place that the tower takes for its class token.
    """
    module = package("conch.open_clip_custom.custom_tokenizer", spec)
    tokenizer = module.get_tokenizer()
    return lambda texts: (module.tokenize(tokenizer, list(texts)),)


def musk_words(spec: EncoderSpec, folder: Path) -> Words:
    """MUSK's words (Xiang et al., doi 10.1038/s41586-024-08378-w): XLM-R's marks around its own sentence pieces.

    Args:
        spec: Its row.
        folder: Holds `tokenizer.spm`.

    Returns:
        The tokenizer: words, and a mask that is 1 after the end.

    Raises:
        MissingWeightsError: If the folder has no vocabulary.
    """
    module, library = package("musk.utils", spec), package("transformers", spec)
    vocabulary = folder / SENTENCE_PIECES
    if not vocabulary.is_file():
        raise MissingWeightsError(f"Beside the weights lies no {SENTENCE_PIECES}: no text can be read.")
    tokenizer, context = library.XLMRobertaTokenizer(str(vocabulary)), int(spec.text["context"])

    def words(texts: Sequence[str]) -> tuple[Tensor, ...]:
        pairs = [module.xlm_tokenizer(text, tokenizer, max_len=context) for text in texts]
        return tuple(torch.tensor(part) for part in zip(*pairs, strict=True))

    return words

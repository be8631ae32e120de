"""Texts as numbers of words, by the vocabulary that lies beside the weights; nothing is fetched."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foundation.errors import MissingWeightsError, UnsupportedEncoderError

VOCABULARY = "tokenizer.json"
"""What Hugging Face calls a whole tokenizer in a file: normalisation, vocabulary and special words."""
WORD_LIST = "vocab.txt"
"""BERT's own: one word a line. Texts are put in lower case, as all pairs that we know of were trained."""


class WordPieces:
    """Words of a BERT, each text cut or filled up to one length.

    Args:
        folder: Holds `tokenizer.json`, or `vocab.txt`.
        context: Words a text has, the first and the last of them BERT's own marks.

    Raises:
        UnsupportedEncoderError: If the package tokenizers is not installed.
        MissingWeightsError: If the folder has neither.
    """

    def __init__(self, folder: Path, context: int) -> None:
        try:
            library: Any = importlib.import_module("tokenizers")
        except ImportError as error:
            raise UnsupportedEncoderError(
                "Texts cannot be encoded: the package tokenizers is not installed (pip install 'oncoscope[text]')."
            ) from error
        if (folder / VOCABULARY).is_file():
            self._words = library.Tokenizer.from_file(str(folder / VOCABULARY))
        elif (folder / WORD_LIST).is_file():
            self._words = library.BertWordPieceTokenizer(str(folder / WORD_LIST), lowercase=True)
        else:
            raise MissingWeightsError(
                f"Beside the weights lies neither {VOCABULARY} nor {WORD_LIST}: no text can be read."
            )
        self._words.enable_truncation(context)
        self._words.enable_padding(length=context)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Look words up.

        Args:
            texts: T texts.

        Returns:
            [T, context], 0 after the end.
        """
        return torch.tensor([found.ids for found in self._words.encode_batch(list(texts))])

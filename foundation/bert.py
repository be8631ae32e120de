"""BERT as the text tower of an image-text pair (Devlin et al., arXiv:1810.04805), without the library transformers.

Its parameters are named as transformers names them, so that published checkpoints load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


@dataclass(frozen=True, slots=True)
class BertShape:
    """How large a BERT is; the defaults are those of PubMedBERT (Gu et al., arXiv:2007.15779)."""

    words: int = 30522
    positions: int = 512
    width: int = 768
    inner: int = 3072
    heads: int = 12
    layers: int = 12
    epsilon: float = 1e-12


class Bert(nn.Module):
    """Texts to vectors.

    Args:
        shape: How large it is.
        pooler: Whether it has the layer that BERT puts upon the first word.
    """

    def __init__(self, shape: BertShape, *, pooler: bool) -> None:
        super().__init__()
        self.embeddings = _Embeddings(shape)
        self.encoder = _Encoder(shape)
        self.pooler = _Pooler(shape) if pooler else nn.Identity()

    def forward(self, words: Tensor) -> Tensor:
        """Encode texts by their first word, which stands for the whole.

        Args:
            words: Numbers of words [T, L]; 0 fills up the end.

        Returns:
            [T, width].
        """
        seen = (words != 0)[:, None, None, :]
        features: Tensor = self.pooler(self.encoder(self.embeddings(words), seen)[:, 0])
        return features


class _Embeddings(nn.Module):
    """Words, their places, and that there is one text and not a pair."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.words, shape.width)
        self.position_embeddings = nn.Embedding(shape.positions, shape.width)
        self.token_type_embeddings = nn.Embedding(2, shape.width)
        self.LayerNorm = nn.LayerNorm(shape.width, eps=shape.epsilon)

    def forward(self, words: Tensor) -> Tensor:
        places = self.position_embeddings(torch.arange(words.shape[1], device=words.device))
        summed = self.word_embeddings(words) + places + self.token_type_embeddings.weight[0]
        normed: Tensor = self.LayerNorm(summed)
        return normed


class _Encoder(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        for layer in self.layer:
            hidden = layer(hidden, seen)
        return hidden


class _Layer(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.attention = _Attention(shape)
        self.intermediate = _Dense(shape.width, shape.inner)
        self.output = _Added(shape.inner, shape)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        attended = self.attention(hidden, seen)
        layer: Tensor = self.output(gelu(self.intermediate(attended)), attended)
        return layer


class _Attention(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.self = _Heads(shape)
        self.output = _Added(shape.width, shape)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        attended: Tensor = self.output(self.self(hidden, seen), hidden)
        return attended


class _Heads(nn.Module):
    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query, self.key, self.value = (nn.Linear(shape.width, shape.width) for _ in range(3))

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        projected = (layer(hidden) for layer in (self.query, self.key, self.value))
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in projected)
        return scaled_dot_product_attention(query, key, value, seen).transpose(1, 2).flatten(2)


class _Dense(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.dense = nn.Linear(before, after)

    def forward(self, hidden: Tensor) -> Tensor:
        projected: Tensor = self.dense(hidden)
        return projected


class _Pooler(_Dense):
    def __init__(self, shape: BertShape) -> None:
        super().__init__(shape.width, shape.width)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.tanh(super().forward(hidden))


class _Added(nn.Module):
    """Normalised after the addition, as in the first transformers."""

    def __init__(self, before: int, shape: BertShape) -> None:
        super().__init__()
        self.dense = nn.Linear(before, shape.width)
        self.LayerNorm = nn.LayerNorm(shape.width, eps=shape.epsilon)

    def forward(self, change: Tensor, before: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(change) + before)
        return normed

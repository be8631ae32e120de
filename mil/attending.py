"""Parts of heads that are transformers: gated attention of some tokens to tiles, and a gated feed-forward layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mil.pooling import in_chunks, masked_softmax


class GatedCrossAttention(nn.Module):
    """Multi-head attention whose output each query opens or shuts for itself.

    Keys are masked, queries never are, so padding can change nothing that is kept. The memory is that of the tokens:
    torch's kernel makes no matrix of weights.
    """

    def __init__(self, width: int, heads: int, gate: Callable[[Tensor], Tensor] = torch.sigmoid) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"width {width} cannot be divided among {heads} heads")
        self.heads, self.opening = heads, gate
        self.query = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let the queries attend to the source.

        Args:
            queries: Normalised tokens [B, Q, H].
            source: Normalised tokens they attend to [B, N, H].
            mask: True where the source has a token, bool [B, N]; None where it has all.

        Returns:
            What is added to the queries [B, Q, H].
        """
        key, value = self._split(in_chunks(self.key_value, source), 2)  # [B, heads, N, H / heads] each
        (query,) = self._split(self.query(queries), 1)  # [B, heads, Q, H / heads]
        shown = None if mask is None else mask[:, None, None]  # [B, 1, 1, N]
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=shown)
        merged = found.transpose(1, 2).flatten(2)  # [B, Q, H]
        added: Tensor = self.out(self.opening(self.gate(queries)) * merged)  # [B, Q, H]
        return added

    def weights(self, queries: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """How much each query attended to each token, the mean over heads; asked for apart, so asking changes nothing.

        Args:
            queries: As for `forward`, one query [B, 1, H].
            source: [B, N, H].
            mask: bool [B, N].

        Returns:
            float32 [B, N], 1 in sum.
        """
        key, _ = self._split(in_chunks(self.key_value, source), 2)  # [B, heads, N, H / heads]
        (query,) = self._split(self.query(queries), 1)  # [B, heads, 1, H / heads]
        score = (query * key).sum(dim=-1).transpose(1, 2) / key.shape[-1] ** 0.5  # [B, N, heads]
        return masked_softmax(score, mask).mean(dim=-1)

    def _split(self, tokens: Tensor, parts: int) -> list[Tensor]:
        apart = tokens.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [parts, B, heads, N, H / heads]
        return list(apart.unbind())


class SwiGlu(nn.Module):
    """Feed-forward layer with a gate: out(silu(a x) * b x), Shazeer, arXiv:2002.05202."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.wide = nn.Linear(width, 4 * width)
        self.out = nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Treat each token alone.

        Args:
            tokens: Normalised [B, N, H].

        Returns:
            What is added to them [B, N, H].
        """
        gate, value = self.wide(tokens).chunk(2, dim=-1)  # [B, N, 2 H] each
        added: Tensor = self.drop(self.out(functional.silu(gate) * value))  # [B, N, H]
        return added


class Block(nn.Module):
    """One pre-norm layer: attention, then feed-forward, each added to what came in; RMS norm, arXiv:1910.07467."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before, self.between = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attend = GatedCrossAttention(width, heads)
        self.drop = nn.Dropout(dropout)
        self.think = SwiGlu(width, dropout)

    def forward(self, queries: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Update the queries with what they find in the source, which may be themselves.

        Args:
            queries: [B, Q, H].
            source: [B, N, H].
            mask: bool [B, N].

        Returns:
            [B, Q, H].
        """
        known = self.before(source)  # [B, N, H]
        asking = known if queries is source else self.before(queries)  # [B, Q, H]
        queries = queries + self.drop(self.attend(asking, known, mask))  # [B, Q, H]
        return queries + in_chunks(lambda part: self.think(self.between(part)), queries)  # [B, Q, H]

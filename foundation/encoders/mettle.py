"""Mettle (slideflow-labs/Mettle): H-optimus-0 trained on, with a head that refines its class token.

The head is built here from its description, so that the code that lies beside the weights need not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from foundation.checkpoint import load_exactly, read_state
from foundation.errors import ContractError
from foundation.spec import EncoderSpec
from foundation.timm_build import architecture
from foundation.torch_encoder import TorchEncoder
from foundation.weights import locate

ATOMS, RANK, HIDDEN = 16, 8, 256
"""Of the head, from the configuration beside the weights."""


class Refined(nn.Module):
    """Class token plus a sum of low-rank changes of it, mixed by what it says, plus a shift.

    Args:
        width: Of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.P = nn.Parameter(torch.zeros(ATOMS, width, RANK))
        self.Q = nn.Parameter(torch.zeros(ATOMS, width, RANK))
        self.mix = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, ATOMS))
        self.shift = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, width))

    def forward(self, token: Tensor) -> Tensor:
        """Refine.

        Args:
            token: [B, width].

        Returns:
            [B, width].
        """
        inner = torch.einsum("bd,kdr->bkr", token, self.P) * self.mix(token).unsqueeze(-1)
        refined: Tensor = token + torch.einsum("bkr,kdr->bd", inner, self.Q) + self.shift(token)
        return refined


class Network(nn.Module):
    """Refined class token, then the mean of the patches as they are.

    Args:
        spec: Its row.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.backbone = architecture(spec)
        self.prefix = spec.prefix_tokens
        with torch.device("meta"):
            self.head = Refined(spec.dim // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Encode.

        Args:
            images: Normalised images [B, 3, px, px].

        Returns:
            [B, dim].
        """
        tokens: Tensor = cast("Any", self.backbone).forward_features(images)
        return torch.cat([self.head(tokens[:, 0]), tokens[:, self.prefix :].mean(dim=1)], dim=-1)


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> TorchEncoder:
    """Load Mettle.

    Args:
        key: The key of its row.
        weights: Its checkpoint.
        spec: The row.

    Returns:
        The encoder.

    Raises:
        ContractError: If there is no such row.
    """
    if spec is None:
        raise ContractError(f"Encoder {key[:80]!r} needs a row in the table of encoders.")
    state, digest = read_state(locate(key, weights, spec), spec.weights_sha256, spec.state_key, spec.state_prefix)
    network = Network(spec)
    load_exactly(network, state, key)
    return TorchEncoder(spec, network, digest)

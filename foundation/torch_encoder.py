"""Run a torch image model on tiles, always with the same bits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foundation.network import Network, flops_of
from foundation.preprocessing import prepared
from foundation.spec import EncoderSpec


class TorchEncoder:
    """An image model as an encoder, in float32 on the CPU.

    Inside a call one core works, so the bits cannot depend on how many there are; to use several, call from several
    threads (torch releases the interpreter lock). Each calling thread is pinned to one torch thread and stays so.

    Args:
        spec: What it is.
        module: Takes normalised images [B, 3, px, px], gives features [B, dim].
        weights_digest: SHA-256 of the weights file.
    """

    def __init__(self, spec: EncoderSpec, module: nn.Module, weights_digest: str) -> None:
        self.spec = spec
        self.weights_digest = weights_digest
        module.eval().requires_grad_(requires_grad=False)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
        self.network = Network(spec, module).eval()
        """Bytes [B, px, px, 3] in, features out; on the CPU. Other devices take a copy."""

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the preprocessing, 64 hex digits."""
        return self.spec.preprocessing_digest

    def network_input(self, tiles: NDArray[np.uint8]) -> Tensor:
        """What the network sees.

        Args:
            tiles: RGB tiles [B, tile_px, tile_px, 3].

        Returns:
            Normalised images [B, 3, px, px], float32, channels last in memory.
        """
        images = np.require(prepared(tiles, self.spec), requirements=["C", "W"])
        return self.network.normalised(torch.from_numpy(images))

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode a batch; may be called from several threads at once.

        Args:
            tiles: RGB tiles [B, tile_px, tile_px, 3].

        Returns:
            Features [B, dim].
        """
        one_thread()
        with torch.inference_mode():
            features: Tensor = self.network.module(self.network_input(tiles))
        return np.asarray(features.float().numpy(), np.float32)

    def flops_per_tile(self) -> int | None:
        """Floating-point operations for one tile; a multiply-add counts as two.

        Returns:
            The number, None where it cannot be counted.
        """
        return flops_of(self.network, self.spec.px)


def one_thread() -> None:
    """Pin torch to one core in the calling thread: sums split over cores have other last bits."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)

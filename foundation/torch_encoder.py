"""Run a torch image model on tiles, always with the same bits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
        self._module = module.eval().requires_grad_(requires_grad=False)
        self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
        # (x / 255 - mean) / std as one multiply-add on the bytes.
        self._scale = torch.tensor([1 / (255 * s) for s in spec.std]).view(1, 3, 1, 1)
        self._shift = torch.tensor([-m / s for m, s in zip(spec.mean, spec.std, strict=True)]).view(1, 3, 1, 1)

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
        tiles = prepared(tiles, self.spec)
        images = torch.from_numpy(np.require(tiles, requirements=["C", "W"])).permute(0, 3, 1, 2)
        return torch.addcmul(self._shift, images, self._scale)

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode a batch; may be called from several threads at once.

        Args:
            tiles: RGB tiles [B, tile_px, tile_px, 3].

        Returns:
            Features [B, dim].
        """
        one_thread()
        with torch.inference_mode():
            features: Tensor = self._module(self.network_input(tiles))
        return np.asarray(features.float().numpy(), np.float32)


def one_thread() -> None:
    """Pin torch to one core in the calling thread: sums split over cores have other last bits."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)

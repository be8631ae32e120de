"""Image-text pairs of a vision transformer and a BERT: KEEP, BiomedCLIP and their kin.

Neither open_clip's tower of transformers nor the code that comes with KEEP is needed: the latter changes timm for the
whole process. Both towers are built here, and every tensor of the checkpoint has to find its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from foundation.bert import Bert, BertShape
from foundation.checkpoint import as_scale, load_exactly, read_state
from foundation.errors import ContractError, RegistryError
from foundation.naming import renamed
from foundation.spec import EncoderSpec
from foundation.timm_build import architecture as trunk_of
from foundation.torch_encoder import TorchEncoder, one_thread
from foundation.weights import locate
from foundation.words import WordPieces

PUBMED = BertShape()


class Keep(nn.Module):
    """KEEP (Zhou et al., Cancer Cell 2026, doi 10.1016/j.ccell.2026.01.019): both sides have length 1.

    Args:
        spec: Its row.
        shape: Of its BERT.
    """

    def __init__(self, spec: EncoderSpec, shape: BertShape) -> None:
        super().__init__()
        self.visual = trunk_of(spec)
        inner = _width(self.visual)
        self.visual_head = nn.Sequential(nn.Linear(inner, spec.dim), nn.GELU(), nn.Linear(spec.dim, spec.dim))
        self.text = Bert(shape, pooler=True)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: Normalised images [B, 3, px, px].

        Returns:
            [B, dim], of length 1.
        """
        return normalize(self.visual_head(self.visual(images)), dim=-1)

    def texts(self, words: Tensor) -> Tensor:
        """Encode texts.

        Args:
            words: [T, context].

        Returns:
            [T, dim], of length 1.
        """
        return normalize(self.text(words), dim=-1)


class BiomedClip(nn.Module):
    """BiomedCLIP (Zhang et al., arXiv:2303.00915), as open_clip saves it.

    Args:
        spec: Its row.
        shape: Of its BERT.
    """

    def __init__(self, spec: EncoderSpec, shape: BertShape) -> None:
        super().__init__()
        trunk = trunk_of(spec)
        between = (shape.width + spec.dim) // 2
        head = nn.ModuleDict({"proj": nn.Linear(_width(trunk), spec.dim, bias=False)})
        self.visual = nn.ModuleDict({"trunk": trunk, "head": head})
        layers = (nn.Linear(shape.width, between, bias=False), nn.GELU(), nn.Linear(between, spec.dim, bias=False))
        self.text = nn.ModuleDict({"transformer": Bert(shape, pooler=False), "proj": nn.Sequential(*layers)})
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: Normalised images [B, 3, px, px].

        Returns:
            [B, dim], not normalised.
        """
        features: Tensor = self.get_submodule("visual.head.proj")(self.visual["trunk"](images))
        return features

    def texts(self, words: Tensor) -> Tensor:
        """Encode texts.

        Args:
            words: [T, context].

        Returns:
            [T, dim], of length 1.
        """
        return normalize(self.text["proj"](self.text["transformer"](words)), dim=-1)


Pair = Keep | BiomedClip
PAIRS: dict[str, type[Pair]] = {"keep": Keep, "biomedclip": BiomedClip}
"""By the names that their tensors have."""


class BertPairEncoder(TorchEncoder):
    """An image tower and its text tower as one pair that cannot be misused.

    Args:
        spec: What it is.
        pair: With its weights.
        weights_digest: SHA-256 of the weights file.
        folder: Where the vocabulary lies.
    """

    def __init__(self, spec: EncoderSpec, pair: Pair, weights_digest: str, folder: Path) -> None:
        super().__init__(spec, pair, weights_digest)
        self._pair = pair
        self._folder = folder
        self._words: Callable[[Sequence[str]], Tensor] | None = None
        self.logit_scale = as_scale(pair.logit_scale)

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode prompts.

        Args:
            texts: T prompts.

        Returns:
            Features [T, dim] of length 1.
        """
        if self._words is None:  # images alone need no vocabulary
            self._words = WordPieces(self._folder, int(self.spec.text["context"]))
        one_thread()
        with torch.inference_mode():
            device = self._pair.logit_scale.device
            features = self._pair.texts(self._words(texts).to(device))
        return np.asarray(features.float().cpu().numpy(), np.float32)


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> BertPairEncoder:
    """Load an image-text pair.

    Args:
        key: The key of a table row.
        weights: Its checkpoint; the vocabulary lies in the same folder.
        spec: The row.

    Returns:
        The encoder.
    """
    row = _required(key, spec)
    path = locate(key, weights, row)
    pair = architecture(row)
    state, digest = read_state(path, row.weights_sha256, row.state_key, row.state_prefix)
    load_exactly(pair, renamed(state, row.state_names), key)
    return BertPairEncoder(row, pair, digest, path.parent)


def _required(key: str, spec: EncoderSpec | None) -> EncoderSpec:
    if spec is None:
        raise ContractError(f"Encoder {key[:80]!r} needs a row in the table of encoders.")
    if spec.state_names not in PAIRS:
        raise RegistryError(f"No pair has the names {spec.state_names[:40]!r}; known are {', '.join(PAIRS)}.")
    return spec


def architecture(spec: EncoderSpec, shape: BertShape | None = None) -> Pair:
    """Build a pair without weights.

    Args:
        spec: Its row.
        shape: Of its BERT; None for PubMedBERT's.

    Returns:
        The pair, its parameters without values.
    """
    with torch.device("meta"):
        return PAIRS[spec.state_names](spec, shape or PUBMED)


def _width(trunk: nn.Module) -> int:
    return int(str(trunk.num_features))

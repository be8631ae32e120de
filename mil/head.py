"""What a head is: tiles in, a logit and what each tile added to it out; and the table of heads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from importlib.metadata import entry_points
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from mil.errors import EmptyBagError, HeadError

HEADS: dict[str, str] = {
    "mean": "mil.heads.mean:MeanHead",
    "abmil": "mil.heads.abmil:AbmilHead",
}
"""Name -> module:attribute. Other distributions add theirs with the entry point group `oncoscope.heads`."""


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """What a head says about a batch of bags."""

    logits: Tensor
    """One a class [B, C]."""
    contributions: Tensor | None
    """What each tile added [B, N, C]; with `Head.bias` they sum to the logits. None unless asked for, 0 at padding."""
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


class Head(nn.Module):
    """A pooling head over masked bags; subclasses implement `pool`.

    Features are standardised by buffers that are part of the head, so a saved head needs nothing beside it.
    """

    Settings: ClassVar[type[HeadSettings]] = HeadSettings
    additive: ClassVar[bool] = True
    """True where contributions and `bias` sum to the logits; a head for which they do not gives none."""
    respects_mil_assumption: ClassVar[bool] = False
    """True where one more tile can only raise the score, so that the absence of something is never evidence."""
    mean: Tensor
    scale: Tensor

    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__()
        self.in_dim, self.out_dim, self.settings = in_dim, out_dim, settings
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("scale", torch.ones(in_dim))

    @property
    @abstractmethod
    def bias(self) -> Tensor:
        """What the logits are before any tile has its say [C]."""

    @abstractmethod
    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Score standardised bags.

        Args:
            features: Standardised [B, N, D], 0 at padding.
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
        """Standardise, hide the padding and score.

        Args:
            features: Raw embeddings [B, N, D]; whatever stands at padding is ignored.
            mask: True where there is a tile, bool [B, N].
            explain: Also give contributions and attention; the logits stay the same.

        Returns:
            Logits [B, C], contributions [B, N, C] and attention [B, N].

        Raises:
            EmptyBagError: A bag of the batch has no tile.
        """
        if not bool(mask.any(dim=1).all()):
            raise EmptyBagError("A bag of the batch has no tile.")
        standard = (
            features - self.mean
        )  # [B, N, D]; a new tensor, so the next two may work in place: memory is the cost here
        standard.div_(self.scale).masked_fill_(~mask[..., None], 0.0)
        return self.pool(standard, mask, explain=explain)


def build_head(name: str, in_dim: int, out_dim: int = 1, settings: Mapping[str, int | float] | None = None) -> Head:
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
    try:
        return kind(in_dim, out_dim, kind.Settings(**given))  # type: ignore[arg-type] # names are checked, values by torch
    except (TypeError, ValueError, RuntimeError) as error:
        raise HeadError(f"The head {name} cannot be built of {given}.") from error


def settings_of(head: Head) -> dict[str, int | float]:
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

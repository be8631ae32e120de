"""Which encoders can run on this machine as it is, and what the others lack. Loads nothing, sends nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal

from packaging.requirements import Requirement

from foundation.access import Access
from foundation.errors import WeightsMismatchError
from foundation.licence import allows, refusal
from foundation.slide_spec import SlideEncoderSpec
from foundation.spec import EncoderSpec
from foundation.weights import advice, present

REASONS: Final = {
    "gemma": "is one tower of a language model, which is not taken apart here",
    "kronos": "takes stacks of fluorescence markers, not RGB tiles",
    "seal": "is a low-rank change of another encoder, which the package of its authors merges from the network",
    "transformers": "has no recipe here that does without the library transformers",
}
"""Why rows of a family cannot be run, whatever is installed."""

WHENCE: Final = "take it from its authors, for PyPI may have another package of that name"

State = Literal["ready", "refused by policy", "needs remote code", "missing package", "no loader", "missing weights"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether an encoder can run here."""

    state: State
    detail: str = ""
    """What it lacks and what to do; empty where it is ready."""

    @property
    def ready(self) -> bool:
        """Whether nothing is lacking. The digest of the weights is checked when they are loaded, not here."""
        return self.state == "ready"


READY = Readiness("ready")


def readiness(spec: EncoderSpec | SlideEncoderSpec, access: Access, families: Collection[str]) -> Readiness:
    """Say whether an encoder can run here; of several things that it lacks, the one that is hardest to get.

    Args:
        spec: The encoder's.
        access: What this installation allows, and where its weights are.
        families: Families that there is a loader for.

    Returns:
        What was found.
    """
    if not allows(spec, access.policy):
        return Readiness("refused by policy", refusal(spec))
    found = obstacle(spec, families)
    if found is not None:
        return found
    if isinstance(spec, SlideEncoderSpec):
        return READY
    try:
        return READY if present(spec, access) is not None else Readiness("missing weights", advice(spec))
    except WeightsMismatchError as error:  # what the user states of one file says nothing of the other encoders
        return Readiness("missing weights", str(error))


def obstacle(spec: EncoderSpec | SlideEncoderSpec, families: Collection[str]) -> Readiness | None:
    """What keeps an encoder from running here even if its weights are here.

    Args:
        spec: The encoder's.
        families: Families that there is a loader for.

    Returns:
        What it lacks; None for nothing.
    """
    if spec.remote_code:
        return Readiness("needs remote code", f"{spec.key!r} comes with code of strangers, which is never run here.")
    if spec.family in REASONS:
        return Readiness("no loader", f"Encoder {spec.key!r} {REASONS[spec.family]}.")
    if spec.family not in families:
        return Readiness("no loader", f"Nothing here loads encoders of the family {spec.family!r}.")
    lacking = missing_packages(spec.requires)
    if lacking:
        return Readiness(
            "missing package", f"{spec.key!r} needs {', '.join(lacking)}, which is not installed; {WHENCE}."
        )
    return None


def missing_packages(requires: Collection[str]) -> tuple[str, ...]:
    """Which distributions are lacking, or are there in another version.

    Args:
        requires: As in a requirements file: `transformers<5`.

    Returns:
        Those of them that are not met.
    """
    return tuple(line for line in requires if not _is_met(Requirement(line)))


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False

"""Nobody uses an encoder against its licence without having said so."""

from __future__ import annotations

from foundation.access import Policy
from foundation.errors import LicenceError
from foundation.slide_spec import SlideEncoderSpec
from foundation.spec import EncoderSpec


def allows(spec: EncoderSpec | SlideEncoderSpec, policy: Policy) -> bool:
    """Whether a policy lets an encoder be used.

    Args:
        spec: The encoder's.
        policy: The lab's.

    Returns:
        False where the policy is not research and the licence is not known to allow commercial use.
    """
    return policy == "research" or spec.commercial


def require_allowed(spec: EncoderSpec | SlideEncoderSpec, policy: Policy) -> None:
    """Refuse an encoder that a policy does not allow.

    Args:
        spec: The encoder's.
        policy: The lab's.

    Raises:
        LicenceError: If its licence is not known to allow what the policy is for.
    """
    if not allows(spec, policy):
        raise LicenceError(refusal(spec))


def refusal(spec: EncoderSpec | SlideEncoderSpec) -> str:
    """Why a commercial policy refuses an encoder.

    Args:
        spec: The encoder's.

    Returns:
        One sentence with the licence, who states it, and what is in dispute.
    """
    dispute = next((f" {conflict}" for conflict in spec.conflicts if "not commercial" in conflict), "")
    source = spec.licence_source or "whoever made the weights"
    return (
        f"Encoder {spec.key!r} is refused: the policy here is commercial, and its licence ({spec.licence}; source: "
        f"{source}) is not known to allow commercial use.{dispute}"
    )

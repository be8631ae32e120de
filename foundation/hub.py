"""Weights in the cache of the Hugging Face hub, and from the hub itself where the user is online."""

from __future__ import annotations

from pathlib import Path

from foundation.access import Access
from foundation.errors import MissingWeightsError
from foundation.spec import EncoderSpec

HUB = "hf:"


def repository(spec: EncoderSpec) -> str:
    """The repository of an encoder's weights.

    Args:
        spec: The encoder's, with a source on the hub.

    Returns:
        `<owner>/<name>`.
    """
    return spec.source.removeprefix(HUB)


def cached(spec: EncoderSpec, access: Access) -> Path | None:
    """Look for weights in the hub's cache; nothing is sent anywhere.

    Args:
        spec: The encoder's, with a source on the hub and the name of a file.
        access: Where the cache is.

    Returns:
        The file, of the revision that the spec names; None if it is not there.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository(spec), spec.file, cache_dir=access.cache, revision=_revision(spec))
    return Path(found) if isinstance(found, str) else None


def fetch(spec: EncoderSpec, access: Access) -> Path:
    """Fetch weights from the hub into its cache; a file that is there already is not fetched again.

    Args:
        spec: The encoder's, with a source on the hub and the name of a file.
        access: Where hub and cache are.

    Returns:
        The file.

    Raises:
        MissingWeightsError: If the hub cannot be reached, lacks the file, or does not give it to this user.
    """
    from huggingface_hub import hf_hub_download

    try:
        name, revision = repository(spec), _revision(spec)
        place = hf_hub_download(name, spec.file, revision=revision, cache_dir=access.cache, endpoint=access.endpoint)
        return Path(place)
    except Exception as error:  # its HTTP client has errors of its own, such as those of a proxy
        reason = f"The weights of {spec.key!r} could not be had from the hub ({type(error).__name__})."
        raise MissingWeightsError(f"{reason}{gate(spec)}") from error


def gate(spec: EncoderSpec) -> str:
    """What to do about weights that must be asked for.

    Args:
        spec: The encoder's, with a source on the hub.

    Returns:
        A sentence with a space before it; empty where they are free.
    """
    page = f"huggingface.co/{repository(spec)}"
    asking = f" They must be asked for: accept the terms at {page}, then log in with `hf auth login`"
    return f"{asking}, or put the file into the weights folder." if spec.gated else ""


def _revision(spec: EncoderSpec) -> str | None:
    return None if spec.revision == "unknown" else spec.revision

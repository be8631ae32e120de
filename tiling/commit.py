"""Whole or absent: a folder is built aside, listed with checksums, made durable and renamed into place.

Zarr shows a missing chunk as fill value, so a store is never written where a reader could find it half done.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiling.errors import DamagedStoreError, NoSpaceError, NotAStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "manifest.json"
STAGING_SUFFIX = ".staging"


@contextmanager
def staged(final: Path, **about: Any) -> Iterator[Path]:  # noqa: ANN401 - any JSON value
    """Build a folder aside and commit it by rename; on an error nothing is left.

    Args:
        final: The folder to appear. If it is there already when the work is done, the earlier one is kept.
        **about: JSON values to keep in the manifest, such as the kind of store and its fingerprint.

    Yields:
        The folder to write into.

    Raises:
        NoSpaceError: If the disk is full.
        OSError: If the folder cannot be written for another reason.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    staging = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}")
    try:
        staging.mkdir()
        yield staging
        _write_manifest(staging, about)
        _sync_tree(staging)
        _rename(staging, final)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            msg = "the disk is full; nothing was written, free some space and run again"
            raise NoSpaceError(msg) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def is_committed(folder: Path) -> bool:
    """Whether a committed folder stands there, whole as far as names and sizes tell.

    Args:
        folder: The folder.

    Returns:
        True if its manifest and every member of the manifest are there with the right size.
    """
    try:
        members = read_manifest(folder)["members"]
    except NotAStoreError:
        return False
    return all(_size(folder / name) == member["bytes"] for name, member in members.items())


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a committed folder.

    Args:
        folder: The folder.

    Returns:
        `members`: name -> {bytes, sha256}, and what `staged` was told about the store.

    Raises:
        NotAStoreError: If there is none.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["members"].items()
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        msg = "no committed store stands at this place"
        raise NotAStoreError(msg) from error
    return dict(manifest)


def verify_manifest(folder: Path) -> list[str]:
    """Read every byte of a committed folder and compare with the manifest.

    Args:
        folder: The folder.

    Returns:
        Names of members that are missing, altered or not in the manifest; empty when all is well.
    """
    manifest = read_manifest(folder)
    members = manifest["members"]
    damaged = [] if manifest.get("self") == _self_digest(manifest) else [MANIFEST]
    damaged += [n for n, m in members.items() if not (folder / n).is_file() or _digest(folder / n) != m["sha256"]]
    return damaged + [name for name in _names(folder) if name not in members]


def require_whole(folder: Path) -> None:
    """Refuse a folder that is not committed or lacks a member.

    Args:
        folder: The folder.

    Raises:
        DamagedStoreError: If a member is missing or has another size.
    """
    missing = [
        name for name, member in read_manifest(folder)["members"].items() if _size(folder / name) != member["bytes"]
    ]
    if missing:
        msg = f"the store is damaged: {missing[0]} is missing or cut off ({len(missing)} members in all)"
        raise DamagedStoreError(msg)


def _write_manifest(folder: Path, about: dict[str, Any]) -> None:
    members = {name: {"bytes": _size(folder / name), "sha256": _digest(folder / name)} for name in _names(folder)}
    manifest = {"format": 1, **about, "members": members}
    manifest["self"] = _self_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


def _self_digest(manifest: dict[str, Any]) -> str:
    """A digest of the manifest itself, so that an altered manifest is noticed too."""
    text = json.dumps({key: value for key, value in manifest.items() if key != "self"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return sorted(path.relative_to(folder).as_posix() for path in files)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(folder: Path) -> None:
    """Files first, then the folders that name them."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Write a file or folder through to the disk.

    Args:
        path: Which.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename(staging: Path, final: Path) -> None:
    """Put the folder in place. A whole earlier one wins, a broken one is removed.

    Raises:
        OSError: If neither this nor another run could put a whole folder there.
    """
    if final.exists() and is_committed(final):
        return
    if final.exists():
        shutil.rmtree(final)
    try:
        staging.rename(final)
    except OSError:
        if not is_committed(final):  # else another run committed the same store a moment ago
            raise
    sync(final.parent)

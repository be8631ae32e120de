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
from tiling.members import Folder, members_of
from tiling.pool import LocalPool

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

MANIFEST = "manifest.json"
STAGING_SUFFIX = ".staging"
READERS = 8
"""Members that are read at a time: object storage answers slowly and much at once."""


@contextmanager
def staged(final: Path, **about: Any) -> Iterator[Path]:  # noqa: ANN401 - any JSON value
    """Build a folder aside and commit it by rename; on an error nothing is left.

    Args:
        final: The folder to appear. If it is there already when the work is done, the earlier one is kept.
        **about: JSON values to keep in the manifest, such as the kind of store and its fingerprint.

    Yields:
        The folder to write into.

    """
    final.parent.mkdir(parents=True, exist_ok=True)
    staging = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}")
    try:
        with no_space():
            staging.mkdir()
            yield staging
            commit(staging, final, about)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def no_space() -> Iterator[None]:
    """Give the errors of a full disk their own name.

    Yields:
        Nothing.

    Raises:
        NoSpaceError: If the disk is full.
        OSError: What else goes wrong.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            msg = "the disk is full; nothing was written, free some space and run again"
            raise NoSpaceError(msg) from error
        raise


def commit(folder: Path, final: Path, about: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> None:
    """List a finished folder with checksums, make it durable and rename it into place.

    Args:
        folder: The folder; nobody writes into it any more.
        final: Where it goes. If a whole one is there already, that one stays.
        about: JSON values to keep in the manifest.
        known: Members whose bytes and sha256 are known and which are through to the disk.

    Raises:
        DamagedStoreError: If one of these is not there.
    """
    known = known or {}
    if any(size_of(folder / name) != member["bytes"] for name, member in known.items()):
        msg = "a file of the store vanished before it was committed; run again"
        raise DamagedStoreError(msg)
    _write_manifest(folder, about, known)
    sync_tree(folder, known)
    _rename(folder, final)


def is_committed(folder: Path | str) -> bool:
    """Whether a committed folder stands there, whole as far as names and sizes tell.

    Args:
        folder: The folder, or its `s3://` address.

    Returns:
        True if its manifest and every member of the manifest are there with the right size.
    """
    try:
        manifest = read_manifest(folder)
    except (NotAStoreError, DamagedStoreError):
        return False
    return not _missing(folder, manifest)


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """The manifest of a committed folder.

    Args:
        folder: The folder, or its `s3://` address.

    Returns:
        `members`: name -> {bytes, sha256}, and what `staged` was told about the store.

    Raises:
        NotAStoreError: If there is none.
        DamagedStoreError: If it is not what was written.
    """
    try:
        manifest = json.loads(members_of(folder).read(MANIFEST))
        said = manifest["self"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = "no committed store stands at this place"
        raise NotAStoreError(msg) from error
    if said != _self_digest(manifest):
        msg = "the store is damaged: its manifest is altered"
        raise DamagedStoreError(msg)
    return dict(manifest)


def verify_manifest(folder: Path | str) -> list[str]:
    """Read every byte of a committed folder and compare with the manifest.

    Args:
        folder: The folder, or its `s3://` address.

    Returns:
        Names of members that are missing, altered or not in the manifest, or the manifest itself; empty when all is
        well.
    """
    try:
        members = read_manifest(folder)["members"]
    except DamagedStoreError:
        return [MANIFEST]  # what it says of the others is worth nothing
    place = members_of(folder)
    with LocalPool(READERS) as pool:
        digests = dict(zip(members, pool.map(place.digest, members), strict=True))
    damaged = [name for name, member in members.items() if digests[name] != member["sha256"]]
    return damaged + sorted(place.sizes().keys() - members - {MANIFEST})


def require_whole(folder: Path | str, manifest: Mapping[str, Any] | None = None) -> None:
    """Refuse a folder that is not committed or lacks a member.

    Args:
        folder: The folder, or its `s3://` address.
        manifest: Its manifest, if it has been read.

    Raises:
        DamagedStoreError: If a member is missing or has another size.
    """
    missing = _missing(folder, manifest or read_manifest(folder))
    if missing:
        msg = f"the store is damaged: {missing[0]} is missing or cut off ({len(missing)} members in all)"
        raise DamagedStoreError(msg)


def _missing(folder: Path | str, manifest: Mapping[str, Any]) -> list[str]:
    """Names of members that are not there with the right size."""
    sizes = members_of(folder).sizes()
    return [name for name, member in manifest["members"].items() if sizes.get(name) != member["bytes"]]


def _write_manifest(folder: Path, about: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    members = members_in(folder, known)
    manifest = {"format": 1, **about, "members": members}
    manifest["self"] = _self_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


def members_in(folder: Path, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a manifest says of the files of a folder.

    Args:
        folder: The folder.
        known: What is known of some of them.

    Returns:
        Name -> bytes and sha256, by name.
    """
    known, place = known or {}, Folder(folder)
    return {
        name: known.get(name) or {"bytes": size, "sha256": place.digest(name)}
        for name, size in sorted(place.sizes().items())
        if name != MANIFEST
    }


def sync_tree(folder: Path, known: Container[str] = ()) -> None:
    """Write a folder and all in it through to the disk, files before the folders that name them.

    Args:
        folder: The folder.
        known: Files for which that was done.
    """
    for path in [*folder.rglob("*"), folder]:
        if path.relative_to(folder).as_posix() not in known:
            sync(path)


def _self_digest(manifest: dict[str, Any]) -> str:
    """A digest of the manifest itself, so that an altered manifest is noticed too."""
    text = json.dumps({key: value for key, value in manifest.items() if key != "self"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file.

    Args:
        path: Which.

    Returns:
        Its size, -1 where there is none.
    """
    return path.stat().st_size if path.is_file() else -1


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
        broken = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}")
        final.rename(broken)  # never taken apart where a reader could see it
        shutil.rmtree(broken, ignore_errors=True)
    try:
        staging.rename(final)
    except OSError:
        if not is_committed(final):  # else another run committed the same store a moment ago
            raise
    sync(final.parent)

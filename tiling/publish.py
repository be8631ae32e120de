"""Stores that end up in object storage: built and committed on this machine, then put there, the manifest last.

Object storage has no rename, but puts an object whole or not at all: a store without a manifest is none, so the put of
the manifest is the commit. An upload that is broken off is invisible, and the next one puts only what is not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tiling.commit import MANIFEST, is_committed, no_space, read_manifest
from tiling.errors import DamagedStoreError, StoreError
from tiling.lock import locked
from tiling.members import Folder, is_remote, members_of
from tiling.pool import LocalPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiling.bucket import Bucket

Result = TypeVar("Result")

NOTHING = b"{}"
"""A manifest that is none."""
PUT_AT_ONCE = 4
"""Objects on their way at a time, each of at most `PARTS_AT_ONCE` parts of `PART` bytes: at most 40 MB are held."""


def published(where: Path | str, build: Callable[[Path], Result], scratch: Path | None = None) -> Result | None:
    """Build a store where it is to be, or on this machine and then put it where it is to be.

    Args:
        where: The folder, or the `s3://` address, to appear; its last part must say what is in it.
        build: Makes and commits the store in a folder that it is given; one that stands there by then is kept.
        scratch: Folder of this machine for what is on its way to object storage; what is broken off stays there for the
            next run. The system's folder for temporary files where None.

    Returns:
        What `build` returned; None where another run put the store there meanwhile.
    """
    if not is_remote(where):
        return build(Path(where))
    name = str(where).rpartition("/")[2]
    scratch = _own_folder() if scratch is None else scratch
    with no_space():
        scratch.mkdir(parents=True, exist_ok=True)
    with locked(scratch / f".{name}.upload.lock") as alone:
        if is_committed(where):
            return None
        members_of(where).sizes()  # a bucket that cannot be read is an error now, and not after hours of work
        folder = (scratch if alone else scratch / uuid.uuid4().hex) / name
        result = build(folder)
        upload(folder, str(where))
        shutil.rmtree(folder, ignore_errors=True)
    return result


def upload(folder: Path, where: str) -> None:
    """Put a committed folder into object storage; what is there already with the same bytes is not sent again.

    A file that is not what it was when the folder was committed is a DamagedStoreError.

    Args:
        folder: The folder.
        where: Its `s3://` address to be.
    """
    from tiling.bucket import Bucket  # a local store needs no HTTP client

    bucket, here = Bucket(where), Folder(folder)
    text = here.read(MANIFEST)
    _withdraw_other(bucket, text)
    members, there = read_manifest(folder)["members"], bucket.sizes()

    def put(name: str) -> None:
        about = members[name]
        if there.get(name) == about["bytes"] and bucket.stated(name) == about["sha256"]:
            return
        if here.digest(name) != about["sha256"]:
            msg = f"the store was damaged on this machine before it was sent: {name}; remove it there and run again"
            raise DamagedStoreError(msg)
        bucket.put(name, folder / name, about["sha256"])

    with LocalPool(PUT_AT_ONCE) as pool:
        for _ in pool.map(put, members):
            pass
    bucket.put(MANIFEST, text, json.loads(text)["self"])


def _withdraw_other(bucket: Bucket, text: bytes) -> None:
    """Overwrite a manifest of other members, so that it never stands above a mixture of theirs and ours.

    To delete it would need another permission, and one that a store of results may well withhold.
    """
    with suppress(FileNotFoundError):
        if bucket.read(MANIFEST) != text:
            bucket.put(MANIFEST, NOTHING, hashlib.sha256(NOTHING).hexdigest())


def _own_folder() -> Path:
    """A folder among temporary files that nobody else can have prepared.

    Raises:
        StoreError: If somebody else did.
    """
    folder = Path(tempfile.gettempdir()) / f"oncoscope-staging-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o022:
        msg = "the folder for temporary files holds an oncoscope-staging folder of somebody else; state another one"
        raise StoreError(msg)
    return folder

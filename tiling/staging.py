"""Long work that a kill does not undo: a folder is built in parts that stay, then committed by rename.

::

    .<name>.<plan>.staging/
        store/      what becomes the folder
        bands/      one record for each part that is done: its rows of numbers, and the checksums of its files
        scratch/    files being written; only whole ones are moved into store/ and bands/

One run at a time works on a folder, the others wait and then find it done: the lock is the kernel's and ends with its
process. Parts are written the same by everyone, so a worker that outlives its driver can do no harm.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiling.commit import commit, no_space, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIX = ".staging"
LOOK_SECONDS = 0.1
"""How often a waiting run looks whether the lock is free."""
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
MEMBERS = "members"
"""Key of a record under which names and checksums of its files stand."""


@dataclass(frozen=True, slots=True)
class Staging:
    """A folder under construction, seen from the driver or from any worker."""

    root: Path

    @property
    def store(self) -> Path:
        """What becomes the committed folder."""
        return self.root / "store"

    def prepare(self, lay_out: Callable[[Path], None]) -> None:
        """Make the folder and what does not depend on any part, unless an earlier run did.

        Args:
            lay_out: Writes into the folder that it is given.
        """
        if self.store.is_dir():
            return
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("bands", "scratch"):
            (self.root / name).mkdir(parents=True)
        draft = self._scratch()
        draft.mkdir()
        lay_out(draft)
        draft.rename(self.store)

    def place(self, member: str, write: Callable[[Path], Any]) -> Any:  # noqa: ANN401 - what `write` returns
        """Put a whole file into the store; one that stands there already is the same.

        Args:
            member: Its name in the store.
            write: Writes the file through to the disk, where it is told.

        Returns:
            What `write` returned.
        """
        draft = self._scratch()
        try:
            result = write(draft)
            (self.store / member).parent.mkdir(parents=True, exist_ok=True)
            draft.replace(self.store / member)
        finally:
            draft.unlink(missing_ok=True)
        return result

    def record(self, band: str, rows: Mapping[str, NDArray[Any]], members: Mapping[str, Any]) -> None:
        """Say that a part is done; its files must stand in the store.

        Args:
            band: Its name.
            rows: Arrays to keep for the end.
            members: Name of each file that it wrote -> bytes and sha256.
        """
        names = np.array([[name, str(each["bytes"]), each["sha256"]] for name, each in members.items()], np.str_)
        draft = self._scratch()
        try:
            with draft.open("wb") as file:
                np.savez(file, allow_pickle=False, **{MEMBERS: names, **rows})
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._record(band))
        finally:
            draft.unlink(missing_ok=True)

    def is_done(self, band: str) -> bool:
        """Whether a part is done, with every file that it wrote: a power cut may take a file and leave its record.

        Args:
            band: Its name.

        Returns:
            True where all stands.
        """
        if not self._record(band).is_file():
            return False
        _, members = self.rows(band)
        return all(size_of(self.store / name) == member["bytes"] for name, member in members.items())

    def rows(self, band: str) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, int | str]]]:
        """What `record` was told.

        Args:
            band: Its name.

        Returns:
            Arrays by name; members by name.
        """
        with np.load(self._record(band), allow_pickle=False) as record:
            arrays = {name: record[name] for name in record.files}
        listed = arrays.pop(MEMBERS).reshape(-1, 3).tolist()
        return arrays, {name: {"bytes": int(size), "sha256": digest} for name, size, digest in listed}

    def _record(self, band: str) -> Path:
        return self.root / "bands" / f"{band}.npz"

    def _scratch(self) -> Path:
        return self.root / "scratch" / uuid.uuid4().hex


@contextmanager
def resumable(final: Path, plan: str) -> Iterator[Staging]:
    """Work on a folder that an earlier run may have begun. What is done stays where the work is broken off.

    Args:
        final: The folder to appear; its name must say what is in it.
        plan: Digest of how it is divided into parts; what another division left behind is thrown away.

    Yields:
        Where to work. The caller looks first whether the folder is there by now.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    with locked(final.with_name(f".{final.name}.lock")) as alone, no_space():
        root = final.with_name(f".{final.name}.{plan[:12] if alone else uuid.uuid4().hex[:12]}{SUFFIX}")
        for other in final.parent.glob(f".{final.name}.*{SUFFIX}") if alone else ():
            if other != root:
                shutil.rmtree(other, ignore_errors=True)
        yield Staging(root)


def finish(staging: Staging, final: Path, members: Mapping[str, Any], **about: Any) -> None:  # noqa: ANN401 - JSON
    """Commit a folder whose parts are all done.

    Args:
        staging: Where it was built.
        final: Where it goes.
        members: Checksums of files that are known and through to the disk.
        **about: JSON values for the manifest.
    """
    commit(staging.store, final, about, members)
    discard(staging)


def discard(staging: Staging) -> None:
    """Throw away what was built.

    Args:
        staging: Where.
    """
    shutil.rmtree(staging.root, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a path; it goes with the process that holds it, however that ends.

    Yields:
        False where the file system has no locks: the caller is then not alone and must not share a folder.

    Raises:
        OSError: If the file cannot be made.
    """
    alone = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = _is_at(handle, path)
            if alone:
                break
        except BlockingIOError:
            time.sleep(LOOK_SECONDS)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(handle)
                raise
            break
        os.close(handle)
    try:
        yield alone
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that stands at a path: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False

"""Long work that a kill does not undo: a folder is built in parts that stay, then committed by rename.

::

    .<name>.<plan>.staging/
        laid_out.npz  says that all of store/ is there that does not depend on parts, with checksums
        store/      what becomes the folder
        bands/      one record for each part that is done: its rows of numbers, and the checksums of its files
        scratch/    files being written; only whole ones are moved into store/ and bands/

One run at a time works on a folder, the others wait and then find it done: the lock is the kernel's and ends with its
process. Parts are written the same by everyone, so a worker that outlives its driver can do no harm.
"""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from tiling.commit import STAGING_SUFFIX, commit, members_in, no_space, size_of, sync, sync_tree
from tiling.lock import locked
from tiling.members import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

LAID_OUT = "laid_out.npz"
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
        if self._is_prepared():
            return
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("bands", "scratch"):
            (self.root / name).mkdir(parents=True)
        draft = self._scratch()
        draft.mkdir()
        lay_out(draft)
        members = members_in(draft)
        sync_tree(draft)
        draft.rename(self.store)
        sync(self.root)
        self._write(self.root / LAID_OUT, {}, members)

    def _is_prepared(self) -> bool:
        """Whether all that `prepare` makes is there, byte for byte: what is missing later would read as zeros."""
        if not all((self.root / name).is_dir() for name in ("store", "bands", "scratch")):
            return False
        try:
            members = self.laid_out()
        except (OSError, ValueError, KeyError, BadZipFile):
            return False
        return all(Folder(self.store).digest(name) == member["sha256"] for name, member in members.items())

    def laid_out(self) -> dict[str, Any]:
        """What `prepare` made.

        Returns:
            Name of each file -> bytes and sha256.
        """
        return _read(self.root / LAID_OUT)[1]

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
            for folder in reversed(Path(member).parents):  # but never the store: it may have been thrown away
                (self.store / folder).mkdir(exist_ok=True)
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
        self._write(self._record(band), rows, members)

    def is_done(self, band: str) -> bool:
        """Whether a part is done, with every file that it wrote: a power cut may take a file and leave its record.

        Args:
            band: Its name.

        Returns:
            True where all stands.
        """
        try:
            _, members = self.rows(band)
        except (OSError, ValueError, KeyError, BadZipFile):
            return False
        return all(size_of(self.store / name) == member["bytes"] for name, member in members.items())

    def rows(self, band: str) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, int | str]]]:
        """What `record` was told.

        Args:
            band: Its name.

        Returns:
            Arrays by name; members by name.
        """
        return _read(self._record(band))

    def _write(self, path: Path, rows: Mapping[str, NDArray[Any]], members: Mapping[str, Any]) -> None:
        names = np.array([[name, str(each["bytes"]), each["sha256"]] for name, each in members.items()], np.str_)
        draft = self._scratch()
        try:
            with draft.open("wb") as file:
                np.savez(file, allow_pickle=False, **{MEMBERS: names, **rows})
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _record(self, band: str) -> Path:
        return self.root / "bands" / f"{band}.npz"

    def _scratch(self) -> Path:
        return self.root / "scratch" / uuid.uuid4().hex


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as record:
        arrays = {name: record[name] for name in record.files}
    listed = arrays.pop(MEMBERS).reshape(-1, 3).tolist()
    return arrays, {name: {"bytes": int(size), "sha256": digest} for name, size, digest in listed}


@contextmanager
def resumable(final: Path, plan: str) -> Iterator[Staging]:
    """Work on a folder that an earlier run may have begun. What is done stays where the work is broken off.

    Args:
        final: The folder to appear; its name must say what is in it.
        plan: Digest of how it is divided into parts; what another division left behind is thrown away.

    Yields:
        Where to work. The caller looks first whether the folder is there by now.
    """
    with no_space():
        final.parent.mkdir(parents=True, exist_ok=True)
        with locked(final.with_name(f".{final.name}.lock")) as alone:
            token = plan[:12] if alone else uuid.uuid4().hex[:12]
            root = final.with_name(f".{final.name}.{token}{STAGING_SUFFIX}")
            for other in final.parent.glob(f".{final.name}.*{STAGING_SUFFIX}") if alone else ():
                if other != root:
                    shutil.rmtree(other, ignore_errors=True)
            yield Staging(root)


def sweep(final: Path) -> None:
    """Remove what a run left that was killed after its folder was committed, unless another is at it.

    Args:
        final: The committed folder.
    """
    if any(final.parent.glob(f".{final.name}.*")):
        with suppress(OSError), locked(final.with_name(f".{final.name}.lock"), wait=False) as alone:
            for path in final.parent.glob(f".{final.name}.*{STAGING_SUFFIX}") if alone else ():
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def undisturbed(final: Path) -> Iterator[None]:
    """Be the only one that builds a folder, and remove what runs left that were killed while they did.

    Args:
        final: The folder to appear.

    Yields:
        Nothing; one that waited may find the folder there.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    with locked(final.with_name(f".{final.name}.lock")) as alone:
        for path in final.parent.glob(f".{final.name}.*{STAGING_SUFFIX}") if alone else ():
            shutil.rmtree(path, ignore_errors=True)
        yield


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

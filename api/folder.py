"""The data folder of the service. Every name in it is made here; nothing a client sends becomes part of a path.

::

    incoming/<id>/         an upload that is not accepted yet; swept when a server starts
    slides/<id>/           an accepted slide, alone in its folder
    stages/                tiles and embeddings by fingerprint, kept for the next job on the same slide
    work/<job>/            of a cohort, what is done so far; the next attempt goes on from there
    work/<job>.<token>/    one attempt at another job; of no meaning once it has ended
    results/<job>.<token>/ a committed result; the job's row names the one that counts
    quarantine/            slides that crashed their decoders, by content; an operator may remove entries
"""

from __future__ import annotations

import fcntl
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from api.errors import NotFoundError
from api.jobs import ACTIVE, Job, JobStore
from tiling.commit import sync

OWNER_ONLY = 0o700
ABANDONED_SECONDS = 86_400
"""No stage of one slide takes a day: whoever began it is gone."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The folder and the places in it."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> DataFolder:
        """Create what is missing.

        Args:
            root: The data folder.

        Returns:
            The folder, with an absolute root.
        """
        folder = cls(root.absolute())
        for name in ("incoming", "slides", "stages", "work", "results", "quarantine"):
            (folder.root / name).mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        folder.root.chmod(OWNER_ONLY)
        return folder

    def new_incoming(self) -> Path:
        """An empty folder for an upload; its name becomes the slide's id.

        Returns:
            The folder.
        """
        path = self.root / "incoming" / f"slide-{secrets.token_hex(12)}"
        path.mkdir(mode=OWNER_ONLY)
        return path

    def settle(self, incoming: Path) -> None:
        """Write an upload through to the disk, wherever it stands.

        Args:
            incoming: The folder of the upload.
        """
        for path in (*incoming.iterdir(), incoming):
            sync(path)

    def accept(self, incoming: Path) -> Path:
        """Move an upload to the slides, in one step; `seal` makes the step durable.

        Args:
            incoming: The folder of the upload, which `settle` has made durable.

        Returns:
            The slide's folder.
        """
        return incoming.rename(self.slide(incoming.name))

    def seal(self) -> None:
        """Make durable which slides there are."""
        sync(self.root / "slides")

    def drop_slide(self, identity: str) -> None:
        """Remove an accepted slide that the database does not know."""
        shutil.rmtree(self.slide(identity), ignore_errors=True)

    def sweep(self) -> TextIO | None:
        """Remove uploads that an earlier server did not finish, unless another server uses this folder.

        Returns:
            What holds the folder as long as it is open; None if another server holds it.
        """
        lock = (self.root / "server.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return None
        for leftover in (self.root / "incoming").iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
        return lock

    def sweep_work(self, jobs: JobStore) -> None:
        """Remove what workers that died have left and nobody will ask for.

        Args:
            jobs: Says which jobs are still running, and which results count.
        """
        for path in (*(self.root / "work").iterdir(), *(self.root / "results").iterdir()):
            identity, _, rest = path.name.lstrip(".").partition(".")
            token = rest.partition(".")[0]  # of `.<job>.<token>.<random>.staging` too: a result under way
            try:
                job = jobs.get(identity)
            except NotFoundError:
                continue
            in_hand = job.state in ACTIVE and token in {"", str(job.token)}
            if not in_hand and path.name != job.result:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.stages.glob(".*.staging"):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

    def clear_work(self, job: Job) -> None:
        """Remove what all attempts at a job have left.

        Args:
            job: A job that has ended.
        """
        for path in (self.root / "work").glob(f"{job.id}*"):
            shutil.rmtree(path, ignore_errors=True)

    def drop_result(self, name: str) -> None:
        """Remove a result that does not count."""
        shutil.rmtree(self.result(name), ignore_errors=True)

    def slide(self, identity: str) -> Path:
        """The folder of an accepted slide."""
        return self.root / "slides" / identity

    @property
    def quarantine(self) -> Path:
        """The folder in which slides are remembered that crashed their decoders."""
        return self.root / "quarantine"

    @property
    def stages(self) -> Path:
        """The folder of tiles and embeddings."""
        return self.root / "stages"

    def work(self, job: Job) -> Path:
        """The folder in which a job is done."""
        return self.root / "work" / (job.id if job.kind == "cohort" else f"{job.id}.{job.token}")

    def new_result(self, job: Job) -> Path:
        """Where this attempt puts its result."""
        return self.root / "results" / f"{job.id}.{job.token}"

    def result(self, name: str) -> Path:
        """The folder of a committed result."""
        return self.root / "results" / name

"""Slides that clients sent: received into a folder aside, looked at in a process of its own, then kept or forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, select

import slides.errors
from api.database import Database, now
from api.database import slides as table
from api.errors import NotFoundError, UnknownSlideError, UploadError
from api.folder import DataFolder
from api.settings import Settings
from slides import SlideError

SLOWEST_DISK: Final = 20e6
"""Bytes a second: the inspection reads the whole file, so a larger one gets more time."""
GRACE_SECONDS: Final = 5.0
"""The process ends itself when its time is up; if it cannot even do that, it is killed so much later."""
INSPECTOR: Final = (sys.executable, "-P", "-m", "api.inspector")
NO_ANSWER: Final = "the file cannot be read as a slide: its reader crashed, or needed too much time or memory"


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """One row of the slide table."""

    id: str
    name: str
    bytes: int
    sha256: str
    info: dict[str, Any]
    created: float


COLUMNS: Final = tuple(table.c[name] for name in SlideRecord.__slots__)


class SlideStore:
    """Accepted slides.

    Args:
        database: The database.
        folder: The data folder.
        settings: Limits of the inspection.
    """

    def __init__(self, database: Database, folder: DataFolder, settings: Settings) -> None:
        """Keep where things are."""
        self.database = database
        self.folder = folder
        self.settings = settings

    def get(self, identity: str) -> SlideRecord:
        """Read one slide's row.

        Args:
            identity: The slide's id.

        Returns:
            The slide.

        Raises:
            NotFoundError: If there is none.
        """
        with self.database.read() as connection:
            row = connection.execute(select(*COLUMNS).where(table.c.id == identity)).mappings().one_or_none()
        if row is None:
            raise NotFoundError("there is no slide with this id")
        return SlideRecord(**row)

    def require(self, identities: set[str]) -> None:
        """Check that all slides of a job are there.

        Args:
            identities: Ids of slides.

        Raises:
            UnknownSlideError: If one is not.
        """
        with self.database.read() as connection:
            for identity in identities:
                if connection.scalar(select(table.c.seq).where(table.c.id == identity)) is None:
                    raise UnknownSlideError(f"there is no slide {identity}; upload it first")

    def path(self, slide: SlideRecord) -> Path:
        """The file of an accepted slide."""
        return self.folder.slide(slide.id) / slide.name

    def accept(self, incoming: Path, sha256: str) -> SlideRecord:
        """Keep an upload if it is a slide; a `SlideError` says why it is not.

        Args:
            incoming: The folder made by `DataFolder.new_incoming`, with the one file `upload` in it.
            sha256: Digest of the file, 64 hex digits.

        Returns:
            The accepted slide.
        """
        file = incoming / "upload"
        named = file.rename(incoming / server_name(file))
        info = look_at(named, self.settings)
        values = {
            "id": incoming.name,
            "name": named.name,
            "bytes": named.stat().st_size,
            "sha256": sha256,
            "info": info,
        }
        with self.database.write() as connection:
            row = connection.execute(insert(table).values(**values, created=now()).returning(*COLUMNS)).mappings().one()
            self.folder.accept(incoming)
        return SlideRecord(**row)


def server_name(file: Path) -> str:
    """A name for an upload, made of its first bytes: some readers ask the suffix first.

    Args:
        file: The upload.

    Returns:
        `slide.tiff`, `slide.dcm` or `slide.bin`.
    """
    with file.open("rb") as stream:
        head = stream.read(132)
    if head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "slide.tiff"
    return "slide.dcm" if head[128:] == b"DICM" else "slide.bin"


def look_at(file: Path, settings: Settings) -> dict[str, Any]:
    """Open an upload in a process of its own.

    Args:
        file: The upload.
        settings: How much memory and time the process may take.

    Returns:
        The slide's information, as `SlideInfo.to_json` gives it.

    Raises:
        UploadError: If the process was ended before it could answer.
    """
    seconds = settings.inspect_seconds + file.stat().st_size / SLOWEST_DISK
    order = {"path": str(file), "memory_bytes": settings.inspect_memory_bytes, "seconds": seconds}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module; the upload's place goes through a pipe
            INSPECTOR,
            input=json.dumps(order) + "\n",
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_SECONDS,
            check=True,
        )
        answer = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        raise UploadError(NO_ANSWER) from error
    if "info" not in answer:
        kind: type[SlideError] = getattr(slides.errors, answer["error"])
        raise kind(answer["detail"])
    return dict(answer["info"])

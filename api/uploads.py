"""Slides that clients sent: received into a folder aside, looked at in isolation, then kept or forgotten."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, select

from api.database import Database, now
from api.database import slides as table
from api.errors import NotFoundError, UnknownSlideError, UploadError
from api.folder import DataFolder
from api.settings import Settings
from slides import Address, SlideCrashedError, open_slide
from slides.jail import keeper
from slides.jail.spec import Jail

PREVIEW_PX: Final = 64
"""A thumbnail this small still decodes all of the coarsest level, so a slide that opens but cannot be read shows."""
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

    @property
    def jail(self) -> Jail:
        """Limits of the processes in which slides of clients are decoded; the service reads none elsewhere."""
        return Jail(quarantine=str(self.folder.quarantine))

    def address(self, slide: SlideRecord, mpp0: float | None) -> Address:
        """Where an accepted slide is read from.

        Args:
            slide: The slide.
            mpp0: Micrometres per pixel of level 0, or None to trust the header.

        Returns:
            The address, with its jail.
        """
        return replace(Address.of(self.path(slide), mpp0), jail=self.jail)

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
        info = look_at(named, self.settings, self.folder.quarantine)
        values = {
            "id": incoming.name,
            "name": named.name,
            "bytes": named.stat().st_size,
            "sha256": sha256,
            "info": info,
        }
        self.folder.settle(incoming)  # takes long for a large file, so nobody may be waiting for the database meanwhile
        query = insert(table).values(**values, created=now()).returning(*COLUMNS)
        try:
            with self.database.write() as connection:
                row = connection.execute(query).mappings().one()
                self.folder.accept(incoming)
        except BaseException:  # nobody was told the id: what is not in the table is not kept
            self.folder.drop_slide(incoming.name)
            raise
        self.folder.seal()
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


def look_at(file: Path, settings: Settings, quarantine: Path) -> dict[str, Any]:
    """Open an upload in isolation and read a little of it.

    Args:
        file: The upload.
        settings: How much memory and time its decoder may take.
        quarantine: Where deaths of decoders are remembered.

    Returns:
        The slide's information, as `SlideInfo.to_json` gives it.

    Raises:
        UploadError: If the decoder was ended before it could answer.
    """
    jail = Jail(settings.inspect_memory_bytes, settings.inspect_seconds, quarantine=str(quarantine))
    try:
        with open_slide(replace(Address.of(file), jail=jail)) as slide:
            slide.thumbnail(PREVIEW_PX)
            return slide.info.to_json()
    except SlideCrashedError as error:
        raise UploadError(NO_ANSWER) from error
    finally:
        keeper.clear()  # the file is about to move or to go

"""The catalogue of an index: which slides it holds. Replaced by rename, so a reader sees the old one or the new one.

::

    INDEX/
        index.json               the catalogue, with a digest of itself
        segments/<fingerprint>/  one for each slide, see `foundation.index.segment`
        approximate/<name>/      an approximate index, where one was built
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from foundation.embeddings import NOTICE
from foundation.errors import IndexStoreError
from tiling.commit import no_space, sync

KIND: Final = "oncoscope-search-index"
FORMAT: Final = 1
NAME: Final = "index.json"
SEGMENTS: Final = "segments"
APPROXIMATE: Final = "approximate"
IDENTITY: Final = ("key", "family", "weights_digest", "preprocessing_digest")
"""What an encoder is known by."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One slide of an index."""

    slide: str
    """Its pseudonym."""
    segment: str
    """Name of its segment."""
    manifest: str
    """Digest of the segment's manifest."""
    content_hash: str
    """Of the slide."""
    embeddings: str
    """Fingerprint of the store that the rows come from."""
    tiles: int
    extent: tuple[float, float]
    """Width and height of a tile in level-0 pixels."""
    columns: dict[str, str] = field(default_factory=dict)
    """What the cohort's table says of the slide."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What an index holds."""

    encoder: dict[str, str]
    """`IDENTITY` of the encoder that made all its features."""
    dim: int
    mpp: float
    """Scale of all its tiles in um/px."""
    tissue_head: str | None
    """Digest of the tissue head whose shares are indexed, None where it does not read this encoder."""
    entries: tuple[Entry, ...] = ()
    approximate: tuple[str, str] | None = None
    """Name of the folder of the approximate index, and digest of its manifest."""
    generation: int = 0
    """Raised with every change."""

    def changed(self, **fields: Any) -> Self:  # noqa: ANN401 - of any type
        """The next catalogue.

        Args:
            **fields: What is different.

        Returns:
            A copy.
        """
        return replace(self, generation=self.generation + 1, **fields)


def exists(path: Path) -> bool:
    """Whether an index stands at a path, whole or damaged.

    Args:
        path: Any path.

    Returns:
        True where a catalogue is.
    """
    return (path / NAME).is_file()


def read_catalogue(path: Path) -> Catalogue:
    """Read the catalogue of an index.

    Args:
        path: The index.

    Returns:
        The catalogue.

    Raises:
        IndexStoreError: If there is none, or it is not what was written.
    """
    try:
        text = (path / NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IndexStoreError("No search index stands at this place.") from error
    try:
        document: dict[str, Any] = json.loads(text)
        said, kind, version = (document.pop(name) for name in ("self", "kind", "format"))
        document.pop("notice")
        if said != _digest(document) or kind != KIND:
            raise IndexStoreError("The index is damaged: its catalogue is altered.")
        if version != FORMAT:
            raise IndexStoreError("The index was made by another version; make it again.")
        entries = tuple(Entry(**{**entry, "extent": tuple(entry["extent"])}) for entry in document.pop("entries"))
        built = document.pop("approximate")
        return Catalogue(**document, entries=entries, approximate=built and (built[0], built[1]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexStoreError("The index is damaged: its catalogue is altered.") from error


def write_catalogue(path: Path, catalogue: Catalogue) -> None:
    """Put a catalogue in place of the present one, durably.

    Args:
        path: The index.
        catalogue: The new one.
    """
    document = asdict(catalogue)
    said = {"kind": KIND, "format": FORMAT, "notice": NOTICE, "self": _digest(document)}
    aside = path / f".{NAME}.new"
    with no_space():
        aside.write_text(json.dumps({**said, **document}, indent=1, sort_keys=True), encoding="utf-8")
        sync(aside)
        os.replace(aside, path / NAME)  # noqa: PTH105 - the rename is the commit
    sync(path)


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

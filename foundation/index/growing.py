"""An index grows by slides and loses slides. Both end in one rename, so a killed run leaves the index as it was."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import Embeddings
from foundation.errors import ContractError, FoundationError, IndexStoreError, QueryError
from foundation.index import segment as layout
from foundation.index.catalogue import (
    APPROXIMATE,
    IDENTITY,
    SEGMENTS,
    Catalogue,
    Entry,
    exists,
    read_catalogue,
    write_catalogue,
)
from foundation.index.quantise import unit_rows
from foundation.tissue import TissueHead
from tiling.commit import is_committed, read_manifest, staged
from tiling.errors import StoreError
from tiling.fingerprint import fingerprint
from tiling.lock import locked

LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class IndexSlide:
    """A slide to be indexed."""

    slide: str
    """Its pseudonym."""
    embeddings: Path
    """Its embeddings store."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What the cohort's table says of it."""


@dataclass(frozen=True, slots=True)
class IndexOutcome:
    """What became of one slide."""

    slide: str
    state: str
    """`added`, `replaced`, `unchanged` or `failed`; `unchanged` also where only its columns are new."""
    tiles: int = 0
    error: FoundationError | StoreError | None = None


def grow(path: Path, slides: Sequence[IndexSlide], mpp: float | None = None) -> tuple[IndexOutcome, ...]:
    """Add slides to an index, or make one. A slide that is in it already costs nothing.

    Args:
        path: The index; made where there is none.
        slides: The slides; one that cannot be added does not stop the others.
        mpp: Scale of the tiles in um/px; None for that of the index, or for the finest of the first slide.

    Returns:
        One outcome a slide, in order.
    """
    with alone(path):
        before = read_catalogue(path) if exists(path) else None
        growing = _Growing(path, before, mpp)
        outcomes = tuple(growing.add(slide) for slide in slides)
        if growing.catalogue is not None and growing.changed:
            write_catalogue(path, growing.catalogue.changed(entries=tuple(growing.entries)))
        if growing.catalogue is not None:
            sweep(path)
    return outcomes


def remove(path: Path, slides: Collection[str]) -> None:
    """Take slides out of an index, and their rows off the disk; so an approximate index, which holds them, goes too.

    Args:
        path: The index.
        slides: Their pseudonyms.

    Raises:
        QueryError: If one is not in the index; nothing is removed then.
    """
    with alone(path):
        catalogue = read_catalogue(path)
        unknown = sorted(set(slides) - {entry.slide for entry in catalogue.entries})
        if unknown:
            raise QueryError(f"The index has no slide {unknown[0][:80]!r}; nothing was removed.")
        kept = tuple(entry for entry in catalogue.entries if entry.slide not in slides)
        write_catalogue(path, catalogue.changed(entries=kept, approximate=None))
        sweep(path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one that writes; others wait.

    Args:
        path: The index; its folder is made.

    Yields:
        Nothing.

    Raises:
        IndexStoreError: If nothing can be written there, or the file system has no locks.
    """
    with ExitStack() as stack:
        stack.callback(_leave_no_empty, path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            alone = stack.enter_context(locked(path / LOCK))
        except OSError as error:
            raise IndexStoreError("No folder for the index can be made, or written to, at this place.") from error
        if not alone:
            raise IndexStoreError("This file system has no locks, so two runs could damage the index.")
        yield


def _leave_no_empty(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()


def sweep(path: Path) -> None:
    """Remove what the catalogue does not name: removed slides, and what killed runs left.

    Args:
        path: The index.
    """
    catalogue = read_catalogue(path)
    named = {SEGMENTS: {entry.segment for entry in catalogue.entries}}
    named[APPROXIMATE] = {catalogue.approximate[0]} if catalogue.approximate else set()
    for below, names in named.items():
        if not (path / below).is_dir():
            continue
        for folder in (path / below).iterdir():
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)


class _Growing:
    """The next catalogue of an index, as far as it is known."""

    def __init__(self, path: Path, before: Catalogue | None, mpp: float | None) -> None:
        self.path = path
        self.catalogue = before
        self.entries = list(before.entries) if before else []
        self.changed = False
        self._mpp = mpp
        self._seen: dict[str, str] = {}

    def add(self, slide: IndexSlide) -> IndexOutcome:
        """Add one slide.

        Args:
            slide: The slide.

        Returns:
            What became of it.
        """
        try:
            return self._add(slide, Embeddings.open(slide.embeddings))
        except (FoundationError, StoreError) as error:
            return IndexOutcome(slide.slide, "failed", error=error)

    def _add(self, slide: IndexSlide, embeddings: Embeddings) -> IndexOutcome:
        self._require_new(slide, embeddings)
        catalogue = self.catalogue or _begin(embeddings, self._mpp)
        _require_fit(catalogue, embeddings, self._mpp)
        entry = self._entry(catalogue, slide, embeddings)
        same = [n for n, old in enumerate(self.entries) if entry.slide == old.slide]
        same += [n for n, old in enumerate(self.entries) if entry.content_hash == old.content_hash and n not in same]
        old = self.entries[same[0]] if same else None
        state = "added" if old is None else ("unchanged" if old.segment == entry.segment else "replaced")
        if old is None:
            self.entries.append(entry)
        else:
            self.entries[same[0]] = entry
            for number in same[1:]:
                del self.entries[number]
        self.catalogue, self.changed = catalogue, self.changed or entry != old
        return IndexOutcome(slide.slide, state, entry.tiles)

    def _require_new(self, slide: IndexSlide, embeddings: Embeddings) -> None:
        """Refuse a slide that the same table holds twice.

        Raises:
            ContractError: If it does.
        """
        content = embeddings.slide["content_hash"]
        if slide.slide in self._seen.values():
            raise ContractError(f"Two slides are called {slide.slide!r}.")
        twin = self._seen.setdefault(content, slide.slide)
        if twin != slide.slide:
            raise ContractError(f"This slide shows the same pixels as {twin!r}, so its tiles would be found twice.")

    def _entry(self, catalogue: Catalogue, slide: IndexSlide, embeddings: Embeddings) -> Entry:
        content = embeddings.slide["content_hash"]
        name = fingerprint(
            kind=layout.KIND,
            format=layout.FORMAT,
            slide=content,
            embeddings=embeddings.fingerprint,
            mpp=catalogue.mpp,
            tissue_head=catalogue.tissue_head,
        )
        folder = self.path / SEGMENTS / name
        if not is_committed(folder):
            _write(folder, catalogue, embeddings)
        return Entry(
            slide=slide.slide,
            segment=name,
            manifest=read_manifest(folder)["self"],
            content_hash=content,
            embeddings=embeddings.fingerprint,
            tiles=embeddings.count(catalogue.mpp),
            extent=embeddings.extent(catalogue.mpp),
            columns=dict(slide.columns),
        )


def _begin(embeddings: Embeddings, mpp: float | None) -> Catalogue:
    zoom = embeddings.zooms[0] if mpp is None else mpp
    return Catalogue(
        encoder={name: str(embeddings.encoder[name]) for name in IDENTITY},
        dim=embeddings.features(zoom).shape[1],
        mpp=zoom,
        tissue_head=_head_digest(embeddings, zoom),
    )


def _head_digest(embeddings: Embeddings, mpp: float) -> str | None:
    """Of the tissue head that reads these features; None where none does."""
    try:
        return TissueHead.fitting(embeddings, mpp).weights_digest
    except ContractError:
        return None


def _require_fit(catalogue: Catalogue, embeddings: Embeddings, mpp: float | None) -> None:
    """Refuse features that cannot stand in one index.

    Raises:
        ContractError: If another encoder made them, or another scale is asked for.
    """
    if {name: str(embeddings.encoder[name]) for name in IDENTITY} != catalogue.encoder:
        raise ContractError(
            f"The index holds features of encoder {catalogue.encoder['key']!r}; these are of"
            f" {embeddings.encoder['key']!r}, or made with other weights or preprocessing."
        )
    if mpp is not None and mpp != catalogue.mpp:
        raise ContractError(f"The index holds tiles at {catalogue.mpp:g} um/px, not at {mpp:g}.")
    embeddings.count(catalogue.mpp)
    if catalogue.tissue_head not in {None, _head_digest(embeddings, catalogue.mpp)}:
        raise ContractError("The index was made with another tissue head; make it anew.")


def _write(folder: Path, catalogue: Catalogue, embeddings: Embeddings) -> None:
    features = embeddings.features(catalogue.mpp)
    tiles: dict[str, NDArray[Any]] = {"coords": embeddings.coords(catalogue.mpp).astype(np.int64)}
    if catalogue.tissue_head is not None:
        tiles["tissue"] = TissueHead.fitting(embeddings, catalogue.mpp).shares(features)
    about = {"kind": layout.KIND, "fingerprint": folder.name, "embeddings": embeddings.fingerprint}
    with staged(folder, **about) as staging:
        layout.write_segment(staging, unit_rows(features), tiles)

"""The biomarker card: everything that defines a biomarker, in one strict TOML file.

Adding a biomarker is adding a card to `biomarkers/cards/`, or passing the path of one. What a result means is decided
here and nowhere else: scale, encoder, head, gates, cut-offs, intended use and limits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Final

from biomarkers.criteria import PER_MM2, Cells, Cutoffs, Gates
from biomarkers.errors import CardError, UnknownBiomarkerError
from biomarkers.strict import build, nearest, require
from tiling import TileSpec

CARDS: Final = Path(__file__).parent / "cards"
SCORES: Final = {"composition": ("immune_share", "tumour_stroma_ratio"), "mil": ("probability",)}
"""What `score` may be, for every kind."""
NOTICE: Final = "Research use only. Not for diagnosis."
DEMONSTRATION: Final = "Demonstration: says nothing about any patient."
ENTRY_POINTS: Final = "oncoscope.biomarkers"
"""Where other distributions list cards: `name = "package:card.toml"`."""
UNCUT: Final = "uncut"
"""The category of a biomarker without cut-offs."""


@dataclass(frozen=True)
class Biomarker:
    """A card. Travels between processes; `digest` names its whole content."""

    name: str
    version: str
    title: str
    kind: str
    """`composition` (shares of tissue classes) or `mil` (a trained multiple-instance head)."""
    score: str
    """Which measure is the score: see `SCORES`."""
    score_label: str
    """The score in words, for reports."""
    intended_use: str
    demonstration: bool
    """True prints "demonstration" on every output."""
    encoder: str
    zooms: tuple[float, ...]
    """Micrometres per pixel, finest first."""
    px: int
    gates: Gates
    limits: tuple[str, ...]
    """What the score cannot do, one sentence each."""
    citations: tuple[str, ...] = ()
    surrogate: str | None = None
    """Why the measures must not be compared with published ones that have the same name."""
    head: str | None = None
    """Folder of a saved mil fit, beside the card."""
    cells: Cells = PER_MM2
    cutoffs: Cutoffs | None = None
    folder: str | None = None
    """Where the card stands; None for the cards of this distribution, which every process finds by itself."""

    def __post_init__(self) -> None:
        """Check everything that a type cannot say."""
        for check in (_check_names, _check_kind, _check_tiles, _check_cells):
            check(self)

    @property
    def head_dir(self) -> Path:
        """Folder of the saved fit.

        Raises:
            CardError: If the card names no head.
        """
        if self.head is None:
            raise CardError(f"the card {self.name} names no head")
        return (CARDS if self.folder is None else Path(self.folder)) / self.head

    @property
    def specs(self) -> tuple[TileSpec, ...]:
        """The tiles this biomarker looks at, finest zoom first."""
        return tuple(TileSpec(mpp=mpp, px=self.px) for mpp in self.zooms)

    @property
    def reference(self) -> dict[str, object]:
        """`name`, `version`, `title` and `demonstration`, for results."""
        return {"name": self.name, "version": self.version, "title": self.title, "demonstration": self.demonstration}

    @property
    def notice(self) -> str:
        """The sentence that every output carries."""
        return f"{DEMONSTRATION} {NOTICE}" if self.demonstration else NOTICE

    def digest(self) -> str:
        """SHA-256, 64 hex digits, of the card and of the weights and record of its head."""
        document = {key: value for key, value in dataclasses.asdict(self).items() if key != "folder"}
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
        files = [] if self.head is None else sorted(self.head_dir.glob("head.*"))  # its model card may be reworded
        for path in files:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def category(self, score: float) -> str:
        """The category of a score.

        Args:
            score: The score, without unit.

        Returns:
            The name of the category, or `UNCUT` for a card without cut-offs.
        """
        return UNCUT if self.cutoffs is None else self.cutoffs.category(score)


def load_card(name: str | Path) -> Biomarker:
    """Read a card.

    Args:
        name: The name of a card of this or another distribution, or the path of a TOML file.

    Returns:
        The biomarker.

    Raises:
        UnknownBiomarkerError: If no card and no file has this name. A card that breaks the rules is a `CardError`.
    """
    known = {path.stem: path for path in CARDS.glob("*.toml")}
    if str(name) in known:
        return _read(known[str(name)], folder=None)
    plugged = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    path = _card_of(plugged[str(name)]) if str(name) in plugged else Path(name)
    if path.suffix == ".toml" and path.is_file():
        return _read(path, folder=str(path.parent.absolute()))
    raise UnknownBiomarkerError(f'there is no biomarker "{path.name}"{nearest(path.stem, [*known, *plugged])}')


def list_cards() -> tuple[Biomarker, ...]:
    """All cards that have a name, those of other distributions too.

    Returns:
        The biomarkers, by name.
    """
    names = {path.stem for path in CARDS.glob("*.toml")} | entry_points(group=ENTRY_POINTS).names
    return tuple(load_card(name) for name in sorted(names))


def _card_of(entry: EntryPoint) -> Path:
    """The card that another distribution lists.

    Raises:
        CardError: If its package is not there.
    """
    try:
        return Path(str(files(entry.module).joinpath(entry.attr)))
    except ImportError as error:
        raise CardError(f'the distribution that lists the biomarker "{entry.name}" is damaged') from error


def _read(path: Path, folder: str | None) -> Biomarker:
    """Parse one file.

    Raises:
        CardError: If it is not TOML, or names the folder it stands in.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"the card is not valid TOML: {error}") from None
    if "folder" in table:
        raise CardError('"folder" is where the card stands and is not written in it')
    return dataclasses.replace(build(Biomarker, table, "the card"), folder=folder)


def _check_names(card: Biomarker) -> None:
    require(
        re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", card.name) is not None,
        "name must be lower-case words joined by hyphens",
    )
    require(re.fullmatch(r"\d+\.\d+\.\d+", card.version) is not None, "version must be three numbers, as in 1.0.0")
    texts = (card.title, card.score_label, card.intended_use, card.encoder, *card.limits)
    require(all(text.strip() for text in texts), "no text of the card may be empty")
    require(bool(card.limits), "limits must name at least one limit")


def _check_kind(card: Biomarker) -> None:
    require(card.kind in SCORES, f'kind "{card.kind}" is unknown{nearest(card.kind, list(SCORES))}')
    known = SCORES[card.kind]
    require(card.score in known, f'score "{card.score}" is unknown for {card.kind}{nearest(card.score, list(known))}')
    require((card.kind == "mil") == (card.head is not None), "a card of kind mil, and no other, names a head")
    require(
        card.head is None or re.fullmatch(r"[\w-]+", card.head) is not None, "head must be a folder beside the card"
    )


def _check_tiles(card: Biomarker) -> None:
    require(all(0.05 <= mpp <= 20.0 for mpp in card.zooms), "zooms must lie between 0.05 and 20 um/px")
    require(
        bool(card.zooms) and all(a < b for a, b in pairwise(card.zooms)), "zooms must be given, finest first, each once"
    )
    require(card.kind == "mil" or len(card.zooms) == 1, "a composition is measured at one zoom")
    require(32 <= card.px <= 1024, "px must lie between 32 and 1024")


def _check_cells(card: Biomarker) -> None:
    tile_mm = card.px * max(card.zooms) / 1000
    fits = math.sqrt(card.cells.area_mm2) >= tile_mm
    require(fits or card.kind == "mil", "a cell must not be smaller than a tile")

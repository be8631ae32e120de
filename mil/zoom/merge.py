"""Parts of one slide that different people made, at tissue, structure and cell zoom, merged by place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import Embeddings
from mil.bag import Bag, bag_from_embeddings, coarser_part
from mil.errors import BagError
from mil.zoom.place import Extent, holders
from mil.zoom.plan import Zoom, ZoomPlan
from slides import SlideInfo

LEAST_SHARED = 0.5
"""Parts of one slide meet: of the tiles of one of two zooms at least so many lie where the other has tiles."""


@dataclass(frozen=True, eq=False)
class ZoomPart:
    """One zoom of one slide, by whoever made it."""

    bag: Bag
    """Of one zoom; its `id` names the slide."""
    extent: Extent
    """Width and height of a tile, level-0 pixels."""


@dataclass(frozen=True, eq=False)
class ZoomBag:
    """The zooms of one slide, joined by place; `merge_zooms` makes it."""

    parts: tuple[ZoomPart, ...]
    """Finest first."""
    parents: tuple[NDArray[np.int64], ...]
    """For each part but the coarsest: row of the next coarser part that holds each tile, -1 where there is none."""

    @property
    def plan(self) -> ZoomPlan:
        """The zooms that are there."""
        return ZoomPlan(tuple(Zoom(p.bag.mpp[0], p.bag.encoder, p.bag.features.shape[1]) for p in self.parts))

    def packed(self, plan: ZoomPlan | None = None) -> Bag:
        """All tiles of all zooms as one bag, for the head `zooms`.

        Args:
            plan: What the head was fitted to; the zooms that are there if None. Zooms of it may be absent.

        Returns:
            Rows of the plan, finest zoom first; each has the corner of its own tile. A part that is not in the plan is
            a `BagError`.
        """
        plan = plan or self.plan
        bags = [part.bag for part in self.parts]
        return replace(
            bags[0],
            features=np.concatenate([plan.rows(plan.slot(bag), bag.features) for bag in bags]),
            coords=np.concatenate([bag.coords for bag in bags]),
            encoder=plan.encoder,
            mpp=plan.mpp,
        )

    def early(self) -> Bag:
        """Each fine tile with the coarser ones that hold it, as `bag_from_embeddings` joins them.

        Returns:
            Tiles of the finest zoom; features [N, D1 (+ D2 + 1 ...)], 0 and a 0 behind them where a parent is missing.
        """
        fine, *coarser = (part.bag for part in self.parts)
        columns = [fine.features]
        for position, bag in enumerate(coarser, 1):
            columns += coarser_part(bag.features, self.above(position))
        names = list(dict.fromkeys(part.bag.encoder for part in self.parts))
        encoder = names[0] if len(names) == 1 else self.plan.encoder
        return replace(fine, features=np.concatenate(columns, axis=1), encoder=encoder, mpp=self.plan.mpp)

    def above(self, position: int) -> NDArray[np.int64]:
        """Follow the parents from the finest part.

        Args:
            position: Of a part, from 0.

        Returns:
            For each tile of the finest part the row of that part, -1 where there is none.
        """
        index = np.arange(len(self.parts[0].bag), dtype=np.int64)
        for parent in self.parents[:position]:
            index = np.append(parent, -1)[index]  # so that index -1 stays -1
        return index

    def on_finest(self, values: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
        """Bring one value a tile of every zoom, such as three people's maps, to the places of the finest.

        Args:
            values: [N_s] for each part.

        Returns:
            [N, parts], NaN where a zoom has no tile at the place.

        Raises:
            BagError: A part has another number of values than tiles.
        """
        for row, (part, own) in enumerate(zip(self.parts, values, strict=True)):
            if len(own) != len(part.bag):
                raise BagError(f"Part {row} has {len(part.bag)} tiles and {len(own)} values.")
        columns = [np.append(np.asarray(own, np.float64), np.nan)[self.above(row)] for row, own in enumerate(values)]
        return np.stack(columns, axis=1)


def part_of(embeddings: Embeddings, mpp: float, slide: str | None = None) -> ZoomPart:
    """Take one zoom of one person's embeddings.

    Args:
        embeddings: Of a slide.
        mpp: Which zoom, um/px.
        slide: What the slide is called; the pseudonym of its content if None, the same whoever embedded it.

    Returns:
        The part.
    """
    name = slide or SlideInfo.from_json(embeddings.slide).pseudonym
    return ZoomPart(bag_from_embeddings(embeddings, [mpp], id=name), embeddings.extent(mpp))


def merge_zooms(parts: Sequence[ZoomPart]) -> ZoomBag:
    """Merge zooms by place; encoders, widths and grids may differ, and tiles may be missing at any zoom.

    Args:
        parts: One a zoom, in any order.

    Returns:
        The merged slide.

    Raises:
        BagError: There is no part, one is of several zooms, of another slide or another patient, or two neighbouring
            zooms hardly meet: pixels were counted from another corner or at another scale.
    """
    if not parts or any(len(part.bag.mpp) != 1 or min(part.extent) <= 0 for part in parts):
        raise BagError("Each part to merge must be of one zoom, with tiles that have a size.")
    for row, part in enumerate(parts):
        if (part.bag.id, part.bag.patient, part.bag.label) != (
            parts[0].bag.id,
            parts[0].bag.patient,
            parts[0].bag.label,
        ):
            raise BagError(f"Part {row} is of another slide or patient than part 0, or has another label.")
    ordered = tuple(sorted(parts, key=lambda part: part.bag.mpp))
    merged = ZoomBag(ordered, tuple(_parents(fine, coarse) for fine, coarse in pairwise(ordered)))
    merged.plan.slot(ordered[0].bag)
    return merged


def _parents(fine: ZoomPart, coarse: ZoomPart) -> NDArray[np.int64]:
    """Join two neighbouring zooms.

    Raises:
        BagError: They hardly meet.
    """
    found = holders(fine.bag.coords, fine.extent, coarse.bag.coords, coarse.extent)
    held, holding = (found >= 0).mean(), len(np.unique(found[found >= 0])) / len(coarse.bag)
    if max(held, holding) < LEAST_SHARED:
        raise BagError(
            f"Of the tiles at {fine.bag.mpp[0]:g} um/px {held:.0%} lie in one at {coarse.bag.mpp[0]:g} um/px:"
            " the places do not match."
        )
    return found

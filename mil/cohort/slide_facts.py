"""What a file of bags says of its slides: where each begins, names, encoder, zooms and labels, each checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.cohort.archive import Archive
from mil.errors import BagError, CohortError, EmptyBagError

MAX_TEXT: Final = 256
"""Characters of a pseudonym or an encoder's name."""


def read_offsets(archive: Archive, count: int) -> NDArray[np.int64]:
    """Read where each slide begins.

    Args:
        archive: The file.
        count: Its number of tiles.

    Returns:
        int64 [slides + 1], from 0 to `count`.

    Raises:
        CohortError: They do not ascend from 0 to the number of tiles.
        EmptyBagError: A slide has no tile; names it.
    """
    offsets = archive.small("offsets", "i", (1,)).astype(np.int64)
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != count:
        raise CohortError(f"The array offsets must begin with 0 and end with the number of tiles, {count}.")
    down, empty = offsets[1:] < offsets[:-1], offsets[1:] == offsets[:-1]
    if down.any():
        raise CohortError(f"The array offsets does not ascend at slide {down.argmax()} (counted from 0).")
    if empty.any():
        raise EmptyBagError(f"Slide {empty.argmax()} (counted from 0) has no tile; leave it out of the file.")
    return offsets


def read_ids(archive: Archive, slides: int) -> tuple[str, ...]:
    """Read the names of the slides.

    Args:
        archive: The file.
        slides: How many there are.

    Returns:
        One pseudonym a slide; its number from 0 where the file has none.

    Raises:
        CohortError: There are more or fewer than slides.
    """
    if "slide_id" not in archive:
        return tuple(str(row) for row in range(slides))
    ids = tuple(archive.small("slide_id", "U", (1,)).tolist())
    if len(ids) != slides:
        raise CohortError(f"The array slide_id names {len(ids)} slides; offsets has {slides}.")
    require_names(ids)
    return ids


def require_names(ids: Sequence[str]) -> None:
    """See that each slide has a name of its own.

    Args:
        ids: One a slide.

    Raises:
        CohortError: One is empty, too long, unprintable, or that of an earlier slide; names the slides.
    """
    seen: dict[str, int] = {}
    for row, name in enumerate(ids):
        if not name or len(name) > MAX_TEXT or not name.isprintable():
            raise CohortError(f"The name of slide {row} (counted from 0) is empty, too long or not printable.")
        if seen.setdefault(name, row) != row:
            raise CohortError(f"Slides {seen[name]} and {row} (counted from 0) have the same name.")


def read_encoder(archive: Archive, slides: int) -> str:
    """Read what made the features.

    Args:
        archive: The file.
        slides: How many there are.

    Returns:
        One name; "" where the file does not say.

    Raises:
        CohortError: There is neither one text nor one a slide.
    """
    if "encoder" not in archive:
        return ""
    names = archive.small("encoder", "U", (0, 1))
    if names.ndim and len(names) != slides:
        raise CohortError("The array encoder must be one text, or one a slide.")
    each = np.atleast_1d(names)
    require_one_encoder(each.tolist())
    return str(each[0])


def require_one_encoder(names: Sequence[str]) -> None:
    """See that all slides are of one encoder: a head cannot learn from two.

    Args:
        names: One a slide.

    Raises:
        BagError: They are not; names the first slide that differs.
    """
    for row, name in enumerate(names):
        if name != names[0]:
            raise BagError(f"Slide {row} (counted from 0) is of another encoder, or of other zooms, than slide 0.")


def read_mpp(archive: Archive) -> tuple[float, ...]:
    """Read the zooms.

    Args:
        archive: The file.

    Returns:
        um/px, finest first; () where the file does not say.

    Raises:
        CohortError: They are not positive numbers, finest first.
    """
    if "mpp" not in archive:
        return ()
    zooms = np.atleast_1d(archive.small("mpp", "f", (0, 1))).astype(np.float64)
    if not (np.isfinite(zooms).all() and (np.diff(zooms, prepend=0) > 0).all()):
        raise CohortError("The array mpp must be positive numbers of um/px, finest first.")
    return tuple(zooms.tolist())


def read_labels_of(archive: Archive, slides: int) -> tuple[str, ...] | None:
    """Read labels that stand in the file itself, as texts, as a table would have them.

    Args:
        archive: The file.
        slides: How many there are.

    Returns:
        One a slide, "" where it is not a number; None where the file has none.

    Raises:
        CohortError: There are more or fewer than slides.
    """
    if "label" not in archive:
        return None
    labels = archive.small("label", "iufbU", (1,))
    if len(labels) != slides:
        raise CohortError(f"The array label has {len(labels)} labels; there are {slides} slides.")
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    return tuple("" if value != value else str(value) for value in labels.tolist())  # noqa: PLR0124 - NaN

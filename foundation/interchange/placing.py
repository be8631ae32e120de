"""Files that appear whole or not at all, and never in the place of another one."""

from __future__ import annotations

import filecmp
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.errors import InterchangeError
from tiling.commit import STAGING_SUFFIX, no_space, sync


@contextmanager
def placed(final: Path) -> Iterator[Path]:
    """Write a file aside and move it into place; on an error nothing is left.

    Args:
        final: Where it goes. The same file may be there already.

    Yields:
        Where to write it.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}")
    try:
        with no_space():
            yield aside
            sync(aside)
            if final.exists():
                _require_same(aside, final)
            else:
                aside.rename(final)
        sync(final.parent)
    finally:
        aside.unlink(missing_ok=True)


def _require_same(written: Path, there: Path) -> None:
    """Refuse to replace what is there.

    Raises:
        InterchangeError: If it is another file.
    """
    if not there.is_file() or not filecmp.cmp(written, there, shallow=False):
        raise InterchangeError("Another file of that name is in the folder; choose another folder or name.")

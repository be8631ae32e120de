"""Faults of disks and neighbours, for the proof and the tests of the tile store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tiling import NotAStoreError, TileStore, TilingError, verify_manifest


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[Path]:
    """A file system of its own that is soon full.

    Args:
        folder: Where it is mounted.
        megabytes: Its size.

    Yields:
        The folder.

    Raises:
        PermissionError: If this process may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={int(megabytes * 1024)}k"
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=False, capture_output=True)
    if mount.returncode:
        raise PermissionError
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def grow_disk(folder: Path, megabytes: float) -> None:
    """Give a small disk more room.

    Args:
        folder: Where it is mounted.
        megabytes: Its new size.
    """
    size = f"remount,size={int(megabytes * 1024)}k"
    subprocess.run(["mount", "-o", size, str(folder)], check=True)


def flipped_bits_found(store: TileStore, flips: int, seed: int = 0) -> int:
    """Flip bits of a store, one at a time, and look whether `verify` names the file.

    Args:
        store: A whole store; it is whole again afterwards.
        flips: How many.
        seed: Of the places.

    Returns:
        How many were found.
    """
    rng, found = np.random.default_rng(seed), 0
    members = sorted(path for path in store.path.rglob("*") if path.is_file())
    for _ in range(flips):
        path = members[rng.integers(len(members))]
        whole = path.read_bytes()
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        found += path.relative_to(store.path).as_posix() in _damaged(store.path) and _opens_typed(store.path)
        path.write_bytes(whole)
    return found


def _opens_typed(path: Path) -> bool:
    """Whether a damaged store is read as it was, or refused with an error of ours."""
    try:
        TileStore.open(path).grid(TileStore.open(path).zooms[0])
    except TilingError:
        return True
    except Exception:  # noqa: BLE001 - that is the fault looked for
        return False
    return True


def _damaged(path: Path) -> list[str]:
    try:
        return verify_manifest(path)
    except NotAStoreError:
        return ["manifest.json"]


def run_together(slide: Path, out: Path, runs: int) -> list[int]:
    """Tile one slide into one folder in several processes at once.

    Args:
        slide: The slide.
        out: Folder for the store.
        runs: How many.

    Returns:
        Exit status of each.
    """
    command = [sys.executable, "-m", "tools.kill_tiling", "--out", str(out), str(slide)]
    return [process.wait() for process in [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(runs)]]

"""Tiling: find tissue, plan tiles at several zooms, cut them on any pool into one Zarr store.

>>> from tiling import TileSpec
>>> TileSpec(mpp=0.5).px
224
"""

from tiling.commit import is_committed, read_manifest, staged, verify_manifest
from tiling.errors import (
    DamagedStoreError,
    NoSpaceError,
    NotAStoreError,
    NotBrightfieldError,
    NotEvaluableError,
    NoTissueError,
    PoolError,
    SpecError,
    StoreError,
    TilingError,
    TooCoarseError,
)
from tiling.fingerprint import fingerprint
from tiling.grid import TileGrid, TileSpec
from tiling.plan import plan
from tiling.pool import LocalPool, Pool
from tiling.stage import DEFAULT_ZOOMS, tile
from tiling.store import TileStore
from tiling.tissue import TissueMask, TissueSpec, segment

__all__ = [
    "DEFAULT_ZOOMS",
    "DamagedStoreError",
    "LocalPool",
    "NoSpaceError",
    "NoTissueError",
    "NotAStoreError",
    "NotBrightfieldError",
    "NotEvaluableError",
    "Pool",
    "PoolError",
    "SpecError",
    "StoreError",
    "TileGrid",
    "TileSpec",
    "TileStore",
    "TilingError",
    "TissueMask",
    "TissueSpec",
    "TooCoarseError",
    "fingerprint",
    "is_committed",
    "plan",
    "read_manifest",
    "segment",
    "staged",
    "tile",
    "verify_manifest",
]

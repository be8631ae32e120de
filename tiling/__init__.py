"""Tiling: find tissue, plan tiles at several zooms, cut them on any pool into one Zarr store.

>>> from tiling import TileSpec
>>> TileSpec(mpp=0.5).px
224
"""

from tiling.commit import is_committed, read_manifest, staged, verify_manifest
from tiling.errors import (
    CertificateError,
    DamagedStoreError,
    MaskError,
    NoSpaceError,
    NotAStoreError,
    NotBrightfieldError,
    NotEvaluableError,
    NoTissueError,
    PoolError,
    RemoteStoreError,
    SegmenterError,
    SpecError,
    StoreError,
    TilingError,
    TooCoarseError,
    WorkerKilledError,
)
from tiling.fingerprint import fingerprint
from tiling.grid import TileGrid
from tiling.plan import plan, scales_within
from tiling.pool import LocalPool, Needs, Outcome, Pool
from tiling.progress import Event, Progress
from tiling.sampling import Sampling
from tiling.selection import Selection
from tiling.spec import TileSpec
from tiling.stage import DEFAULT_ZOOMS, tile
from tiling.store import TileStore
from tiling.tissue import TissueMask, TissueSpec, segment

__all__ = [
    "DEFAULT_ZOOMS",
    "CertificateError",
    "DamagedStoreError",
    "Event",
    "LocalPool",
    "MaskError",
    "Needs",
    "NoSpaceError",
    "NoTissueError",
    "NotAStoreError",
    "NotBrightfieldError",
    "NotEvaluableError",
    "Outcome",
    "Pool",
    "PoolError",
    "Progress",
    "RemoteStoreError",
    "Sampling",
    "SegmenterError",
    "Selection",
    "SpecError",
    "StoreError",
    "TileGrid",
    "TileSpec",
    "TileStore",
    "TilingError",
    "TissueMask",
    "TissueSpec",
    "TooCoarseError",
    "WorkerKilledError",
    "fingerprint",
    "is_committed",
    "plan",
    "read_manifest",
    "scales_within",
    "segment",
    "staged",
    "tile",
    "verify_manifest",
]

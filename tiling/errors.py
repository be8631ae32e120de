"""Errors of the tiling layer.

::

    TilingError
    ├── SpecError             a tile specification that cannot be met
    │   └── MaskError         a tissue mask from outside that cannot be used
    ├── SegmenterError        a tissue segmenter from outside that cannot be used
    ├── NotEvaluableError     the slide cannot be judged, with the reason
    │   ├── NoTissueError
    │   ├── NotBrightfieldError
    │   └── TooCoarseError    scanned more coarsely than the zoom asked for
    ├── StoreError
    │   ├── NotAStoreError    no committed store stands there
    │   ├── DamagedStoreError a member is missing or altered
    │   ├── NoSpaceError      the disk is full
    │   └── RemoteStoreError  object storage refuses or does not answer
    ├── CertificateError      certificates that cannot be made or read
    └── PoolError             the workers are gone
        └── WorkerKilledError one task ends every worker that takes it
"""

from __future__ import annotations


class TilingError(Exception):
    """Base of every error of the tiling layer."""


class SpecError(TilingError):
    """A tile specification that cannot be met."""


class MaskError(SpecError):
    """A tissue mask from outside that cannot be used."""


class SegmenterError(TilingError):
    """A tissue segmenter from outside that cannot be used."""


class NotEvaluableError(TilingError):
    """The slide cannot be judged; the message is the reason, ready to stand after "not evaluable, because"."""


class NoTissueError(NotEvaluableError):
    """There is not enough tissue on the slide."""


class NotBrightfieldError(NotEvaluableError):
    """The slide is not a stained section on bright glass."""


class TooCoarseError(NotEvaluableError):
    """The slide was scanned more coarsely than the zoom asked for."""


class StoreError(TilingError):
    """Base of the errors of stores on disk."""


class NotAStoreError(StoreError):
    """No committed store of this kind stands there."""


class DamagedStoreError(StoreError):
    """A member of a committed store is missing or altered."""


class NoSpaceError(StoreError):
    """The disk is full; nothing was committed."""


class RemoteStoreError(StoreError):
    """Object storage refuses, or does not answer."""


class PoolError(TilingError):
    """The workers cannot be reached or died too often."""


class WorkerKilledError(PoolError):
    """A task ended every worker that took it, also when it ran alone; the others went on."""


class CertificateError(TilingError):
    """Certificates cannot be made, or are not there."""

"""What can go wrong in mil.

MilError
├── BagError            features that no head can read: wrong shape, not finite, of another encoder or width
│   └── EmptyBagError   a bag without tiles
├── LabelError          labels missing, not 0 or 1, or all of one class
├── MetricError         scores that cannot be ranked
├── HeadError           an unknown head, or settings it does not have
└── CheckpointError     a saved head that is damaged, incomplete or asks for what is not ours
"""

from __future__ import annotations


class MilError(Exception):
    """Any error of this package."""


class BagError(MilError):
    """The features of a bag cannot be used."""


class EmptyBagError(BagError):
    """A bag has no tiles."""


class LabelError(MilError):
    """The labels cannot be learnt from."""


class MetricError(MilError):
    """The scores cannot be judged."""


class HeadError(MilError):
    """A head cannot be built."""


class CheckpointError(MilError):
    """A saved head cannot be trusted."""

"""What can go wrong in mil.

MilError
├── BagError            features that no head can read: wrong shape, not finite, of another encoder or width
│   └── EmptyBagError   a bag without tiles
├── LabelError          labels missing, not what the task asks for, or all of one class
├── CohortError         a file of bags or a table of labels that cannot be used, or that do not fit together
├── FoldError           folds that cannot be made, or that share a patient
├── ExperimentError     an experiment that contradicts itself or asks for what is not there
├── SealError           the test set was opened before
├── MetricError         scores that cannot be judged
├── CalibrationError    a calibration, a conformal set or a standardisation that cannot be fitted to what was given
├── HeadError           an unknown head, or settings it does not have
├── CheckpointError     a saved head or run that is damaged, incomplete or asks for what is not ours
└── ExtraError          a library of the extra `train` is not installed
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


class CohortError(MilError):
    """Bags and labels cannot be read or joined."""


class FoldError(MilError):
    """The cases cannot be split as asked."""


class ExperimentError(MilError):
    """An experiment cannot be run as it is written."""


class SealError(MilError):
    """The test set was opened before."""


class MetricError(MilError):
    """The scores cannot be judged."""


class CalibrationError(MilError):
    """Too little, or the wrong thing, was given to fit a correction to."""


class HeadError(MilError):
    """A head cannot be built."""


class CheckpointError(MilError):
    """A saved head cannot be trusted."""


class ExtraError(MilError):
    """The extra `train` is not installed."""

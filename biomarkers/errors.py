"""Errors of the biomarker layer.

::

    BiomarkerError
    ├── CardError                  a card that breaks the rules of cards
    │   └── UnknownBiomarkerError      no card has this name
    ├── ManifestError              a cohort table that cannot be used
    ├── ResultError                a stored result that is damaged or of another format
    ├── FolderInUseError           the folder holds the result of another slide
    └── GateError                  the slide is fine, but too little of it can be judged

A GateError is also a NotEvaluableError of tiling, so that one `except` catches every "not evaluable, because ...". No
message names a slide's file.
"""

from __future__ import annotations

from tiling.errors import NotEvaluableError


class BiomarkerError(Exception):
    """Base of every error of the biomarker layer."""


class CardError(BiomarkerError):
    """A card has an unknown key, a missing one, or a value out of its range."""


class UnknownBiomarkerError(CardError):
    """No card has this name."""


class ManifestError(BiomarkerError):
    """A cohort manifest cannot be read or contradicts itself."""


class ResultError(BiomarkerError):
    """A stored result is damaged or was written in another format."""


class FolderInUseError(BiomarkerError):
    """The folder holds the result of another slide, which is never replaced."""


class GateError(BiomarkerError, NotEvaluableError):
    """A gate of the card is not passed; the message says which and by how much."""

"""From an error to an exit status and one plain sentence."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError
from pydantic_settings import SettingsError

from api.cli.reply import FAILED, WRONG_CALL, Reply
from api.errors import BadRequestError, code_of, is_known
from api.tasks import NOT_EVALUABLE
from biomarkers.errors import CardError, ManifestError
from foundation.errors import (
    ContractError,
    InterchangeError,
    LicenceError,
    PromptError,
    QueryError,
    UnknownEncoderError,
    UnsupportedEncoderError,
)
from mil.errors import CohortError, ExperimentError, FoldError, HeadError, LabelError
from slides import BadMppError
from tiling import NotAStoreError, SegmenterError, SpecError

WRONG: Final = (
    BadMppError,
    BadRequestError,
    CardError,
    CohortError,
    ContractError,
    ExperimentError,
    FoldError,
    HeadError,
    InterchangeError,
    LabelError,
    LicenceError,
    ManifestError,
    NotAStoreError,
    PromptError,
    QueryError,
    SegmenterError,
    SpecError,
    UnknownEncoderError,
    UnsupportedEncoderError,
)
"""The caller can only call differently; no slide failed."""


def reply_of(error: Exception) -> Reply:
    """Put an error into words.

    Args:
        error: What a command raised.

    Returns:
        The reply: status 2 for a wrong call, 1 for everything else.
    """
    refused = isinstance(error, NOT_EVALUABLE)
    sentence = f"not evaluable, because {_lower(str(error))}" if refused else _sentence(error)
    state = "not_evaluable" if refused else "failed"
    status = WRONG_CALL if isinstance(error, (*WRONG, ValidationError, SettingsError)) else FAILED
    return Reply(
        {"state": state, "error": {"code": code_of(error), "detail": sentence}}, status=status, complaint=sentence
    )


def _sentence(error: Exception) -> str:
    """One sentence without names of files."""
    if is_known(error):
        return _lower(str(error))
    if isinstance(error, ValidationError):
        names = ", ".join(sorted({str(item["loc"][0]).upper() for item in error.errors() if item["loc"]}))
        return f"a setting has a value that it cannot have: ONCOSCOPE_{names}"
    if isinstance(error, SettingsError):
        return "a setting cannot be read; see the variables ONCOSCOPE_... of the environment"
    if isinstance(error, OSError) and error.strerror:
        return f"the system refused to read or write: {error.strerror.lower()}"
    return f"something unexpected happened ({type(error).__name__}); --debug shows where"


def _lower(text: str) -> str:
    """Sentences follow "oncoscope: ", so they begin small, unless their first word is a name, and have no full stop."""
    text = text.removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text

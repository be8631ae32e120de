"""Problems: a stable code for every error, and words that name no file."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import api.errors
import biomarkers.errors
import foundation.errors
import mil.errors
import slides.errors
import tiling.errors
from api.cli.failure import reply_of
from api.errors import HIDDEN, STATUS, code_of, problem_of, safe_detail, status_of
from biomarkers.errors import GateError
from foundation.errors import PromptError
from foundation.prompts import tissue_of
from slides.errors import MissingMppError, NotASlideError, SlideError
from tiling.errors import MaskError, NoSpaceError, SegmenterError

PACKAGES = (api, slides, tiling, foundation, mil, biomarkers)


def errors_of(module: ModuleType) -> list[type[Exception]]:
    members = vars(module).values()
    return [m for m in members if inspect.isclass(m) and issubclass(m, Exception) and m.__module__ == module.__name__]


ALL = [error for package in PACKAGES for error in errors_of(package.errors)]


def test_codes_are_unique_and_readable() -> None:
    codes = [code_of(error()) for error in ALL]
    assert len(set(codes)) == len(codes)
    assert code_of(NotASlideError()) == "not-a-slide"
    assert code_of(MissingMppError()) == "missing-mpp"
    assert code_of(ZeroDivisionError()) == "internal"


def test_nearest_base_decides() -> None:
    class TornSlideError(NotASlideError):
        pass

    assert status_of(TornSlideError()) == STATUS[SlideError] == 422
    assert status_of(GateError()) == 422
    assert status_of(NoSpaceError()) == 507
    assert status_of(KeyError()) == 500


@pytest.mark.parametrize("error", [MaskError("m"), SegmenterError("s")])
def test_a_file_of_the_users_that_cannot_be_used_is_the_users_to_change(error: Exception) -> None:
    assert status_of(error) == 422
    assert reply_of(error).status == 2


def test_foreign_errors_and_paths_are_never_shown() -> None:
    shown = "there is no file or folder at the slide's address"
    assert safe_detail(SlideError(shown)) == shown
    assert safe_detail(SlideError("a scale of 0.5 um/px at 2 tiles/s")) == "a scale of 0.5 um/px at 2 tiles/s"
    for hidden in (
        OSError(2, "No such file", "/data/John_Doe.svs"),
        SlideError("cannot open /data/John_Doe.svs"),
        SlideError("cannot open '/data/John_Doe.svs'"),
        SlideError(r"cannot open C:\data\John_Doe.svs"),
        SlideError("cannot connect to postgresql://user:secret@host/db"),
        SlideError(""),
    ):
        assert safe_detail(hidden) == HIDDEN


def test_a_prompt_with_a_slash_is_answered() -> None:
    with pytest.raises(PromptError) as caught:
        tissue_of("/tumour and/or C:\\stroma")
    assert "closed vocabulary" in safe_detail(caught.value)


def test_an_id_is_promised_only_where_there_is_one() -> None:
    error = OSError(2, "No such file", "/data/John_Doe.svs")
    assert "id" not in problem_of(error)["detail"].split()
    assert "id" in problem_of(error, "f00")["detail"].split()
    assert problem_of(error, "f00")["id"] == "f00"


def test_problem_document() -> None:
    document = problem_of(NotASlideError("no reader knows it"), "f00")
    assert document == {
        "type": "urn:oncoscope:problem:not-a-slide",
        "title": "Not a slide",
        "status": 422,
        "detail": "no reader knows it",
        "code": "not-a-slide",
        "notice": document["notice"],
        "id": "f00",
    }
    assert "research use only" in document["notice"]

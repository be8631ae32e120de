"""Every error class of every package has a base, a place in the tree of its docstring, and an HTTP status."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from api.errors import STATUS, status_of

PACKAGES = ("slides", "tiling", "foundation", "mil", "biomarkers", "api")
ROOT = Path(__file__).resolve().parents[1]


def errors_of(package: str) -> list[type[Exception]]:
    """The error classes that `<package>/errors.py` defines, base first."""
    module = importlib.import_module(f"{package}.errors")
    classes = [item for _, item in inspect.getmembers(module, inspect.isclass) if item.__module__ == module.__name__]
    return sorted((c for c in classes if issubclass(c, Exception)), key=lambda c: len(c.__mro__))


ALL = [error for package in PACKAGES for error in errors_of(package)]


@pytest.mark.parametrize("error", ALL, ids=lambda error: f"{error.__module__}.{error.__name__}")
def test_every_error_is_mapped_to_a_status(error: type[Exception]) -> None:
    mapped = [base for base in error.__mro__ if base in STATUS]
    assert mapped, f"{error.__name__} has no base in api.errors.STATUS"
    assert status_of(error("a sentence")) == STATUS[mapped[0]]
    assert 400 <= STATUS[mapped[0]] < 600


@pytest.mark.parametrize("package", PACKAGES)
def test_one_base_for_each_package(package: str) -> None:
    base, *others = errors_of(package)
    assert all(issubclass(other, base) for other in others)


@pytest.mark.parametrize("error", ALL, ids=lambda error: f"{error.__module__}.{error.__name__}")
def test_the_tree_in_the_docstring_names_every_error(error: type[Exception]) -> None:
    assert error.__name__ in (inspect.getmodule(error).__doc__ or "")


@pytest.mark.parametrize("package", PACKAGES)
def test_errors_are_defined_in_one_place(package: str) -> None:
    strays = [
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != ROOT / package / "errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Error", "Exception"))
    ]
    assert not strays

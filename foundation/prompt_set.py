"""Prompt sets: classes that are weighed against each other, each with its synonyms, read strictly from TOML.

::

    title = "Breast tissue"
    templates = ["a histology image of {}."]      # optional; without it those of contrast.toml
    contrast = ["empty glass background"]         # optional: rivals of every class

    [[class]]
    name = "tumour"
    synonyms = ["invasive carcinoma"]             # optional; the name is asked too
    unlike = ["normal glandular epithelium"]      # optional: "not like this", rivals of this class alone
    background = false                            # optional: true for what is not looked for, such as normal tissue
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from foundation.errors import PromptError
from foundation.prompts import MOST, checked

SHIPPED: Final = ("breast-tissue",)
"""Sets that come with the package, by name."""
MOST_BYTES: Final = 256 << 10
"""A set of 64 classes with 64 synonyms each is about this long."""
KEYS: Final = {"title", "templates", "contrast", "class"}
CLASS_KEYS: Final = {"name", "synonyms", "unlike", "background"}


@dataclass(frozen=True, slots=True)
class PromptClass:
    """A class and what it is called."""

    name: str
    words: tuple[str, ...]
    """The name and its synonyms, each once; all weigh the same."""
    unlike: tuple[str, ...] = ()
    """What is not meant by it."""
    background: bool = False
    """Not looked for: left out where classes compete for the slide."""


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Classes that share a question."""

    title: str
    classes: tuple[PromptClass, ...]
    templates: tuple[str, ...] = ()
    """Each with one `{}`; empty for ours."""
    contrast: tuple[str, ...] = ()
    """Rivals of every class."""


def shipped_set(name: str) -> PromptSet:
    """A set that comes with the package.

    Args:
        name: One of `SHIPPED`.

    Returns:
        The set.

    Raises:
        PromptError: If there is none of that name.
    """
    if name not in SHIPPED:
        raise PromptError(f"No prompt set has that name; there are {', '.join(SHIPPED)}.")
    return read_prompt_set(files("foundation").joinpath(f"{name.replace('-', '_')}.toml").read_text(encoding="utf-8"))


def read_prompt_set(text: str) -> PromptSet:
    """Read a set.

    Args:
        text: TOML.

    Returns:
        The set.

    Raises:
        PromptError: If it is too long, no TOML, holds an unknown key, fewer than two classes, two of one name, a
            template without a single place for a prompt, or words that cannot be asked.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise PromptError("The prompt set is too long.")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PromptError("The prompt set is not TOML.") from error
    if not set(document) <= KEYS or not {"title", "class"} <= set(document):
        raise PromptError(f"A prompt set holds title and [[class]], perhaps {_listed(KEYS - {'title', 'class'})}.")
    (title,) = checked(_words({"title": [document["title"]]}, "title"))
    classes = _classes(document["class"])
    return PromptSet(title, classes, _templates(document), _checked(document, "contrast"))


def _classes(tables: object) -> tuple[PromptClass, ...]:
    if not isinstance(tables, list) or not 2 <= len(tables) <= MOST:
        raise PromptError(f"A prompt set has between 2 and {MOST} classes; a lone prompt needs no set.")
    classes = tuple(_class(table) for table in tables)
    names = [one.name.casefold() for one in classes]
    if len(set(names)) < len(names):
        raise PromptError("Two classes of the prompt set have one name.")
    if all(one.background for one in classes):
        raise PromptError("All classes of the prompt set are background, so none is looked for.")
    return classes


def _class(table: object) -> PromptClass:
    if not isinstance(table, dict) or not set(table) <= CLASS_KEYS or "name" not in table:
        raise PromptError(f"A class of a prompt set holds a name, perhaps {_listed(CLASS_KEYS - {'name'})}.")
    background = table.get("background", False)
    if not isinstance(background, bool):
        raise PromptError("'background' of a class is true or false.")
    (name,) = checked(_words({"name": [table["name"]]}, "name"))
    words = checked([name, *_words(table, "synonyms")])
    return PromptClass(name, tuple(dict.fromkeys(words)), _checked(table, "unlike"), background)


def _templates(document: dict[str, Any]) -> tuple[str, ...]:
    templates = _words(document, "templates")
    if any(template.count("{}") != 1 or template.count("{") != 1 for template in templates):
        raise PromptError("A template holds '{}' once, where the prompt goes.")
    for template in templates:
        checked([template.replace("{}", "tissue")])
    return tuple(templates)


def _checked(table: dict[str, Any], key: str) -> tuple[str, ...]:
    words = _words(table, key)
    return checked(words) if words else ()


def _words(table: dict[str, Any], key: str) -> list[str]:
    words = table.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise PromptError(f"{key!r} of a prompt set is text.")
    return words


def _listed(keys: set[str]) -> str:
    return ", ".join(sorted(keys))

"""Prompts: what may be asked, and what the built-in encoder understands by it."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from foundation.errors import PromptError, RegistryError, UnknownTermError
from foundation.tissue import TISSUES

LONGEST = 200
"""Letters in a prompt: text towers read 77 tokens, about this much."""
MOST = 64
"""Prompts in one question."""
SCRIPTS = ("LATIN", "GREEK", "MICRO")
"""What Unicode's names of letters may begin with: English, and the Greek of biology (alpha, beta, micro)."""
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Contrast:
    """What prompts are weighed against, and the sentences they are put in."""

    templates: tuple[str, ...]
    """Each with one `{}`."""
    contrast: tuple[str, ...]


def checked(prompts: Sequence[str]) -> tuple[str, ...]:
    """Refuse prompts that cannot be meant.

    Args:
        prompts: What was typed.

    Returns:
        The prompts with single spaces and none around them.

    Raises:
        PromptError: If there is none or too many, or one is empty, over-long, holds control characters, holds no word
            or is in another script than Latin: text towers were trained on English, and score other scripts as well.
    """
    if not prompts or len(prompts) > MOST:
        raise PromptError(f"A question has between 1 and {MOST} prompts, not {len(prompts)}.")
    for prompt in prompts:
        if any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co", "Cn"} for letter in prompt):
            raise PromptError("A prompt holds control characters.")
        if not prompt.strip() or len(prompt) > LONGEST:
            raise PromptError(f"A prompt has between 1 and {LONGEST} letters, not {len(prompt.strip())}.")
        if any(letter.isalpha() and not unicodedata.name(letter, "").startswith(SCRIPTS) for letter in prompt):
            raise PromptError("A prompt is written in English: the text towers read no other script than Latin.")
        if not any(letter.isalpha() for letter in prompt):
            raise PromptError("A prompt holds words.")
    return tuple(" ".join(prompt.split()) for prompt in prompts)


def tissue_of(prompt: str) -> str:
    """Which of the twelve tissues a prompt means.

    Args:
        prompt: A name or a synonym; case, hyphens, plural and spelling do not matter.

    Returns:
        One of `TISSUES`.

    Raises:
        UnknownTermError: If it lies outside the closed vocabulary; the message names the nearest terms.
    """
    words = _vocabulary()
    tissue = words.get(_plain(prompt))
    if tissue is None:
        near = ", ".join(repr(term) for term in nearest_terms(prompt))
        raise UnknownTermError(f"{prompt[:80]!r} is outside the closed vocabulary; the nearest known terms are {near}.")
    return tissue


def same_thing(one: str, other: str) -> bool:
    """Whether two phrases are known to mean the same: a prompt is not weighed against itself under another name.

    Args:
        one: A phrase.
        other: Another.

    Returns:
        True where they are spelt alike, or are synonyms in the closed vocabulary.
    """
    plain, words = (_plain(one), _plain(other)), _vocabulary()
    return plain[0] == plain[1] or (plain[0] in words and words[plain[0]] == words.get(plain[1]))


def nearest_terms(prompt: str, count: int = 3) -> tuple[str, ...]:
    """The known terms nearest to a prompt: those that share words with it first, then those spelt alike.

    Args:
        prompt: Any text.
        count: How many.

    Returns:
        Terms as people write them.
    """
    asked = _plain(prompt)

    def likeness(term: str) -> tuple[float, float]:
        plain = _plain(term)
        shared = len(set(plain.split()) & set(asked.split())) / len(plain.split())
        return shared, difflib.SequenceMatcher(None, plain, asked).ratio()

    return tuple(sorted(known_terms(), key=likeness, reverse=True)[:count])


@functools.cache
def known_terms() -> tuple[str, ...]:
    """Every name and synonym of the closed vocabulary.

    Returns:
        Terms as people write them, sorted.
    """
    return tuple(sorted({term for terms in _words().values() for term in terms}))


def vocabulary_words() -> dict[str, tuple[str, ...]]:
    """The closed vocabulary.

    Returns:
        What people call each of the twelve tissues.
    """
    return {tissue: tuple(terms) for tissue, terms in _words().items()}


@functools.cache
def contrast_set() -> Contrast:
    """The contrast set and templates that ship with the package.

    Returns:
        The set.
    """
    return read_contrast(files("foundation").joinpath("contrast.toml").read_text(encoding="utf-8"))


def read_contrast(text: str) -> Contrast:
    """Read a contrast set strictly.

    Args:
        text: TOML with `templates` and `contrast`.

    Returns:
        The set.

    Raises:
        RegistryError: If a key is unknown or missing, or a template has no single place for a prompt.
    """
    document = _toml(text)
    if set(document) != {"templates", "contrast"} or not all(_is_list_of_words(value) for value in document.values()):
        raise RegistryError("A contrast set holds the lists 'templates' and 'contrast' and nothing else.")
    if any(template.count("{}") != 1 or template.count("{") != 1 for template in document["templates"]):
        raise RegistryError("A template holds '{}' once, where the prompt goes.")
    return Contrast(tuple(document["templates"]), tuple(document["contrast"]))


def read_vocabulary(words: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Turn a list of synonyms round.

    Args:
        words: Synonyms of each tissue.

    Returns:
        Tissue by plain term.

    Raises:
        RegistryError: If a tissue is unknown or missing, or a term stands for two.
    """
    if set(words) != set(TISSUES):
        raise RegistryError("The vocabulary names exactly the twelve tissues.")
    found: dict[str, str] = {}
    for tissue, terms in words.items():
        for term in (tissue, *terms):
            if found.setdefault(_plain(term), tissue) != tissue:
                raise RegistryError(f"The term {term!r} of the vocabulary stands for two tissues.")
    return found


@functools.cache
def _vocabulary() -> dict[str, str]:
    return read_vocabulary(_words())


@functools.cache
def _words() -> dict[str, list[str]]:
    document = _toml(files("foundation").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
    if set(document) != {"words"}:
        raise RegistryError("The vocabulary holds the table 'words' and nothing else.")
    words: dict[str, list[str]] = document["words"]
    return words


def _is_list_of_words(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"A table of words is not TOML: {error}.") from error


def _plain(text: str) -> str:
    """A term without what people write differently: case, hyphens, articles, plural, British and American spelling."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = re.sub(r"[\W_]+", " ", folded).replace("ae", "e").replace("our", "or").replace("fibre", "fiber").split()
    return " ".join(_singular(word) for word in words if word not in _ARTICLES)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "is", "us")) else word

"""Words as directions in the space of an image-text encoder: what is asked, and what it is weighed against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import Embeddings
from foundation.encoder import Encoder, TextEncoder
from foundation.errors import ContractError
from foundation.prompt_set import PromptSet
from foundation.prompts import contrast_set, same_thing

Vectors = NDArray[np.float32]
TEXTS = 256
"""Texts in one call of a text tower: tens of MB however many words and templates there are."""
REPELLED = 0.5
"""How much of what is not meant a search subtracts (Rocchio's feedback has a smaller weight there too)."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One thing that is asked for."""

    name: str
    vector: Vectors
    """[D], length 1."""
    rivals: Vectors
    """What it is weighed against [R, D], each of length 1."""
    unlike: Vectors
    """Those of the rivals that are not meant [U, D]; U may be 0."""
    background: bool = False
    """Not looked for: left out where classes compete for the slide."""

    def search_vector(self) -> Vectors:
        """What to search an index with: away from what is not meant.

        Returns:
            [D], length 1.
        """
        return unit(self.vector - REPELLED * self.unlike.mean(axis=0)) if len(self.unlike) else self.vector


def lone_queries(encoder: TextEncoder, prompts: Sequence[str], unlike: Sequence[str] = ()) -> tuple[Query, ...]:
    """Prompts, each by itself against the contrast set: a lone prompt has no probability.

    Args:
        encoder: The text side.
        prompts: P prompts, checked before.
        unlike: What is not meant, one more rival each.

    Returns:
        P queries; one prompt does not change another.
    """
    shipped = contrast_set()
    others = text_features(encoder, [*shipped.contrast, *unlike], shipped.templates)
    others, far = np.split(others, [len(shipped.contrast)])
    own = text_features(encoder, prompts, shipped.templates)
    queries = []
    for prompt, vector in zip(prompts, own, strict=True):
        apart = np.array([not same_thing(name, prompt) for name in shipped.contrast])
        queries.append(Query(prompt, vector, np.concatenate([others[apart], far]), far))
    return tuple(queries)


def class_queries(classes: Vectors, rivals: Vectors, asked: PromptSet, unlike: Sequence[Vectors]) -> tuple[Query, ...]:
    """Classes of a set, each against all others, the set's contrast and what the class is not.

    Args:
        classes: Direction of each class [C, D].
        rivals: Of the set's contrast [R, D]; R may be 0.
        asked: The set.
        unlike: What each class is not, C of [U, D].

    Returns:
        C queries.
    """
    found = []
    for k, (one, far) in enumerate(zip(asked.classes, unlike, strict=True)):
        against = np.concatenate([np.delete(classes, k, axis=0), rivals, far])
        found.append(Query(one.name, classes[k], against, far, one.background))
    return tuple(found)


def set_queries(encoder: TextEncoder, asked: PromptSet, classes: Vectors | None = None) -> tuple[Query, ...]:
    """A prompt set as queries.

    Args:
        encoder: The text side.
        asked: The set.
        classes: Directions of the classes [C, D] where they were chosen otherwise, such as by screening.

    Returns:
        One query a class.
    """
    templates = templates_of(asked)
    if classes is None:
        classes = np.stack([unit(spelled(encoder, one.words, templates).mean(axis=(0, 1))) for one in asked.classes])
    empty = np.zeros((0, classes.shape[1]), np.float32)

    def features(words: Sequence[str]) -> Vectors:
        return text_features(encoder, words, templates) if words else empty

    return class_queries(classes, features(asked.contrast), asked, [features(one.unlike) for one in asked.classes])


def templates_of(asked: PromptSet) -> tuple[str, ...]:
    """The sentences that the words of a set are put in.

    Args:
        asked: The set.

    Returns:
        Its own, else those of the contrast set.
    """
    return asked.templates or contrast_set().templates


def text_features(encoder: TextEncoder, words: Sequence[str], templates: Sequence[str]) -> Vectors:
    """Each phrase as the mean over templates (the prompt ensemble of CLIP, Radford et al., arXiv:2103.00020).

    Args:
        encoder: The text side.
        words: T phrases.
        templates: Each with one `{}`.

    Returns:
        Features [T, dim] of length 1.
    """
    return unit(spelled(encoder, words, templates).mean(axis=1))


def spelled(encoder: TextEncoder, words: Sequence[str], templates: Sequence[str]) -> Vectors:
    """Every phrase in every template.

    Args:
        encoder: The text side.
        words: T phrases.
        templates: M sentences, each with one `{}`.

    Returns:
        Features [T, M, dim] of length 1.
    """
    texts = [template.replace("{}", word) for word in words for template in templates]
    parts = [encoder.encode_text(texts[first : first + TEXTS]) for first in range(0, len(texts), TEXTS)]
    return np.concatenate(parts).reshape(len(words), len(templates), -1)


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Vectors of length 1.

    Args:
        vectors: [..., D].

    Returns:
        The same directions.
    """
    wide = np.asarray(vectors, np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12), np.float32)


def text_side(encoder: Encoder) -> TextEncoder:
    """An encoder that can be asked with words.

    Args:
        encoder: Any encoder.

    Returns:
        The same.

    Raises:
        ContractError: If it has no text side.
    """
    if not isinstance(encoder, TextEncoder):
        raise ContractError(f"Encoder {encoder.spec.key!r} has no text side, so it cannot be asked with words.")
    return encoder


def require_same_encoder(embeddings: Embeddings, encoder: TextEncoder) -> None:
    """Refuse a text side that does not belong to the features: another encoder, other weights or preprocessing.

    Args:
        embeddings: Of a slide.
        encoder: The image-text pair.
    """
    embeddings.require_encoder(encoder.spec.key, encoder.weights_digest, encoder.preprocessing_digest)

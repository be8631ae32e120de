"""`ask`: a slide, or a store of it, and words or examples. `bank`: reference tiles to compare answers with."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from api.answer_files import ANSWER
from api.asking import Means, ask_slide, require_words_known
from api.cli.address import slide_address
from api.cli.progress import progress
from api.cli.reply import Reply
from api.errors import BadRequestError
from api.stores import is_store
from foundation import Embeddings, Examples, PromptSet, Question, make_bank, read_bank, read_prompt_set, write_bank
from foundation.embeddings import NOTICE
from foundation.prompt_set import MOST_BYTES, SHIPPED, shipped_set
from foundation.tissue import HEADS
from slides import Address

if TYPE_CHECKING:
    from foundation import Encoder

PLACE: Final = re.compile(r"(-?[0-9]{1,9}(?:\.[0-9]{1,6})?),(-?[0-9]{1,9}(?:\.[0-9]{1,6})?)")
LARGEST_REGION: Final = 16 << 20
"""Bytes of a file of example regions."""


def ask(arguments: argparse.Namespace) -> Reply:
    """Ask a slide with words or by example.

    Args:
        arguments: `slide` (or a store), `mpp0`, `out`, and what `question_of` and `_means` ask for.

    Returns:
        The reply.
    """
    question = question_of(arguments)
    if question.has_words and arguments.encoder in {None, *HEADS}:
        require_words_known(question)  # before anything is loaded
    where = _where(arguments)
    with progress("tiles") as show:
        answer = ask_slide(where, question, arguments.out, means=_means(arguments), progress=show)
    for prompt in answer["prompts"]:
        prompt["files"] = {what: str(arguments.out / name) for what, name in prompt["files"].items()}
    files = {"answer_json": str(arguments.out / ANSWER)}
    return Reply(answer | {"files": files}, text_of(answer, arguments.out), warnings=answer["warnings"])


def bank(arguments: argparse.Namespace) -> Reply:
    """Make a background bank.

    Args:
        arguments: `store` (several), `out`, `mpp`, `tiles`.

    Returns:
        The reply.
    """
    made = make_bank([Embeddings.open(path) for path in arguments.store], arguments.mpp, arguments.tiles)
    write_bank(made, arguments.out)
    counts = {"tiles": len(made.features), "slides": len(made.slides)}
    document = {"bank": str(arguments.out), "encoder": made.encoder, "mpp": made.mpp, **counts}
    return Reply(document, f"{arguments.out}\n{counts['tiles']} tiles of {counts['slides']} slides\n{NOTICE}")


def question_of(arguments: argparse.Namespace) -> Question:
    """What the options ask.

    Args:
        arguments: `prompt`, `unlike`, `prompts`, `screen`, `example`, `unlike_example`, `frame`.

    Returns:
        The question.
    """
    return Question(
        prompts=tuple(arguments.prompt),
        unlike=tuple(arguments.unlike),
        classes=None if arguments.prompts is None else _prompt_set(arguments.prompts),
        screen=arguments.screen,
        like=_examples(arguments.example, arguments.frame),
        not_like=_examples(arguments.unlike_example, arguments.frame),
    )


def _prompt_set(name: str) -> PromptSet:
    """A set that comes with the package, or the user's own."""
    return shipped_set(name) if name in SHIPPED else read_prompt_set(_text(Path(name), MOST_BYTES, "prompt set"))


def _examples(given: list[str], frame: Any) -> Examples:  # noqa: ANN401 - argparse knows the choices
    """Numbers of tiles, places and files of outlines, told apart by how they are written."""
    tiles, places, regions = [], [], []
    for one in given:
        if one.isascii() and one.isdecimal() and len(one) < 10:
            tiles.append(int(one))
        elif place := PLACE.fullmatch(one):
            places.append((float(place[1]), float(place[2])))
        else:
            regions.append(_region(Path(one)))
    return Examples(tuple(tiles), tuple(places), tuple(regions), frame)


def _region(path: Path) -> dict[str, Any]:
    """A parsed GeoJSON document.

    Raises:
        BadRequestError: If the file is none.
    """
    try:
        document = json.loads(_text(path, LARGEST_REGION, "file of example regions"))
    except (ValueError, RecursionError) as error:
        raise BadRequestError("an example is the number of a tile, X,Y or a GeoJSON file") from error
    if not isinstance(document, dict):
        raise BadRequestError("the file of example regions is not GeoJSON")
    return document


def _text(path: Path, most: int, what: str) -> str:
    """A small text file.

    Raises:
        BadRequestError: If it cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise BadRequestError(f"the {what} is too large")
        return data.decode("utf-8")
    except (OSError, ValueError) as error:
        raise BadRequestError(f"the {what} cannot be read") from error


def _where(arguments: argparse.Namespace) -> Address | Path:
    """A slide, or a store's folder.

    Raises:
        BadRequestError: If a scale is given for a store, which has its own.
    """
    if not is_store(Path(arguments.slide)):
        return slide_address(arguments)
    if arguments.mpp0 is not None:
        raise BadRequestError("a store knows its scale; leave --mpp0 away")
    return Path(arguments.slide)


def _means(arguments: argparse.Namespace) -> Means:
    """What the slide is asked with."""
    compare = None if arguments.bank is None else read_bank(arguments.bank)
    return Means(_encoder(arguments), arguments.mpp, compare)


def _encoder(arguments: argparse.Namespace) -> Encoder | None:
    """The encoder; None for the default one.

    Raises:
        BadRequestError: If weights are given for none.
    """
    from foundation import load_encoder

    if arguments.encoder is not None:
        return load_encoder(arguments.encoder, arguments.weights)
    if arguments.weights is not None:
        raise BadRequestError("--weights belongs to an --encoder")
    return None


def text_of(answer: dict[str, Any], out: Path) -> str:
    """An answer in a few lines.

    Args:
        answer: The answer.
        out: Its folder.

    Returns:
        The text.
    """
    lines = [
        f"{prompt['prompt']} ({prompt['meaning']}): {prompt['score']:.3f}, {prompt['area_mm2']:.2f} mm2"
        f"{_standing(prompt)}\n  {prompt['files']['heatmap_png']}"
        for prompt in answer["prompts"]
    ]
    if choice := answer["choice"]:
        lines.append(
            f"by its best tiles: {choice['by_top_k']}; by most tiles: {choice['by_share'] or 'background alone'}"
        )
    if answer["examples"] and (spread := answer["examples"]["leave_one_out"]):
        lines.append(f"examples, each left out in turn: cosine {spread['mean']:.3f} ± {spread['std']:.3f}")
    return "\n".join([*lines, f"answer: {out / ANSWER}", answer["note"], answer["notice"]])


def _standing(prompt: dict[str, Any]) -> str:
    stand = prompt["against_bank"]
    return f", above {stand['slide_percentile']:.0f} % of {stand['slides']} reference slides" if stand else ""

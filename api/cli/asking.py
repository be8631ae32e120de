"""`ask`: a slide, or a store of it, and words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from api.asking import ANSWER, ask_slide, require_known
from api.cli.address import slide_address
from api.cli.progress import progress
from api.cli.reply import Reply
from api.errors import BadRequestError
from api.stores import is_store
from slides import Address


def ask(arguments: argparse.Namespace) -> Reply:
    """Ask a slide with words.

    Args:
        arguments: `slide` (or a store), `mpp0`, `prompt`, `out`.

    Returns:
        The reply.

    Raises:
        BadRequestError: If a scale is given for a store, which has its own.
    """
    require_known(arguments.prompt)
    where: Address | Path = Path(arguments.slide)
    if not is_store(Path(arguments.slide)):
        where = slide_address(arguments)
    elif arguments.mpp0 is not None:
        raise BadRequestError("a store knows its scale; leave --mpp0 away")
    with progress("tiles") as show:
        answer = ask_slide(where, arguments.prompt, arguments.out, progress=show)
    for prompt in answer["prompts"]:
        prompt["files"] = {what: str(arguments.out / name) for what, name in prompt["files"].items()}
    files = {"answer_json": str(arguments.out / ANSWER)}
    return Reply(answer | {"files": files}, text_of(answer, arguments.out))


def text_of(answer: dict[str, Any], out: Path) -> str:
    """An answer in a few lines.

    Args:
        answer: The answer.
        out: Its folder.

    Returns:
        The text.
    """
    lines = [
        f"{prompt['prompt']} ({prompt['meaning']}): {prompt['score']:.3f}, {prompt['area_mm2']:.2f} mm2\n"
        f"  {prompt['files']['heatmap_png']}"
        for prompt in answer["prompts"]
    ]
    return "\n".join([*lines, f"answer: {out / ANSWER}", answer["note"], answer["notice"]])

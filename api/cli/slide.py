"""`info`: what is known of one slide."""

from __future__ import annotations

import argparse
from dataclasses import replace

from api import NOTICE
from api.cli.address import slide_address
from api.cli.reply import Reply
from slides import SlideInfo, open_slide
from slides.scale_check import check_scale


def info(arguments: argparse.Namespace) -> Reply:
    """Say what is known of a slide.

    Args:
        arguments: `slide`, `mpp0`.

    Returns:
        The reply.
    """
    with open_slide(slide_address(arguments)) as slide:
        known, ruler = slide.info, check_scale(slide)
    if ruler.warning:
        known = replace(known, warnings=(*known.warnings, ruler.warning))
    return Reply({"slide": known.pseudonym, **known.to_json()}, describe(known))


def describe(known: SlideInfo) -> str:
    """A slide in a few lines.

    Args:
        known: What is known of it.

    Returns:
        The text.
    """
    scale = "unknown; give --mpp0" if known.mpp is None else f"{known.mpp.x:g} x {known.mpp.y:g} um/px"
    levels = ", ".join(f"{level.size.width} x {level.size.height}" for level in known.levels)
    lines = [
        f"format   {known.format}, read by {known.reader} ({known.reader_reason})",
        f"size     {known.size.width} x {known.size.height} px",
        f"scale    {scale} (from: {known.mpp_source})",
        f"levels   {levels}",
        f"content  {known.content_hash}",
        *(f"warning  {warning}" for warning in known.warnings),
        NOTICE,
    ]
    return "\n".join(lines)

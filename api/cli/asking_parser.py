"""The grammar of `ask` and of the bank that it compares with."""

from __future__ import annotations

import argparse
from pathlib import Path

from api.cli.options import Commands, access, command, frame, out, slide


def add(commands: Commands) -> None:
    """Add the commands.

    Args:
        commands: Where to.
    """
    ask = command(commands, "ask", "asking:ask", "ask a slide with words or by example")
    slide(ask, "SLIDE|STORE")
    out(ask)
    _words(ask)
    _examples(ask)
    ask.add_argument("--encoder", metavar="KEY", help="an image-text pair; without one, the closed vocabulary")
    ask.add_argument("--weights", type=Path, metavar="PATH", help="weights that you have yourself")
    ask.add_argument("--mpp", type=float, metavar="UM", help="scale of the tiles in um/px")
    ask.add_argument("--bank", type=Path, metavar="FILE", help="compare with reference slides, see `oncoscope bank`")
    access(ask)
    bank = command(commands, "bank", "asking:bank", "put tiles of reference slides into a file, for `ask --bank`")
    bank.add_argument("store", metavar="STORE", type=Path, nargs="+", help="what `oncoscope embed` made")
    bank.add_argument("--out", type=Path, required=True, metavar="FILE", help="replaced where it exists")
    bank.add_argument("--mpp", type=float, metavar="UM", help="which zoom, where a store has several")
    bank.add_argument("--tiles", type=int, default=1000, metavar="N", help="of each slide at most (default 1000)")


def _words(ask: argparse.ArgumentParser) -> None:
    ask.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="may be repeated")
    ask.add_argument("--unlike", action="append", default=[], metavar="TEXT", help="what the prompts do not mean")
    ask.add_argument(
        "--prompts", metavar="FILE.toml", help="classes that are weighed against each other; or `breast-tissue`"
    )
    ask.add_argument("--screen", action="store_true", help="choose wordings of --prompts by the slide, without labels")


def _examples(ask: argparse.ArgumentParser) -> None:
    what = "the number of a tile in the store, X,Y in level-0 pixels, or outlines in a FILE.geojson"
    ask.add_argument("--example", action="append", default=[], metavar="WHAT", help=f"{what}; may be repeated")
    ask.add_argument(
        "--unlike-example", action="append", default=[], metavar="WHAT", help="the same, of what is not meant"
    )
    frame(ask)

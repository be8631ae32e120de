"""The grammar of `index` and `search`. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from api.cli.options import Commands, access, command


def add(commands: Commands) -> None:
    """Add the commands.

    Args:
        commands: Where to.
    """
    _index(command(commands, "index", "searching:index", "make the tiles of a cohort searchable"))
    search = command(commands, "search", "searching:search", "find tiles and slides of a cohort by text or by example")
    _search(search)
    access(search)


def _index(index: argparse.ArgumentParser) -> None:
    """Which slides come in, and which go."""
    index.add_argument(
        "manifest",
        metavar="MANIFEST.csv",
        type=Path,
        nargs="?",
        help="columns slide, path (a slide, or an embeddings store of it) and any to choose slides by",
    )
    index.add_argument(
        "--out", type=Path, required=True, metavar="INDEX", help="the index; grows where it is there already"
    )
    index.add_argument("--embeddings", type=Path, metavar="DIR", help="where `oncoscope embed` put the features")
    index.add_argument("--encoder", metavar="KEY", help="whose features (default: the index's, or tissue-lite0)")
    index.add_argument("--mpp", type=float, metavar="UM", help="scale of the tiles in um/px, where there are several")
    index.add_argument(
        "--remove",
        action="append",
        metavar="SLIDE",
        help="take a slide out (and the approximate index); repeatable",
    )
    index.add_argument(
        "--approximate", action="store_true", help="build the faster index that may miss tiles, too (extra `search`)"
    )


def _search(search: argparse.ArgumentParser) -> None:
    """What for, where, and how much of it is shown."""
    search.add_argument("index", metavar="INDEX", type=Path, help="what `oncoscope index` made")
    what = search.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="TEXT", help="words; without a text side one of the twelve tissues")
    what.add_argument("--tile", metavar="SLIDE,X,Y", help="the tile at a place in level-0 pixels")
    what.add_argument("--slide", metavar="SLIDE", help="the mean of a slide's tiles")
    what.add_argument("--embeddings", metavar="STORE", type=Path, help="the mean of a slide that is not in the index")
    search.add_argument("--weights", type=Path, metavar="FILE", help="weights of the text side that you have yourself")
    search.add_argument("--k", type=int, default=50, metavar="N", help="tiles to find (default 50)")
    search.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE,...", help="only such slides; may be repeated"
    )
    search.add_argument("--without", action="append", default=[], metavar="SLIDE", help="leave it out; may be repeated")
    search.add_argument("--per-slide", type=int, metavar="M", help="show at most so many tiles of a slide")
    search.add_argument("--overlap", action="store_true", help="show tiles that overlap, too")
    search.add_argument(
        "--mmr",
        type=float,
        nargs="?",
        const=0.7,
        metavar="LAMBDA",
        help="prefer tiles unlike those shown (default 0.7)",
    )
    search.add_argument("--approximate", action="store_true", help="faster, may miss tiles; slides are not scored")

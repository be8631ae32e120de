"""Options that several commands share, and how a command is added. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol

from api import NOTICE
from api.cli.reply import Reply

EPILOG: Final = f"exit status: 0 all is well, 1 a slide or job failed, 2 a wrong call. {NOTICE.capitalize()}."
Command = Callable[[argparse.Namespace], Reply]


class Commands(Protocol):
    """Where commands are added."""

    def add_parser(self, name: str, *, help: str, description: str, epilog: str) -> argparse.ArgumentParser:  # noqa: A002 - as argparse names it
        """Add one."""


def command(commands: Commands, name: str, target: str, text: str) -> argparse.ArgumentParser:
    """Add a command; its module is imported when it runs.

    Args:
        commands: Where to.
        name: What is typed.
        target: `module:function` below `api.cli`.
        text: What it does.

    Returns:
        Its parser.
    """
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)
    common(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=_late(target))
    return parser


def _late(target: str) -> Command:
    """A command that is imported on use."""
    module, _, name = target.partition(":")

    def run(arguments: argparse.Namespace) -> Reply:
        if hasattr(arguments, "policy"):  # a command that loads encoders
            from api.access import allow
            from api.settings import Settings

            allow(Settings(), online=arguments.online, policy=arguments.policy)
        command: Command = getattr(import_module(f"api.cli.{module}"), name)
        return command(arguments)

    return run


def common(parser: argparse.ArgumentParser, *, default: object) -> None:
    """Options that may stand before and after the command.

    Args:
        parser: Where to.
        default: Of both.
    """
    parser.add_argument("--json", action="store_true", default=default, help="print one JSON document")
    parser.add_argument("--debug", action="store_true", default=default, help="show tracebacks and warnings")


def slide(parser: argparse.ArgumentParser, what: str = "SLIDE", *, several: bool = False) -> None:
    """A slide and its scale.

    Args:
        parser: Where to.
        what: What the usage calls it.
        several: Whether there may be more than one.
    """
    text = "a path, or an s3:// or https:// address"
    parser.add_argument("slide", metavar=what, nargs="+" if several else None, help=text)
    parser.add_argument(
        "--mpp0", type=float, metavar="UM", help="level-0 scale in um/px, where the slide lacks it or is wrong"
    )
    parser.add_argument("--exact", action="store_true", help="decode in full and average, never shrink while decoding")
    parser.add_argument("--icc", action="store_true", help="convert colours to sRGB by the slide's profile")
    parser.add_argument("--untrusted", action="store_true", help="decode in a jailed process of its own")


def out(parser: argparse.ArgumentParser) -> None:
    """Where results go.

    Args:
        parser: Where to.
    """
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results; made where missing"
    )


def access(parser: argparse.ArgumentParser) -> None:
    """Where weights may come from, and what encoders may be used for.

    Args:
        parser: Where to.
    """
    parser.add_argument("--online", action="store_true", help="fetch weights that are lacking from the hub")
    parser.add_argument(
        "--policy", choices=("commercial", "research"), help="refuse encoders whose licence does not allow it"
    )


def place(text: str) -> Path | str:
    """A folder, or an address of object storage as it stands.

    Args:
        text: What was typed.

    Returns:
        The place.
    """
    return text if text.startswith("s3://") else Path(text)


def which_tiles(parser: argparse.ArgumentParser) -> None:
    """Which tiles are cut.

    Args:
        parser: Where to.
    """
    parser.add_argument("--overlap", type=int, default=0, metavar="PX", help="pixels that neighbours share (default 0)")
    parser.add_argument(
        "--min-tissue", type=float, default=0.25, metavar="SHARE", help="least tissue of a tile (default 0.25)"
    )
    parser.add_argument(
        "--sample", default="all", metavar="HOW", help="all, top:N by tissue, or stratified:N over the slide"
    )
    parser.add_argument("--mask", type=Path, metavar="FILE.geojson", help="where tissue is, see `oncoscope mask`")
    parser.add_argument("--segmenter", type=Path, metavar="FILE.onnx", help="a network that finds tissue")
    stain(parser)
    frame(parser)


def stain(parser: argparse.ArgumentParser) -> None:
    """What the slide is stained with.

    Args:
        parser: Where to.
    """
    parser.add_argument("--stain", choices=("he", "ihc", "any"), default="any", help="what the slide is stained with")


def frame(parser: argparse.ArgumentParser) -> None:
    """What outlines count from.

    Args:
        parser: Where to.
    """
    parser.add_argument(
        "--frame",
        choices=("slide", "bounds"),
        default="slide",
        help="outlines count from the slide's corner, or, for QuPath on MRXS, from the scanned part's (default slide)",
    )


def workers(parser: argparse.ArgumentParser) -> None:
    """Who does the work.

    Args:
        parser: Where to.
    """
    parser.add_argument("--scheduler", metavar="URL", help="address of a Dask scheduler")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="worker processes on this machine, without --scheduler"
    )
    parser.add_argument("--certs", type=Path, metavar="DIR", help="certificates for a scheduler at a tls:// address")

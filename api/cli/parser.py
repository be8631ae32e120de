"""The grammar of the command line. Imports nothing heavy: `oncoscope --help` must be quick."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn, Protocol

from api import NOTICE, VERSION
from api.cli.reply import WRONG_CALL, Reply

EPILOG: Final = f"exit status: 0 all is well, 1 a slide or job failed, 2 a wrong call. {NOTICE.capitalize()}."
Command = Callable[[argparse.Namespace], Reply]


class Commands(Protocol):
    """Where commands are added."""

    def add_parser(self, name: str, *, help: str, description: str, epilog: str) -> argparse.ArgumentParser:  # noqa: A002 - as argparse names it
        """Add one."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2.

        Args:
            message: What is wrong.
        """
        self.exit(WRONG_CALL, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line.

    Returns:
        The parser; what it parses has `run`, `json` and `debug`, and the options of one command.
    """
    parser = Parser(prog="oncoscope", description="Whole-slide pathology biomarkers.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"oncoscope {VERSION}")
    _common(parser, default=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_stages, _results, _service, _knowledge):
        add(commands)
    return parser


def _command(commands: Commands, name: str, target: str, text: str) -> argparse.ArgumentParser:
    """Add a command; its module is imported when it runs."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)
    _common(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=_late(target))
    return parser


def _late(target: str) -> Command:
    """A command that is imported on use."""
    module, _, name = target.partition(":")

    def run(arguments: argparse.Namespace) -> Reply:
        command: Command = getattr(import_module(f"api.cli.{module}"), name)
        return command(arguments)

    return run


def _common(parser: argparse.ArgumentParser, *, default: object) -> None:
    """Options that may stand before and after the command."""
    parser.add_argument("--json", action="store_true", default=default, help="print one JSON document")
    parser.add_argument("--debug", action="store_true", default=default, help="show tracebacks and warnings")


def _slide(parser: argparse.ArgumentParser, what: str = "SLIDE") -> None:
    """A slide and its scale."""
    parser.add_argument("slide", metavar=what, help="a path, or an s3:// or https:// address")
    parser.add_argument(
        "--mpp0", type=float, metavar="UM", help="level-0 scale in um/px, where the slide lacks it or is wrong"
    )
    parser.add_argument("--exact", action="store_true", help="decode in full and average, never shrink while decoding")
    parser.add_argument("--icc", action="store_true", help="convert colours to sRGB by the slide's profile")
    parser.add_argument("--untrusted", action="store_true", help="decode in a jailed process of its own")


def _out(parser: argparse.ArgumentParser) -> None:
    """Where results go."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results; made where missing"
    )


def _stages(commands: Commands) -> None:
    """Commands for one stage of the work."""
    _slide(_command(commands, "info", "slide:info", "say what is known of a slide"))
    tile = _command(commands, "tile", "slide:tile", "find tissue and cut it into tiles at several scales")
    _slide(tile)
    _out(tile)
    tile.add_argument(
        "--mpp", type=float, action="append", metavar="UM", help="scale of the tiles in um/px; may be repeated"
    )
    tile.add_argument("--tile", type=int, default=224, metavar="PX", help="side of a tile (default 224)")
    tile.add_argument(
        "--keep", choices=("jpeg", "raw", "no"), default="jpeg", help="how pixels are kept (default jpeg)"
    )
    embed = _command(commands, "embed", "slide:embed", "turn the tiles of a slide into features")
    _slide(embed, "SLIDE|STORE")
    _out(embed)
    embed.add_argument("--encoder", required=True, metavar="KEY", help="see `oncoscope encoders`")
    embed.add_argument("--weights", type=Path, metavar="FILE", help="weights that you have yourself")
    embed.add_argument(
        "--mpp", type=float, action="append", metavar="UM", help="scale of the tiles in um/px; may be repeated"
    )


def _results(commands: Commands) -> None:
    """Commands that answer a question about slides."""
    demo = _command(commands, "demo", "demo:demo", "score a sample slide and write its report")
    demo.add_argument(
        "--out", type=Path, default=Path("oncoscope-demo"), metavar="DIR", help="default: ./oncoscope-demo"
    )
    score = _command(commands, "score", "scoring:score", "score a slide and write its report")
    _slide(score)
    _out(score)
    score.add_argument(
        "--biomarker", required=True, metavar="NAME", help="see `oncoscope biomarkers`, or a card of your own"
    )
    cohort = _command(commands, "cohort", "scoring:cohort", "score every slide of a table")
    cohort.add_argument("manifest", metavar="MANIFEST.csv", type=Path, help="columns slide, path, patient, mpp0")
    _out(cohort)
    cohort.add_argument(
        "--biomarker", required=True, metavar="NAME", help="see `oncoscope biomarkers`, or a card of your own"
    )
    cohort.add_argument("--scheduler", metavar="URL", help="address of a Dask scheduler")
    cohort.add_argument(
        "--workers", type=int, metavar="N", help="worker processes on this machine, without --scheduler"
    )
    ask = _command(commands, "ask", "asking:ask", "ask a slide with words")
    _slide(ask, "SLIDE|STORE")
    _out(ask)
    ask.add_argument("--prompt", required=True, action="append", metavar="TEXT", help="may be repeated")
    verify = _command(commands, "verify", "checking:verify", "check every checksum of a store or result")
    verify.add_argument("store", metavar="STORE|RESULT", type=Path)


def _service(commands: Commands) -> None:
    """Commands that run until they are stopped."""
    serve = _command(commands, "serve", "service:serve", "serve over HTTP, with one worker beside it")
    serve.add_argument("--host", metavar="ADDRESS", help="default: this machine only")
    serve.add_argument("--port", type=int, metavar="N", help="default 8000; 0 takes any free port")
    serve.add_argument("--no-worker", action="store_true", help="leave the work to `oncoscope worker` processes")
    worker = _command(commands, "worker", "service:worker", "take jobs of a service and do them")
    for parser in (serve, worker):
        parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the service (default ./oncoscope-data)")


def _knowledge(commands: Commands) -> None:
    """Commands that say what is there."""
    _command(commands, "encoders", "checking:encoders", "list the encoders with their licences")
    _command(commands, "biomarkers", "checking:biomarkers", "list the biomarkers with their intended use")
    _command(commands, "doctor", "doctor:doctor", "check this installation and say what to do")

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
    for add in (_stages, _interchange, _results, _service, _cluster, _knowledge):
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
        if hasattr(arguments, "policy"):  # a command that loads encoders
            from api.access import allow
            from api.settings import Settings

            allow(Settings(), online=arguments.online, policy=arguments.policy)
        command: Command = getattr(import_module(f"api.cli.{module}"), name)
        return command(arguments)

    return run


def _common(parser: argparse.ArgumentParser, *, default: object) -> None:
    """Options that may stand before and after the command."""
    parser.add_argument("--json", action="store_true", default=default, help="print one JSON document")
    parser.add_argument("--debug", action="store_true", default=default, help="show tracebacks and warnings")


def _slide(parser: argparse.ArgumentParser, what: str = "SLIDE", *, several: bool = False) -> None:
    """A slide and its scale."""
    text = "a path, or an s3:// or https:// address"
    parser.add_argument("slide", metavar=what, nargs="+" if several else None, help=text)
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


def _access(parser: argparse.ArgumentParser) -> None:
    """Where weights may come from, and what encoders may be used for."""
    parser.add_argument("--online", action="store_true", help="fetch weights that are lacking from the hub")
    parser.add_argument(
        "--policy", choices=("commercial", "research"), help="refuse encoders whose licence does not allow it"
    )


def _place(text: str) -> Path | str:
    """A folder, or an address of object storage as it stands."""
    return text if text.startswith("s3://") else Path(text)


def _stages(commands: Commands) -> None:
    """Commands for one stage of the work."""
    _slide(_command(commands, "info", "slide:info", "say what is known of a slide"))
    tile = _command(commands, "tile", "tiles:tile", "find tissue and cut it into tiles at several scales")
    _slide(tile)
    tile.add_argument(
        "--out", type=_place, required=True, metavar="DIR", help="folder for stores, or an s3://bucket/prefix address"
    )
    tile.add_argument(
        "--scratch", type=Path, metavar="DIR", help="for s3://: folder that the workers share (default temporary files)"
    )
    tile.add_argument(
        "--mpp", type=float, action="append", metavar="UM", help="scale of the tiles in um/px; may be repeated"
    )
    tile.add_argument("--tile", type=int, default=224, metavar="PX", help="side of a tile (default 224)")
    tile.add_argument(
        "--keep", choices=("jpeg", "raw", "no"), default="jpeg", help="how pixels are kept (default jpeg)"
    )
    _which_tiles(tile)
    _workers(tile)
    mask = _command(commands, "mask", "mask:mask", "write the tissue of a slide as outlines to edit (GeoJSON)")
    _slide(mask)
    mask.add_argument("--out", type=Path, required=True, metavar="FILE.geojson", help="a new file")
    _stain(mask)
    _frame(mask)
    _embed(_command(commands, "embed", "embed:embed", "turn the tiles of slides into features"))


def _embed(embed: argparse.ArgumentParser) -> None:
    """Which slides, which encoders, on what."""
    _slide(embed, "SLIDE|STORE", several=True)
    _out(embed)
    embed.add_argument(
        "--encoder", action="append", metavar="KEY", help="see `oncoscope encoders`; may be repeated (default: our own)"
    )
    embed.add_argument("--weights", type=Path, metavar="FILE", help="weights that you have yourself")
    embed.add_argument(
        "--mpp", type=float, action="append", metavar="UM", help="scale of the tiles in um/px; may be repeated"
    )
    _access(embed)
    embed.add_argument("--batch", type=int, metavar="N", help="tiles given at once (default: what suits the device)")
    embed.add_argument(
        "--device", default="auto", metavar="WHERE", help="cpu, cuda (all GPUs), cuda:0, or auto (GPUs if any)"
    )
    embed.add_argument("--compile", action="store_true", help="let torch compile the network for the GPU first")
    embed.add_argument(
        "--override", action="store_true", help="feed an encoder what it is not meant for; this is recorded"
    )
    embed.add_argument("--one-pass", action="store_true", help="encode tiles of one slide on the workers that cut them")
    _workers(embed)


def _interchange(commands: Commands) -> None:
    """Commands that speak to other tools."""
    export = _command(commands, "export", "export:export", "write features in the layout of another tool")
    export.add_argument("store", metavar="STORE", type=Path, help="what `oncoscope embed` made")
    export.add_argument(
        "--to", required=True, choices=("trident", "clam", "stamp", "anndata", "spatialdata", "geojson")
    )
    _out(export)
    export.add_argument("--mpp", type=float, metavar="UM", help="which zoom, where the store has several")
    export.add_argument("--name", metavar="NAME", help="pseudonym that files are named by (default slide-DIGEST)")
    taken = _command(commands, "import", "export:import_file", "read features that another tool wrote")
    taken.add_argument("file", metavar="FILE", type=Path, help="one slide's features, HDF5")
    taken.add_argument("--from", dest="source", required=True, choices=("trident", "clam", "stamp", "anndata"))
    _out(taken)
    taken.add_argument("--encoder", metavar="KEY", help="what made them, where the file does not say")
    taken.add_argument("--mpp0", type=float, metavar="UM", help="level-0 scale in um/px, where the file does not say")
    taken.add_argument("--mpp", type=float, metavar="UM", help="scale of the tiles in um/px, the same")
    taken.add_argument("--tile", type=int, metavar="PX", help="side of a tile at that scale, the same")


def _which_tiles(parser: argparse.ArgumentParser) -> None:
    """Which tiles are cut."""
    parser.add_argument("--overlap", type=int, default=0, metavar="PX", help="pixels that neighbours share (default 0)")
    parser.add_argument(
        "--min-tissue", type=float, default=0.25, metavar="SHARE", help="least tissue of a tile (default 0.25)"
    )
    parser.add_argument(
        "--sample", default="all", metavar="HOW", help="all, top:N by tissue, or stratified:N over the slide"
    )
    parser.add_argument("--mask", type=Path, metavar="FILE.geojson", help="where tissue is, see `oncoscope mask`")
    parser.add_argument("--segmenter", type=Path, metavar="FILE.onnx", help="a network that finds tissue")
    _stain(parser)
    _frame(parser)


def _stain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stain", choices=("he", "ihc", "any"), default="any", help="what the slide is stained with")


def _frame(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frame",
        choices=("slide", "bounds"),
        default="slide",
        help="outlines count from the slide's corner, or, for QuPath on MRXS, from the scanned part's (default slide)",
    )


def _workers(parser: argparse.ArgumentParser) -> None:
    """Who does the work."""
    parser.add_argument("--scheduler", metavar="URL", help="address of a Dask scheduler")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="worker processes on this machine, without --scheduler"
    )
    parser.add_argument("--certs", type=Path, metavar="DIR", help="certificates for a scheduler at a tls:// address")


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
    _access(score)
    cohort = _command(commands, "cohort", "scoring:cohort", "score every slide of a table")
    cohort.add_argument("manifest", metavar="MANIFEST.csv", type=Path, help="columns slide, path, patient, mpp0")
    _out(cohort)
    cohort.add_argument(
        "--biomarker", required=True, metavar="NAME", help="see `oncoscope biomarkers`, or a card of your own"
    )
    _access(cohort)
    _workers(cohort)
    cohort.add_argument("--gpu", action="store_true", help="score on workers with a GPU only")
    ask = _command(commands, "ask", "asking:ask", "ask a slide with words")
    _slide(ask, "SLIDE|STORE")
    _out(ask)
    ask.add_argument("--prompt", required=True, action="append", metavar="TEXT", help="may be repeated")
    verify = _command(commands, "verify", "checking:verify", "check every checksum of a store or result")
    verify.add_argument("store", metavar="STORE|RESULT", type=_place, help="a folder, or the s3:// address of a store")


def _service(commands: Commands) -> None:
    """Commands that run until they are stopped."""
    serve = _command(commands, "serve", "service:serve", "serve over HTTP, with one worker beside it")
    serve.add_argument("--host", metavar="ADDRESS", help="default: this machine only")
    serve.add_argument("--port", type=int, metavar="N", help="default 8000; 0 takes any free port")
    serve.add_argument("--no-worker", action="store_true", help="leave the work to `oncoscope worker` processes")
    worker = _command(commands, "worker", "service:worker", "take jobs of a service and do them")
    for parser in (serve, worker):
        parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the service (default ./oncoscope-data)")


def _cluster(commands: Commands) -> None:
    """Commands for many machines."""
    text = "make certificates for a Dask cluster, or run one on SLURM"
    parser = commands.add_parser("cluster", help=text, description=f"{text.capitalize()}.", epilog=EPILOG)
    below = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    certs = _command(below, "certs", "cluster:certs", "make certificates and say how a cluster is started with them")
    certs.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that is made for them")
    certs.add_argument(
        "--host", action="append", metavar="NAME", help="of the scheduler, then of workers; default this machine"
    )
    certs.add_argument("--days", type=int, default=365, metavar="N", help="how long they are valid (default 365)")
    slurm = _command(below, "slurm", "cluster:slurm", "run a scheduler whose workers are jobs of SLURM")
    for name, what in (("queue", "partition"), ("memory", "of a job, such as 64GB"), ("walltime", "such as 08:00:00")):
        slurm.add_argument(f"--{name}", required=True, metavar=name.upper(), help=what)
    slurm.add_argument("--certs", type=Path, required=True, metavar="DIR", help="see `oncoscope cluster certs`")
    slurm.add_argument("--cores", type=int, required=True, metavar="N", help="of a job")
    slurm.add_argument("--gpus", type=int, default=0, metavar="N", help="of a job (default 0)")
    slurm.add_argument("--jobs", type=int, default=1, metavar="N", help="how many (default 1)")
    slurm.add_argument("--host", metavar="NAME", help="of this machine, as the workers know it")
    slurm.add_argument("--port", type=int, default=8786, metavar="N", help="default 8786")
    slurm.add_argument("--print", action="store_true", help="print the script of a job, start nothing")


def _knowledge(commands: Commands) -> None:
    """Commands that say what is there."""
    _access(_command(commands, "encoders", "checking:encoders", "list the encoders with their licences"))
    _command(commands, "biomarkers", "checking:biomarkers", "list the biomarkers with their intended use")
    _access(_command(commands, "doctor", "doctor:doctor", "check this installation and say what to do"))

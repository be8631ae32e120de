"""The grammar of the command line. Imports nothing heavy: `oncoscope --help` must be quick."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from api import VERSION
from api.cli import asking_parser, judging_parser, searching_parser, training_parser, tuning_parser
from api.cli.options import (
    EPILOG,
    Commands,
    access,
    command,
    common,
    frame,
    out,
    place,
    slide,
    stain,
    which_tiles,
    workers,
)
from api.cli.reply import WRONG_CALL


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
    common(parser, default=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    answers = (asking_parser.add, searching_parser.add, training_parser.add, tuning_parser.add, judging_parser.add)
    for add in (_stages, _interchange, _results, *answers, _service, _cluster, _knowledge):
        add(commands)
    return parser


def _stages(commands: Commands) -> None:
    """Commands for one stage of the work."""
    slide(command(commands, "info", "slide:info", "say what is known of a slide"))
    tile = command(commands, "tile", "tiles:tile", "find tissue and cut it into tiles at several scales")
    slide(tile)
    tile.add_argument(
        "--out", type=place, required=True, metavar="DIR", help="folder for stores, or an s3://bucket/prefix address"
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
    which_tiles(tile)
    workers(tile)
    mask = command(commands, "mask", "mask:mask", "write the tissue of a slide as outlines to edit (GeoJSON)")
    slide(mask)
    mask.add_argument("--out", type=Path, required=True, metavar="FILE.geojson", help="a new file")
    stain(mask)
    frame(mask)
    _embed(command(commands, "embed", "embed:embed", "turn the tiles of slides into features"))


def _embed(embed: argparse.ArgumentParser) -> None:
    """Which slides, which encoders, on what."""
    slide(embed, "SLIDE|STORE", several=True)
    out(embed)
    embed.add_argument(
        "--encoder", action="append", metavar="KEY", help="see `oncoscope encoders`; may be repeated (default: our own)"
    )
    embed.add_argument("--weights", type=Path, metavar="FILE", help="weights that you have yourself")
    embed.add_argument(
        "--mpp",
        type=float,
        action="append",
        metavar="UM",
        help="scale of the tiles in um/px; may be repeated (default: those of the encoder that the slide has)",
    )
    access(embed)
    embed.add_argument("--batch", type=int, metavar="N", help="tiles given at once (default: what suits the device)")
    embed.add_argument(
        "--device", default="auto", metavar="WHERE", help="cpu, cuda (all GPUs), cuda:0, or auto (GPUs if any)"
    )
    embed.add_argument("--compile", action="store_true", help="let torch compile the network for the GPU first")
    embed.add_argument(
        "--override", action="store_true", help="feed an encoder what it is not meant for; this is recorded"
    )
    embed.add_argument("--one-pass", action="store_true", help="encode tiles of one slide on the workers that cut them")
    workers(embed)


def _interchange(commands: Commands) -> None:
    """Commands that speak to other tools."""
    export = command(commands, "export", "export:export", "write features in the layout of another tool")
    export.add_argument("store", metavar="STORE", type=Path, help="what `oncoscope embed` made")
    export.add_argument(
        "--to", required=True, choices=("trident", "clam", "stamp", "anndata", "spatialdata", "geojson")
    )
    out(export)
    export.add_argument("--mpp", type=float, metavar="UM", help="which zoom, where the store has several")
    export.add_argument("--name", metavar="NAME", help="pseudonym that files are named by (default slide-DIGEST)")
    taken = command(commands, "import", "export:import_file", "read features that another tool wrote")
    taken.add_argument("file", metavar="FILE", type=Path, help="one slide's features, HDF5")
    taken.add_argument("--from", dest="source", required=True, choices=("trident", "clam", "stamp", "anndata"))
    out(taken)
    taken.add_argument("--encoder", metavar="KEY", help="what made them, where the file does not say")
    taken.add_argument("--mpp0", type=float, metavar="UM", help="level-0 scale in um/px, where the file does not say")
    taken.add_argument("--mpp", type=float, metavar="UM", help="scale of the tiles in um/px, the same")
    taken.add_argument("--tile", type=int, metavar="PX", help="side of a tile at that scale, the same")


def _results(commands: Commands) -> None:
    """Commands that answer a question about slides."""
    demo = command(commands, "demo", "demo:demo", "score a sample slide and write its report")
    demo.add_argument(
        "--out", type=Path, default=Path("oncoscope-demo"), metavar="DIR", help="default: ./oncoscope-demo"
    )
    score = command(commands, "score", "scoring:score", "score a slide and write its report")
    slide(score)
    out(score)
    score.add_argument(
        "--biomarker", required=True, metavar="NAME", help="see `oncoscope biomarkers`, or a card of your own"
    )
    access(score)
    cohort = command(commands, "cohort", "scoring:cohort", "score every slide of a table")
    cohort.add_argument("manifest", metavar="MANIFEST.csv", type=Path, help="columns slide, path, patient, mpp0")
    out(cohort)
    cohort.add_argument(
        "--biomarker", required=True, metavar="NAME", help="see `oncoscope biomarkers`, or a card of your own"
    )
    access(cohort)
    workers(cohort)
    cohort.add_argument("--gpu", action="store_true", help="score on workers with a GPU only")
    verify = command(commands, "verify", "checking:verify", "check every checksum of a store or result")
    verify.add_argument("store", metavar="STORE|RESULT", type=place, help="a folder, or the s3:// address of a store")


def _service(commands: Commands) -> None:
    """Commands that run until they are stopped."""
    serve = command(commands, "serve", "service:serve", "serve over HTTP, with one worker beside it")
    serve.add_argument("--host", metavar="ADDRESS", help="default: this machine only")
    serve.add_argument("--port", type=int, metavar="N", help="default 8000; 0 takes any free port")
    serve.add_argument("--no-worker", action="store_true", help="leave the work to `oncoscope worker` processes")
    worker = command(commands, "worker", "service:worker", "take jobs of a service and do them")
    for parser in (serve, worker):
        parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the service (default ./oncoscope-data)")


def _cluster(commands: Commands) -> None:
    """Commands for many machines."""
    text = "make certificates for a Dask cluster, or run one on SLURM"
    parser = commands.add_parser("cluster", help=text, description=f"{text.capitalize()}.", epilog=EPILOG)
    below = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    certs = command(below, "certs", "cluster:certs", "make certificates and say how a cluster is started with them")
    certs.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that is made for them")
    certs.add_argument(
        "--host", action="append", metavar="NAME", help="of the scheduler, then of workers; default this machine"
    )
    certs.add_argument("--days", type=int, default=365, metavar="N", help="how long they are valid (default 365)")
    slurm = command(below, "slurm", "cluster:slurm", "run a scheduler whose workers are jobs of SLURM")
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
    access(command(commands, "encoders", "checking:encoders", "list the encoders with their licences"))
    command(commands, "biomarkers", "checking:biomarkers", "list the biomarkers with their intended use")
    access(command(commands, "doctor", "doctor:doctor", "check this installation and say what to do"))

"""The grammar of `tune`."""

from __future__ import annotations

from pathlib import Path

from api.cli.options import Commands, command, workers


def add(commands: Commands) -> None:
    """Add the command.

    Args:
        commands: Where to.
    """
    tune = command(commands, "tune", "tuning:tune", "find better settings of an experiment, on its training cases")
    tune.add_argument(
        "experiment", metavar="EXPERIMENT.toml", type=Path, help="with a table [tune], see docs/tuning.md"
    )
    tune.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the tuning, new or its own")
    tune.add_argument(
        "--trials", type=int, metavar="N", help="settings to try in each search (default: as [tune] says)"
    )
    workers(tune)

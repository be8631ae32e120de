"""The grammar of `train`."""

from __future__ import annotations

from pathlib import Path

from api.cli.options import Commands, command, workers


def add(commands: Commands) -> None:
    """Add the command.

    Args:
        commands: Where to.
    """
    train = command(commands, "train", "training:train", "train and judge a head as an experiment says")
    train.add_argument("experiment", metavar="EXPERIMENT.toml", type=Path, help="see docs/training.md")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run, new or its own")
    workers(train)

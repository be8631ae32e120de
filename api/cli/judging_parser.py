"""The grammar of `evaluate`."""

from __future__ import annotations

from pathlib import Path

from api.cli.options import Commands, command


def add(commands: Commands) -> None:
    """Add the command.

    Args:
        commands: Where to.
    """
    evaluate = command(commands, "evaluate", "judging:evaluate", "judge a run, and write a page and figures")
    evaluate.add_argument("run_folder", metavar="RUN", type=Path, help="what `oncoscope train` made")
    evaluate.add_argument("--bags", type=Path, metavar="F", help="cases of elsewhere (default: those of the run)")
    evaluate.add_argument("--labels", type=Path, metavar="F", help="their labels, where the bags do not carry them")
    evaluate.add_argument(
        "--column", action="append", default=[], metavar="OURS=THEIRS", help="a column that they call otherwise"
    )
    evaluate.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=TEXT[,TEXT]", help="only rows that have one of these"
    )
    evaluate.add_argument("--test", action="store_true", help="open the sealed test set of the run, which can be once")
    evaluate.add_argument("--unseal", action="store_true", help="open it again; the card will say so")
    evaluate.add_argument(
        "--group", action="append", default=[], metavar="COLUMN", help="figures by group; may be repeated"
    )
    evaluate.add_argument("--treatment", default="", metavar="COLUMN", help="who was treated: 1 or 0")
    evaluate.add_argument("--biology", default="", metavar="COLUMN", help="what tissue is, for the robustness index")
    evaluate.add_argument("--prevalence", type=float, metavar="P", help="share of positives where answers will be used")
    evaluate.add_argument(
        "--harmonise", choices=("combat", "coral"), help="judge with centres made like training beside"
    )
    evaluate.add_argument("--against", type=Path, metavar="RUN", help="another run of the same task, to compare with")
    evaluate.add_argument("--data", type=Path, metavar="DIR", help="where the data of the run is, if it was moved")
    evaluate.add_argument("--resamples", type=int, default=2000, metavar="N", help="of each interval (default 2000)")
    evaluate.add_argument("--seed", type=int, default=0, metavar="N", help="of resamples and folds (default 0)")
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="for the report (default: a folder in RUN)")

"""Encoders as people read them: a table for `encoders`, and for `doctor` what keeps each from running here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Final

from api import catalogue
from foundation.access import chosen

COLUMNS: Final = f"{'key':25}{'family':13}{'use':11}{'weights':8}{'here':19}{'what':46}licence"
WIDTH: Final = 118
ADVICE: Final = {
    "missing weights": "put each file into the weights folder (ONCOSCOPE_WEIGHTS) as <key>/<file>, or allow --online",
    "missing package": "--json names it; take it from its authors, for PyPI may have another of that name",
    "needs remote code": "code that comes with weights is never run here",
    "no loader": "nothing here loads them; a plug-in may",
    "refused by policy": "their licences are not known to allow commercial use",
}
"""State -> what to do about it, or why nothing is done."""


def known_encoders() -> dict[str, Any]:
    """All encoders with their states, as documents.

    Returns:
        `policy`, `online`, `weights_folder`, `encoders` and `slide_encoders`.
    """
    access = chosen()
    return {
        "policy": access.policy,
        "online": access.online,
        "weights_folder": None if access.folder is None else str(access.folder),
        "encoders": catalogue.encoders(access),
        "slide_encoders": catalogue.slide_encoders(access),
    }


def encoder_table(known: Mapping[str, Any]) -> list[str]:
    """One line an encoder.

    Args:
        known: What `known_encoders` gave.

    Returns:
        The lines.
    """
    tiles, slides = known["encoders"], known["slide_encoders"]
    return [
        COLUMNS,
        *(_line(row, f"{row['dim']:4d} of {row['tile_px']} px, {_scales(row['mpp'])}") for row in tiles),
        "slide encoders, and whose features they take:",
        *(_line(row, ", ".join(row["tile_encoders"]) or "any encoder") for row in slides),
    ]


def encoder_lines(known: Mapping[str, Any]) -> list[str]:
    """One paragraph a state, with the keys of those in it.

    Args:
        known: What `known_encoders` gave.

    Returns:
        The lines.
    """
    folder = known["weights_folder"] or "none (set ONCOSCOPE_WEIGHTS)"
    hub = "the hub may be asked" if known["online"] else "offline"
    lines = [f"encoders under the policy {known['policy']}; weights folder: {folder}; {hub}"]
    for kind, title in (("encoders", ""), ("slide_encoders", "slide encoders, ")):
        lines += _by_state(known[kind], title)
    return lines


def _by_state(rows: Sequence[Mapping[str, Any]], title: str) -> list[str]:
    states = dict.fromkeys(row["state"] for row in rows)
    return [
        _paragraph(f"{title}{state}", state, [row["key"] for row in rows if row["state"] == state]) for state in states
    ]


def _paragraph(title: str, state: str, keys: Sequence[str]) -> str:
    advice = f" ({ADVICE[state]})" if state in ADVICE else ""
    text = f"  {title}: {', '.join(keys)}{advice}"
    return fill(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _line(row: Mapping[str, Any], what: str) -> str:
    use, gate = "commercial" if row["commercial"] else "research", "gated" if row["gated"] else "open"
    return f"{row['key']:25}{row['family']:13}{use:11}{gate:8}{row['state']:19}{what:46}{row['licence']}"


def _scales(mpp: Sequence[float]) -> str:
    """The scales an encoder is meant for."""
    return f"{', '.join(f'{scale:g}' for scale in mpp)} um/px" if mpp else "any scale"

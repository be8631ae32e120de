"""The journeys of the README run as they stand there.

A fenced block follows a comment line: `<!-- run: NAME -->` runs it, `<!-- no-run: REASON -->` does not.
Blocks of one name are one journey: they run in order in one empty folder that holds a generated slide, `slide.tiff`.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from slides.testing import write_slide

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 240
PORT = "8000"  # the service's default, so what the README says; replaced by a free one
FENCE = re.compile(
    r"^(?:<!-- (?P<verb>run|no-run): (?P<what>[^>]+?) -->\n+)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its marker (`run`, `no-run` or nothing), the name or reason in it, language and code."""

    verb: str | None
    what: str
    language: str
    code: str


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a Markdown text, in order."""
    return [Block(m["verb"], m["what"] or "", m["language"], m["code"]) for m in FENCE.finditer(text)]


def journeys() -> dict[str, list[Block]]:
    """The runnable blocks of the README by the name of their journey."""
    found: dict[str, list[Block]] = defaultdict(list)
    for block in blocks((ROOT / "README.md").read_text()):
        if block.verb == "run":
            found[block.what].append(block)
    return dict(found)


def free_port() -> str:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def execute(block: Block, folder: Path, port: str) -> str:
    """Run one block in a folder; whatever it starts is ended with it.

    Returns:
        What it printed, both streams.
    """
    script = folder / f".block.{block.language}"
    script.write_text(block.code.replace(PORT, port))
    command = {"bash": ["bash", "-euo", "pipefail"], "python": [sys.executable]}[block.language]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "ONCOSCOPE_PORT": port}
    log = folder / ".block.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, script.name],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(SECONDS)
        finally:
            end_group(process)
    said = log.read_text()
    assert status == 0, f"{block.what}: exit status {status}\n{said[-4000:]}"
    return said


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a block and everything it left in the background."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    process.wait(20)


@pytest.mark.parametrize("name", ["lab", "researcher", "tiles", "text"])
def test_journey(name: str, tmp_path: Path) -> None:
    write_slide(tmp_path / "slide.tiff", size=(2400, 2000))
    port = free_port()
    for block in journeys()[name]:
        assert execute(block, tmp_path, port).strip(), "a step that shows nothing teaches nothing"


def test_no_journey_is_forgotten() -> None:
    assert set(journeys()) == {"lab", "researcher", "tiles", "text"}


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_every_block_says_whether_it_runs(path: Path) -> None:
    assert not [block.code for block in blocks(path.read_text()) if block.verb is None]


def test_blocks_are_found() -> None:
    text = "a\n<!-- run: one -->\n```bash\nls\n```\nb\n\n```python\n1\n```\n"
    assert blocks(text) == [Block("run", "one", "bash", "ls\n"), Block(None, "", "python", "1\n")]


def test_a_failing_step_fails_its_journey(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit status 1"):
        execute(Block("run", "x", "bash", "false\ntrue\n"), tmp_path, PORT)


def test_links_of_the_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    dead = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert not dead

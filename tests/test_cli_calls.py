"""The command line as a program: exit status, one JSON document, one sentence, nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic_settings import SettingsError

from api.cli.failure import reply_of
from api.settings import Settings
from slides.testing import write_slide

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[1]
CANARY = "DOE_JOHN_19570312"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the command line in an empty folder."""
    folder = tmp_path_factory.mktemp("cwd")
    env = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "api.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=folder, env=env | more, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides good and bad, all named after a patient."""
    folder = tmp_path_factory.mktemp(f"slides_{CANARY}")
    whole = write_slide(folder / f"{CANARY}_good.svs", size=(700, 500))
    write_slide(folder / f"{CANARY}_no_mpp.svs", size=(700, 500), mpp=None)
    write_slide(folder / f"{CANARY}_glass.svs", size=(700, 500), kind="glass")
    (folder / f"{CANARY}_cut.svs").write_bytes(whole.read_bytes()[:40_000])
    (folder / f"{CANARY}_text.svs").write_text(f"not a slide of {CANARY}")
    return folder


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The complaint, which is all that standard error holds."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("oncoscope")
    assert "Traceback" not in lines[0]
    return lines[0]


def test_help_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'torch', 'fastapi', 'pydantic', 'sqlalchemy', 'cv2', 'tqdm'}"
    code = f"import sys; from api.cli import main; main(['--help']); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("demo", "info", "tile", "embed", "score", "cohort", "ask", "serve", "worker", "doctor", "verify"):
        assert command in done.stdout
    assert "research use only" in " ".join(done.stdout.lower().split())


def test_app_loads_neither_torch_nor_dask() -> None:
    heavy = "{'torch', 'dask', 'distributed', 'timm'}"
    code = f"import sys, api.app, api.cli, api.worker; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WRONG_CALLS: list[tuple[list[str], str]] = [
    ([], "COMMAND"),
    (["dance"], "dance"),
    (["score", "SLIDE"], "--biomarker"),
    (["score", "SLIDE", "--out", "o", "--biomarker", "immune-magic"], "tissue-composition"),
    (["info", "SLIDE", "--mpp0", "-1"], "plausible"),
    (["info", "SLIDE", "--mpp0", "half"], "--mpp0"),
    (["tile", "SLIDE", "--out", "o", "--keep", "png"], "--keep"),
    (["tile", "SLIDE", "--out", "o", "--tile", "3"], "3 px"),
    (["embed", "SLIDE", "--out", "o", "--encoder", "bultin"], "builtin"),
    (["ask", "SLIDE", "--out", "o", "--prompt", "strom"], "stroma"),
    (["cohort", "missing.csv", "--out", "o", "--biomarker", "demo-response"], "manifest"),
    (["cohort", "missing.csv", "--out", "o", "--biomarker", "demo-response", "--workers", "0"], "--workers"),
    (["verify", "."], "store"),
    (["serve", "--port", "99999"], "PORT"),
]


@pytest.mark.parametrize(("arguments", "word"), WRONG_CALLS, ids=str)
def test_wrong_call_is_2_and_says_why(run: Run, folder: Path, arguments: list[str], word: str) -> None:
    slide = str(folder / f"{CANARY}_good.svs")
    done = run(*[slide if argument == "SLIDE" else argument for argument in arguments])
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    sentence = one_sentence(done)
    assert word in sentence
    assert CANARY not in sentence


@pytest.mark.parametrize(
    ("name", "command", "words"),
    [
        ("missing", ["info"], "there is no file"),
        ("text", ["info"], "not a slide"),
        ("cut", ["info"], "cut off"),
        ("no_mpp", ["tile", "--out", "o"], "not evaluable, because"),
        ("glass", ["tile", "--out", "o"], "not evaluable, because"),
        ("no_mpp", ["score", "--out", "o", "--biomarker", "demo-response"], "--mpp0"),
    ],
)
def test_bad_slide_is_1_and_says_why(run: Run, folder: Path, name: str, command: list[str], words: str) -> None:
    slide = folder / f"{CANARY}_{name}.svs"
    done = run(command[0], slide, *command[1:], "--json")
    document = json.loads(done.stdout)
    sentence = one_sentence(done)
    assert done.returncode == 1
    assert words in sentence
    assert document["state"] == ("not_evaluable" if "because" in sentence else "failed")
    assert document["error"]["detail"] in sentence
    assert CANARY not in done.stdout + done.stderr


def test_nothing_is_left_of_a_slide_that_cannot_be_tiled(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("tile", folder / f"{CANARY}_glass.svs", "--out", out).returncode == 1
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_info(run: Run, folder: Path) -> None:
    done = run("info", folder / f"{CANARY}_good.svs", "--json")
    document = json.loads(done.stdout)
    wanted = {"size", "mpp", "mpp_source", "reader", "format", "levels", "content_hash", "warnings"}
    assert done.returncode == 0
    assert done.stderr == ""
    assert wanted <= set(document)
    assert (document["size"], document["mpp"], document["mpp_source"]) == ([700, 500], [0.5, 0.5], "header")
    assert len(document["content_hash"]) == 64
    assert "research use only" in document["notice"].lower()
    assert CANARY not in done.stdout
    text = run("info", folder / f"{CANARY}_good.svs")
    assert "700 x 500 px" in text.stdout
    assert "research use only" in text.stdout
    assert CANARY not in text.stdout


def test_caller_states_the_scale(run: Run, folder: Path) -> None:
    without = json.loads(run("--json", "info", folder / f"{CANARY}_no_mpp.svs").stdout)
    stated = json.loads(run("info", "--json", folder / f"{CANARY}_no_mpp.svs", "--mpp0", "0.46").stdout)
    assert (without["mpp"], without["mpp_source"]) == (None, "none")
    assert (stated["mpp"], stated["mpp_source"]) == ([0.46, 0.46], "caller")


def test_debug_shows_where(run: Run, folder: Path) -> None:
    done = run("info", folder / f"{CANARY}_text.svs", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_bad_setting_is_one_sentence(run: Run) -> None:
    done = run("serve", ONCOSCOPE_PORT="many")
    assert done.returncode == 2
    assert "ONCOSCOPE_PORT" in one_sentence(done)


def test_names_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().hosts == ()
    monkeypatch.setenv("ONCOSCOPE_HOSTS", "slides.example, lab.example")
    found = Settings()
    assert found.hosts == ("slides.example", "lab.example")
    assert Settings.model_validate_json(found.model_dump_json()) == found


def test_settings_that_cannot_be_read_are_a_wrong_call() -> None:
    reply = reply_of(SettingsError("of DOE_JOHN"))
    assert reply.status == 2
    assert "ONCOSCOPE_" in reply.complaint
    assert "DOE" not in reply.complaint


def test_warnings_of_libraries_are_kept_back() -> None:
    code = "import warnings; from api.logs import start_logging; start_logging(); warnings.warn('of DOE_JOHN')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_catalogues_and_doctor(run: Run) -> None:
    encoders = json.loads(run("encoders", "--json").stdout)["encoders"]
    cards = json.loads(run("biomarkers", "--json").stdout)["biomarkers"]
    assert {"key", "licence", "dim", "mpp"} <= set(encoders[0])
    assert {"tissue-composition", "demo-response"} <= {card["name"] for card in cards}
    done = run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    assert all(check["state"] in {"ok", "warn"} for check in checks.values())
    assert {"python", "libraries", "openslide", "weights", "database", "folders"} <= set(checks)
    assert "4." in checks["openslide"]["detail"]
    assert "weights" in run("doctor").stdout

"""The rules of the house that no linter knows: sizes, owners of names, what may be imported and written where."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGES = ("slides", "tiling", "foundation", "mil", "biomarkers", "api")
ROOT = Path(__file__).resolve().parents[1]
FILE_LINES, FILE_MEDIAN = 300, 120
FUNCTION_LINES, FUNCTION_P90 = 50, 25
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}
COMPANIONS = {"distributed", "starlette", "pydantic-core"}  # come with, and are pinned by, what is declared
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def files(*suffixes: str) -> list[Path]:
    """Files of the repository: known to git, or new and not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    paths = [ROOT / name for name in sorted(set(listing.split("\0"))) if name]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def source(*, packages_only: bool = True) -> Iterator[tuple[str, ast.Module]]:
    """Name inside the repository and syntax tree of each Python file."""
    for path in files(".py"):
        name = path.relative_to(ROOT)
        if not packages_only or name.parts[0] in PACKAGES:
            yield str(name), ast.parse(path.read_text())


def imported(tree: ast.AST) -> set[str]:
    """Top-level modules that a tree imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an attribute chain; an empty string for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called."""
    return ((dotted(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def keyword(call: ast.Call, name: str) -> object:
    """Literal value of a keyword of a call; None where it is absent or not a literal."""
    values = [item.value for item in call.keywords if item.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def reads_environment(tree: ast.AST) -> bool:
    names = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    froms = {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "os" for a in n.names}
    return bool(
        names & {"os.environ", "os.environb", "os.getenv", "os.putenv"} or froms & {"environ", "getenv", "putenv"}
    )


def unsafe(tree: ast.AST) -> list[str]:
    """What could run code that stands in data."""
    found = [f"imports {name}" for name in sorted(imported(tree) & UNSAFE_MODULES)]
    for name, call in calls(tree):
        if name == "torch.load" and keyword(call, "weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if name in {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
            found.append(name)
        if keyword(call, "allow_pickle") is True:
            found.append("allow_pickle=True")
    return found


def test_every_package_is_there() -> None:
    assert {name.split("/")[0] for name, _ in source()} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_our_names(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"oncoscope"}


def test_files_can_be_known() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files(".py")}
    assert not {name: lines for name, lines in lengths.items() if lines > FILE_LINES}
    assert statistics.median(lines for name, lines in lengths.items() if name.split("/")[0] in PACKAGES) <= FILE_MEDIAN


def test_functions_can_be_seen_at_once() -> None:
    lengths = [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{name}:{node.name}")
        for name, tree in source(packages_only=False)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert not [(lines, name) for lines, name in lengths if lines > FUNCTION_LINES]
    ours = [lines for lines, name in lengths if name.split("/")[0] in PACKAGES]
    assert statistics.quantiles(ours, n=10)[-1] <= FUNCTION_P90


def test_nothing_names_a_machine_or_a_registry() -> None:
    # Written in pieces, so that this file passes its own test.
    roots = "work|root|farm|opt"  # not home: tests of privacy name made-up ones
    hosts = "|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "deb" + r"\.debian\.org", "registry" + r"\.npmjs"))
    options = "|".join(("--index" + "-url", "--extra-index" + "-url", "--find" + "-links", "file:/" + "//"))
    pattern = re.compile(rf"(?<![\w./~])/(?:{roots})/\w|{hosts}|{options}")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        if path.suffix not in {".png", ".safetensors", ".tiff", ".svs", ".npz"}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_the_environment_is_read_in_one_place() -> None:
    assert {name for name, tree in source() if reads_environment(tree)} <= {"api/settings.py"}


def test_dask_is_imported_in_one_place() -> None:
    assert {name for name, tree in source() if imported(tree) & {"dask", "distributed"}} == {"tiling/cluster.py"}


def test_data_never_becomes_code() -> None:
    # Tests attack with pickles, and conformance kits prove that addresses survive one.
    product = [
        (n, t) for n, t in source(packages_only=False) if not n.startswith("tests/") and not n.endswith("/testing.py")
    ]
    assert not {name: found for name, tree in product if (found := unsafe(tree))}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "eval('1')",
        "yaml.load(text)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_the_test_for_unsafe_code_can_fail(line: str) -> None:
    assert unsafe(ast.parse(line))


@pytest.mark.parametrize("line", ["import os; os.environ['A']", "os.getenv('A')", "from os import environ"])
def test_the_test_for_the_environment_can_fail(line: str) -> None:
    assert reads_environment(ast.parse(line))


@pytest.mark.parametrize("module", ["api.app", *PACKAGES])
def test_importing_loads_no_torch(module: str) -> None:
    code = (
        f"import {module}, sys; sys.exit(' '.join(sorted({{'torch', 'timm', 'open_clip'}} & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_pin_is_exact_and_covers_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {canonical(line) for line in lines}
    assert {canonical(requirement) for requirement in declared} <= pinned
    assert {"torch==2.13.0", "torchvision==0.28.0"} <= set(lines)


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked_for = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]  # the extra is imported late
    declared = {canonical(requirement) for requirement in asked_for} | COMPANIONS
    owners = packages_distributions()
    undeclared = {
        f"{name}: {module}"
        for name, tree in source()
        if not name.endswith("testing.py")  # the conformance kits run inside somebody's pytest
        for module in imported(tree) - set(PACKAGES) - sys.stdlib_module_names
        if not {canonical(owner) for owner in owners.get(module, ["?"])} & declared
    }
    assert not undeclared


def canonical(requirement: str) -> str:
    """Name of the distribution in a requirement line, as registries compare names."""
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else requirement


def test_continuous_integration_runs_the_commands_of_the_readme() -> None:
    script, readme = (ROOT / ".ci" / "run").read_text(), (ROOT / "README.md").read_text()
    assert re.search(r"^make test\b", script, re.MULTILINE)
    assert re.search(r"^make check$", script, re.MULTILINE)
    assert re.search(r"^make demo$", readme, re.MULTILINE)
    assert re.search(r"^make test$", readme, re.MULTILINE)

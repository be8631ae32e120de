"""A cluster over TLS: the printed commands make one, strangers are refused, SLURM jobs carry the certificates."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from dask import config

from api.cli import main
from api.cli.cluster import commands_of
from tiling import CertificateError, PoolError
from tiling.certificates import make_certificates
from tiling.cluster import DaskPool
from tiling.slurm import SlurmJob, SlurmPool, job_script

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(sys.executable).parent


def pid_of(_number: int) -> int:
    return os.getpid()


def memory_rules(_number: int) -> dict[str, object]:
    return dict(config.get("distributed.worker.memory"))


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tls") / "certs"
    make_certificates(out, ["node-1", "10.1.2.3"], days=2)
    return out


@pytest.fixture(scope="module")
def scheduler(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and a worker, started by the printed commands on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tls://127.0.0.1:{probe.getsockname()[1]}"
    folder = tmp_path_factory.mktemp("cluster")
    printed = commands_of(certs, "127.0.0.1")
    running = []
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    for role in ("scheduler", "worker"):
        command = shlex.split(printed[role].replace("tls://127.0.0.1:8786", address))
        with (folder / f"{role}.log").open("wb") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment))
    yield address
    for process in reversed(running):  # a worker whose scheduler is gone looks for it for a while
        process.terminate()
        process.wait(timeout=20)


def test_work_goes_over_tls(scheduler: str, certs: Path) -> None:
    with DaskPool(scheduler, certs=certs) as pool:
        pids = set(pool.map(pid_of, range(8)))
        assert all(address.startswith("tls://") for address in pool._client.scheduler_info()["workers"])
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_strangers_are_refused(scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiling.cluster.CONNECT_SECONDS", 2)
    make_certificates(tmp_path / "others", ["127.0.0.1"], days=2)
    with pytest.raises(PoolError, match="no Dask scheduler answers"):
        DaskPool(scheduler, certs=tmp_path / "others")
    with pytest.raises(PoolError, match="no Dask scheduler answers"):
        DaskPool(scheduler.replace("tls://", "tcp://"))
    with pytest.raises(PoolError, match="belong together"):
        DaskPool(scheduler)
    host, port = scheduler.removeprefix("tls://").split(":")
    for stranger, alert in ((None, "certificate.required"), (tmp_path / "others", "unknown.ca")):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if stranger is not None:
            context.load_cert_chain(stranger / "client.pem", stranger / "client-key.pem")
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain) as encrypted,
            pytest.raises(ssl.SSLError, match=f"(?i){alert}"),
        ):
            encrypted.recv(1)


def test_the_folder_of_a_client_needs_no_other_keys(scheduler: str, certs: Path, tmp_path: Path) -> None:
    for name in ("ca.pem", "client.pem", "client-key.pem"):
        (tmp_path / name).write_bytes((certs / name).read_bytes())
    with DaskPool(scheduler, certs=tmp_path) as pool:
        assert len(list(pool.map(pid_of, range(2)))) == 2
    (tmp_path / "client-key.pem").unlink()
    with pytest.raises(CertificateError, match=r"client-key\.pem"):
        DaskPool(scheduler, certs=tmp_path)


def test_files_are_secret_and_say_who_may_what(certs: Path) -> None:
    files = sorted(path.name for path in certs.iterdir())
    assert files == sorted([
        "ca.pem",
        *(f"{r}{k}.pem" for r in ("client", "scheduler", "worker") for k in ("", "-key")),
    ])
    assert stat.S_IMODE(certs.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in certs.iterdir()} == {0o600}
    read = {
        name: x509.load_pem_x509_certificate((certs / f"{name}.pem").read_bytes())
        for name in ("ca", "scheduler", "client")
    }
    read["client"].verify_directly_issued_by(read["ca"])
    assert (read["client"].not_valid_after_utc - read["client"].not_valid_before_utc).days == 2
    names = read["scheduler"].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"node-1", "localhost", socket.gethostname()} <= set(names.get_values_for_type(x509.DNSName))
    assert "10.1.2.3" in map(str, names.get_values_for_type(x509.IPAddress))
    uses = {
        name: [use._name for use in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value]
        for name, certificate in read.items()
        if name != "ca"
    }
    assert uses == {"scheduler": ["clientAuth", "serverAuth"], "client": ["clientAuth"]}


def test_nothing_is_overwritten(certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in certs.iterdir()}
    with pytest.raises(CertificateError, match="exists"):
        make_certificates(certs)
    assert main(["cluster", "certs", "--out", str(certs)]) == 2
    assert "exists" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in certs.iterdir()} == before
    assert [path.name for path in certs.parent.iterdir()] == ["certs"]


def test_the_command_says_what_to_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a folder"
    assert main(["cluster", "certs", "--out", str(out), "--host", "login1", "--days", "7", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["commands"] == commands_of(out, "login1")
    assert shlex.split(document["commands"]["client"])[-3:] == ["tls://login1:8786", "--certs", str(out)]
    assert main(["cluster", "certs", "--out", str(tmp_path / "b"), "--days", "0"]) == 2
    assert "one day" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--scheduler", "tls://h:1"], ["--certs", "c"], ["--certs", "c", "--workers", "2"]])
def test_certificates_and_address_belong_together(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cohort", "m.csv", "--biomarker", "demo-response", "--out", "o", *wrong]) == 2
    assert "--certs" in capsys.readouterr().err


def test_the_script_of_a_slurm_job(certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--queue", "long", "--cores", "8", "--memory", "64GiB", "--walltime", "08:00:00", "--certs", str(certs)]
    assert main(["cluster", "slurm", *options, "--host", "login1", "--print"]) == 0
    lines = capsys.readouterr().out.splitlines()
    wanted = {"-p long", "--cpus-per-task=8", "--mem=64G", "-t 08:00:00"}
    assert {f"#SBATCH {option}" for option in wanted} <= set(lines)
    command = next(line for line in lines if "dask_worker" in line)
    for part in (
        "tls://login1:8786",
        "--nthreads 1 ",
        "--nworkers 8",
        "8.00GiB",
        "--nanny",
        f"--tls-key {certs}/worker-key.pem",
    ):
        assert part in command
    assert "GPU" not in command
    assert "client-key" not in command
    script = job_script(SlurmJob("gpu", 16, "128GiB", "01:00:00", gpus=2), certs, "tls://login1:8786")
    assert "#SBATCH --gres=gpu:2" in script
    for part in ("--resources GPU=2", "--nthreads 16 ", "128.00GiB"):
        assert part in script


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """SLURM, played by two scripts: one runs what it is given in the background and notes it, the other ends it.

    Returns:
        The environment in which it is there.
    """
    log = tmp_path / "job.log"
    scripts = {
        "sbatch": f'cp "$1" {log}.$$; setsid bash {log}.$$ > {log} 2>&1 &\n'
        f'echo $! >> {tmp_path}/jobs; echo "Submitted batch job $!"',
        "scancel": 'for job; do kill -- "-$job"; done',
    }
    for name, body in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    return {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_slurm_brings_the_workers(certs: Path, slurm: dict[str, str]) -> None:
    environment = os.environ | slurm
    options = ["--queue", "long", "--cores", "2", "--memory", "2GB", "--walltime", "00:05:00", "--certs", str(certs)]
    command = [sys.executable, "-m", "api.cli", "cluster", "slurm", *options, "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, env=environment, cwd=ROOT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            document = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
            assert document["scheduler"].startswith("tls://127.0.0.1:")
            with DaskPool(document["scheduler"], certs=certs) as pool:
                pids = set(pool.map(pid_of, range(6)))
        finally:
            process.terminate()
        assert process.wait(timeout=30) == 130
    assert not pids & {os.getpid(), process.pid}
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_a_job_that_ends_is_replaced(
    certs: Path, slurm: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiling.slurm.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("tiling.slurm.GONE_SECONDS", 1.0)
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)

    def jobs() -> list[int]:
        return [int(line) for line in (tmp_path / "jobs").read_text().split()]

    with SlurmPool(SlurmJob("long", 2, "2GB", "00:05:00"), 1, certs=certs, host="127.0.0.1") as pool:
        first = set(pool.map(pid_of, range(8)))
        (rules,) = pool.map(memory_rules, [0])
        assert len(jobs()) == 1
        deadline = time.monotonic() + 10
        while not pool._seen and time.monotonic() < deadline:  # a job of less than a look is no job
            time.sleep(0.05)
        os.killpg(jobs()[0], signal.SIGKILL)  # what is left of a job after its walltime
        later = set(pool.map(pid_of, range(8)))
        assert len(jobs()) == 2
        time.sleep(2)  # it is not replaced again
        assert len(jobs()) == 2
    assert not first & later
    assert rules | {"target": False, "spill": False, "pause": False, "terminate": 0.95} == rules


def test_a_machine_that_cannot_submit_jobs_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_certificates(tmp_path / "certs")
    monkeypatch.setenv("PATH", str(tmp_path))
    options = [
        "--queue",
        "q",
        "--cores",
        "1",
        "--memory",
        "1GB",
        "--walltime",
        "01:00:00",
        "--certs",
        str(tmp_path / "certs"),
    ]
    assert main(["cluster", "slurm", *options, "--host", "127.0.0.1", "--port", "0"]) == 1
    assert "no sbatch" in capsys.readouterr().err


def test_a_name_that_leads_to_this_machine_alone_is_not_given_to_workers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("socket.gethostbyname", lambda _name: "127.0.1.1")
    options = ["--queue", "q", "--cores", "1", "--memory", "1GB", "--walltime", "01:00:00", "--certs", "certs"]
    assert main(["cluster", "slurm", *options, "--print"]) == 2
    assert "--host" in capsys.readouterr().err

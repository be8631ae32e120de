"""`cluster certs` and `cluster slurm`: many machines, each known to the others by certificate."""

from __future__ import annotations

import argparse
import shlex
import signal
import socket
from ipaddress import ip_address
from pathlib import Path

from api.cli.reply import Reply, write_reply
from api.errors import BadRequestError
from tiling.certificates import CLIENT, SCHEDULER, WORKER, certificate_files, make_certificates
from tiling.errors import CertificateError

PORT = 8786
"""Where Dask's scheduler listens by habit."""


def certs(arguments: argparse.Namespace) -> Reply:
    """Make the certificates of a cluster.

    Args:
        arguments: `out`, `host`, `days`.

    Returns:
        The reply: the commands that use them.

    Raises:
        BadRequestError: If the folder exists, or the days are none.
    """
    out = Path(arguments.out).absolute()
    hosts = arguments.host or [socket.gethostname()]
    try:
        files = make_certificates(out, hosts, arguments.days)
    except CertificateError as error:
        raise BadRequestError(str(error)) from error
    commands = commands_of(out, hosts[0])
    text = "\n\n".join([
        f"certificates for {arguments.days} days in {out}",
        "each machine needs ca.pem and the two files of its role; the keys are secrets:",
        *(f"# {who}\n{command}" for who, command in commands.items()),
    ])
    return Reply({"files": [str(file) for file in files], "days": arguments.days, "commands": commands}, text)


def commands_of(folder: Path, host: str) -> dict[str, str]:
    """What is to be called to have a cluster.

    Args:
        folder: The certificates.
        host: Of the scheduler.

    Returns:
        Who -> command line.
    """
    address = f"tls://{host}:{PORT}"
    tls = {role: _tls(folder, role) for role in (SCHEDULER, WORKER)}
    quiet = ["--dashboard-address", "127.0.0.1:0"]  # its pages have no lock
    return {
        SCHEDULER: shlex.join(["dask", "scheduler", "--host", address, "--no-dashboard", *quiet, *tls[SCHEDULER]]),
        WORKER: shlex.join(["dask", "worker", address, "--nthreads", "1", "--no-dashboard", *quiet, *tls[WORKER]]),
        CLIENT: shlex.join(["oncoscope", "cohort", "MANIFEST.csv", "--biomarker", "NAME", "--out", "DIR"])
        + f" --scheduler {shlex.quote(address)} --certs {shlex.quote(str(folder))}",
    }


def _tls(folder: Path, role: str) -> list[str]:
    authority, certificate, key = map(str, certificate_files(folder, role))
    return ["--tls-ca-file", authority, "--tls-cert", certificate, "--tls-key", key]


def _reachable() -> str:
    """The name of this machine.

    Raises:
        BadRequestError: If it is one that only this machine understands, as Debian sets it up.
    """
    host = socket.gethostname()
    try:
        own = ip_address(socket.gethostbyname(host)).is_loopback
    except OSError:
        own = True
    if own:
        raise BadRequestError("the name of this machine leads to itself; give --host, as the workers know it")
    return host


def slurm(arguments: argparse.Namespace) -> Reply:
    """Run a scheduler whose workers are jobs of SLURM, until it is stopped; or show the script of such a job.

    Args:
        arguments: `queue`, `cores`, `memory`, `walltime`, `gpus`, `jobs`, `certs`, `host`, `port`, `print`.

    Returns:
        The reply.
    """
    from tiling.slurm import SlurmJob, SlurmPool, job_script

    job = SlurmJob(arguments.queue, arguments.cores, arguments.memory, arguments.walltime, arguments.gpus)
    host = arguments.host or _reachable()
    if arguments.print:
        script = job_script(job, arguments.certs, f"tls://{host}:{arguments.port}")
        return Reply({"script": script}, script)
    with SlurmPool(job, arguments.jobs, certs=arguments.certs, host=host, port=arguments.port) as pool:
        text = f"scheduler at {pool.address}, {arguments.jobs} jobs asked for; stop it with Ctrl-C"
        write_reply(Reply({"scheduler": pool.address, "jobs": arguments.jobs}, text), as_json=arguments.json)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # both ways to stop it take the jobs back
        signal.pause()
    return Reply()

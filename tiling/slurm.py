"""Workers as jobs of a SLURM cluster: the scheduler runs here, `sbatch` brings the workers, TLS is between them."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tiling.cluster import LOST, DaskPool, own_rules, security_of, workers_of
from tiling.cluster_rules import exports
from tiling.errors import PoolError

DAY: Final = 24 * 3600.0
LOOK_SECONDS: Final = 5.0
"""How often it is looked whether jobs have ended."""
GONE_SECONDS: Final = 60.0
"""A job whose workers have all been gone for so long has ended: a worker that died is back in less."""


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """What one job asks SLURM for."""

    queue: str
    """The partition."""
    cores: int
    memory: str
    """Such as `64GB`."""
    walltime: str
    """Such as `08:00:00`. Tasks of a job that ends go to another, and a new job takes its place."""
    gpus: int = 0
    """Workers with some take tasks that need one; see `tiling.Needs`."""

    def arguments(self, certs: Path) -> dict[str, Any]:
        """The job in the words of dask-jobqueue.

        Args:
            certs: Folder made by `oncoscope cluster certs`, on the shared file system.

        Returns:
            Keyword arguments. Without GPUs every core is a process, so that a crash ends one task; with them one
            process has all, because the processes of a job could not tell their GPUs apart.
        """
        gpus = {
            "job_extra_directives": [f"--gres=gpu:{self.gpus}"],
            "worker_extra_args": ["--resources", f"GPU={self.gpus}", "--no-dashboard"],
        }
        return {
            "queue": self.queue,
            "cores": self.cores,
            "memory": self.memory,
            "walltime": self.walltime,
            "processes": 1 if self.gpus else self.cores,
            "job_name": "oncoscope",
            "protocol": "tls://",
            "security": security_of(certs.absolute()),
            "job_script_prologue": exports(),
            **(gpus if self.gpus else {"worker_extra_args": ["--no-dashboard"]}),
        }


def job_script(job: SlurmJob, certs: Path, scheduler: str) -> str:
    """The script that `sbatch` is given for one job; nothing is started.

    Args:
        job: What it asks for.
        certs: Folder of the certificates.
        scheduler: Address that its workers go to, such as `tls://login1:8786`.

    Returns:
        The script.
    """
    arguments = job.arguments(certs)
    return str(_jobqueue().SLURMJob(scheduler=scheduler, name="oncoscope", **arguments).job_script())


class SlurmPool(DaskPool):
    """A scheduler in this process and jobs of a SLURM cluster; a job that ends is replaced.

    A job that never brought a worker is not: the next one would fail as it did, and the next.

    Args:
        job: What each job asks for.
        jobs: How many at a time.
        certs: Folder of the certificates, on the shared file system.
        host: Name or address of this machine that the workers can reach.
        port: Where the scheduler listens; 0 takes any free one.

    Raises:
        PoolError: If this machine cannot submit jobs.
    """

    patience = DAY
    """A queue may be long."""

    def __init__(self, job: SlurmJob, jobs: int, *, certs: Path, host: str, port: int = 0) -> None:
        if shutil.which("sbatch") is None:
            msg = "this machine has no sbatch; start the cluster where jobs are submitted, such as a login node"
            raise PoolError(msg)
        options = {"host": host, "port": port, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
        with own_rules():
            self._cluster = _jobqueue().SLURMCluster(**job.arguments(certs), scheduler_options=options)
        self._jobs = jobs
        self._seen: dict[str, float] = {}
        self._cluster.scale(jobs=jobs)
        self._connect(None, security_of(certs))
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="oncoscope-slurm", daemon=True)
        self._keeper.start()

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return str(self._cluster.scheduler_address)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; the jobs are cancelled."""
        self._closing.set()
        self._keeper.join()
        super().__exit__(kind, error, trace)

    def _revive(self) -> None:
        """Nothing: jobs are kept up whether or not work of this process is under way."""

    def _keep(self) -> None:
        """Keep the number of jobs until the pool is closed."""
        while not self._closing.wait(LOOK_SECONDS):
            with suppress(*LOST):
                self._replace(time.monotonic())

    def _replace(self, now: float) -> None:
        """Forget jobs whose workers came and went, and ask for others; Dask goes on counting what SLURM has ended."""
        present = {str(worker["name"]) for worker in workers_of(self._client)}
        for job, spec in list(self._cluster.worker_spec.items()):
            if any(f"{job}{suffix}" in present for suffix in spec.get("group", [""])):
                self._seen[job] = now
        ended = [job for job, last in self._seen.items() if now - last > GONE_SECONDS]
        if ended:
            self._cluster.sync(self._cluster.scale_down, ended)  # first: Dask gives a new job the name of an old one
            self._seen = {job: last for job, last in self._seen.items() if job not in ended}
            self._cluster.scale(jobs=self._jobs)


def _jobqueue() -> Any:  # noqa: ANN401 - it has no types
    """The package that knows SLURM.

    Raises:
        PoolError: If it is not installed.
    """
    try:
        from dask_jobqueue import slurm
    except ImportError as error:
        msg = "SLURM is reached by the dask-jobqueue package: pip install 'oncoscope[cluster]'"
        raise PoolError(msg) from error
    return slurm

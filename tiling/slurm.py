"""Workers as jobs of a SLURM cluster: the scheduler runs here, `sbatch` brings the workers, TLS is between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tiling.cluster import DaskPool, security_of
from tiling.errors import PoolError

DAY: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """What one job asks SLURM for."""

    queue: str
    """The partition."""
    cores: int
    memory: str
    """Such as `64GB`."""
    walltime: str
    """Such as `08:00:00`. Tasks of a job that ends go to another."""
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
    """A scheduler in this process and jobs of a SLURM cluster.

    Args:
        job: What each job asks for.
        jobs: How many.
        certs: Folder of the certificates, on the shared file system.
        host: Name or address of this machine that the workers can reach.
        port: Where the scheduler listens; 0 takes any free one.
    """

    patience = DAY
    """A queue may be long."""

    def __init__(self, job: SlurmJob, jobs: int, *, certs: Path, host: str, port: int = 0) -> None:
        self._cluster = _jobqueue().SLURMCluster(
            **job.arguments(certs),
            scheduler_options={"host": host, "port": port, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
        )
        self._cluster.scale(jobs=jobs)
        self._connect(None, security_of(certs))

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return str(self._cluster.scheduler_address)


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

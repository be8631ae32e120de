"""The worker process: takes jobs by lease, does them with the packages below, and commits with its token.

`python -m api.worker` runs one. With `--lifeline` it reads its settings from the first line of standard input and ends
when that pipe closes: a server that is killed, however hard, leaves no worker behind.

The process is disposable. It ends itself when its job was canceled or given to another, because nothing else stops work
in the middle; whoever started it starts the next one.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from typing import NoReturn

from api.errors import DatabaseError, LeaseLostError, problem_of, safe_detail
from api.jobs import Job, Outcome
from api.logs import start_logging
from api.problems import log_failure
from api.service import Service
from api.settings import Settings
from api.tasks import TRANSIENT, perform

LIFELINE = "--lifeline"
LOST = 3
"""Exit status of a worker that no longer holds its job."""
RETRY_DELAY = 5.0
"""Seconds before a job is tried again after an error that may pass, such as a full disk."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("oncoscope.worker")


class Worker:
    """Does one job at a time.

    Args:
        service: The open data folder and database.
    """

    def __init__(self, service: Service) -> None:
        """Hold no job yet."""
        self.service = service
        self._lock = threading.Lock()
        self._job: Job | None = None

    def run(self) -> NoReturn:
        """Work for ever; `leave` ends the process."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        self.service.folder.sweep_work(self.service.jobs)
        log.info("worker ready")
        while True:
            if not self.step():
                time.sleep(self.service.settings.poll_seconds)

    def step(self) -> bool:
        """Do the next job, if there is one.

        Returns:
            Whether there was one.
        """
        try:
            with self._lock:
                job = self._job = self.service.jobs.claim()
        except DatabaseError as error:
            log_failure(log, error)
            return False
        if job is not None:
            self._attempt(job)
        return job is not None

    def leave(self, status: int) -> NoReturn:
        """End the process at once; a job in hand goes back to the queue without blame.

        Args:
            status: Exit status.
        """
        with self._lock:
            try:
                if self._job is not None:
                    self.service.jobs.release(self._job, blame=False)
            except (LeaseLostError, DatabaseError) as error:  # its lease will run out instead
                log.info("job not given back: %s", type(error).__name__)
            finally:
                os._exit(status)

    def _attempt(self, job: Job) -> None:
        """Do a job and write how it ended."""
        begin = time.perf_counter()
        log.info("%s %s attempt %d", job.id, job.kind, job.attempts)
        try:
            outcome = perform(self.service, job)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job ends and the worker goes on
            identity = log_failure(log, error)
            if isinstance(error, TRANSIENT) and job.attempts < self.service.settings.max_attempts:
                self._put_down(job, None)
                return
            outcome = Outcome("failed", problem=problem_of(error, identity))
        if self._put_down(job, outcome):
            self.service.folder.clear_work(job)
            log.info("%s %s %.1f s", job.id, outcome.state, time.perf_counter() - begin)

    def _put_down(self, job: Job, outcome: Outcome | None) -> bool:
        """Commit an outcome, or give the job back where there is none; wait for a database that is away.

        Returns:
            Whether the job was still this worker's.
        """
        while True:
            try:
                with self._lock:
                    ours = self._write(job, outcome)
                    self._job = None
            except DatabaseError as error:
                log_failure(log, error)
                time.sleep(self.service.settings.poll_seconds)
            else:
                return ours

    def _write(self, job: Job, outcome: Outcome | None) -> bool:
        """Write the end of an attempt, unless the job is no longer this worker's."""
        try:
            if outcome is None:
                self.service.jobs.release(job, blame=True, delay=RETRY_DELAY)
            else:
                self.service.jobs.finish(job, outcome)
        except LeaseLostError:
            log.info("%s was canceled or taken over; what this worker made is dropped", job.id)
            if outcome is not None and outcome.result is not None:
                self.service.folder.drop_result(outcome.result)
            return False
        return True

    def _beat(self) -> None:
        """Prolong the lease of the job in hand for ever; a process without a heartbeat must end."""
        try:
            self._prolong()
        except LeaseLostError:
            log.info("the job was canceled or taken over; this worker ends")
        except BaseException as error:  # noqa: BLE001 - else the work would go on under a lease that runs out
            log_failure(log, error)
        os._exit(LOST)

    def _prolong(self) -> NoReturn:
        """Prolong the lease until it is lost, which is a `LeaseLostError`.

        Raises:
            DatabaseError: If the database was away for longer than the lease.
        """
        settings, last = self.service.settings, time.monotonic()
        while True:
            time.sleep(settings.heartbeat_seconds)
            try:
                with self._lock:
                    if self._job is not None:
                        self.service.jobs.heartbeat(self._job)
                last = time.monotonic()
            except DatabaseError as error:
                if time.monotonic() - last > settings.lease_seconds:
                    raise
                log_failure(log, error)


def main() -> NoReturn:
    """Run a worker until it is told to stop."""
    lifeline = LIFELINE in sys.argv[1:]
    start_logging()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # for all threads; the one below takes them
    try:
        settings = Settings.model_validate_json(sys.stdin.readline()) if lifeline else Settings()
        worker = Worker(Service.start(settings))
    except Exception as error:  # noqa: BLE001 - its text may hold the password of a database
        log.info("the worker cannot start (%s): %s", log_failure(log, error), safe_detail(error))
        sys.exit(1)
    threading.Thread(target=_wait_for_signal, args=(worker,), daemon=True).start()
    if lifeline:
        threading.Thread(target=_wait_for_parent, args=(worker,), daemon=True).start()
    try:
        worker.run()
    except BaseException as error:  # noqa: BLE001 - its text may name a patient, so Python must not print it
        log_failure(log, error)
    worker.leave(1)


def _wait_for_signal(worker: Worker) -> None:
    """Leave on a polite signal, whatever the main thread is doing."""
    signal.sigwait(STOP_SIGNALS)
    worker.leave(0)


def _wait_for_parent(worker: Worker) -> None:
    """The pipe ends when the process that started this one ends."""
    sys.stdin.read()
    worker.leave(0)


if __name__ == "__main__":
    main()

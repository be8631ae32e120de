"""Pools with real processes: one bad item costs one item, memory and tasks in flight are bounded, needs are met."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dask import config
from distributed import LocalCluster

from tiling import LocalPool, Needs, Pool, PoolError, TooCoarseError, WorkerKilledError
from tiling.cluster import DEATHS_ALONE, DaskPool, _Run
from tiling.pool import ANYWHERE

POISON = (5, 11)
ROOT = Path(__file__).resolve().parents[1]


def square(number: int) -> int:
    return number * number


def refuse_odd(number: int) -> int:
    if number % 2:
        raise TooCoarseError(str(number))
    return number


def die_of_poison(task: tuple[Path, int]) -> int:
    """Note that the item was begun; end the process for some items, as a crash or the kernel would."""
    folder, number = task
    (folder / f"{number}-{time.monotonic_ns()}").touch()
    time.sleep(0.05)  # the others wait on the same worker meanwhile
    if number == POISON[0]:
        os._exit(3)
    if number == POISON[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_beside_the_slow(task: tuple[Path, int]) -> int:
    """The first item is slow; others end the process meanwhile."""
    folder, number = task
    (folder / f"{number}-{time.monotonic_ns()}").touch()
    time.sleep(0.1 if number else 1.0)
    if number in {1, 3}:
        os._exit(3)
    return number


def eat(number: int) -> int:
    if number == 1:
        held = [bytearray(os.urandom(1) * (64 << 20)) for _ in range(14)]
        time.sleep(20)  # looked at every tenth of a second
        return len(held)
    return number


def here(_number: int) -> int:
    time.sleep(0.02)
    return os.getpid()


@pytest.fixture(scope="module")
def dask() -> Iterator[DaskPool]:
    with DaskPool(workers=2) as pool:
        yield pool


@pytest.fixture(params=["threads", "processes"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Both kinds of pool keep the same promises."""
    if request.param == "processes":
        yield request.getfixturevalue("dask")
    else:
        with LocalPool(2) as threads:
            yield threads


def test_outcomes_are_in_order_and_an_error_is_one_of_them(pool: Pool) -> None:
    found = list(pool.outcomes(refuse_odd, range(30)))
    assert [outcome.value for outcome in found] == [None if n % 2 else n for n in range(30)]
    assert all(isinstance(outcome.error, TooCoarseError) == bool(n % 2) for n, outcome in enumerate(found))
    assert str(found[7].error) == "7"
    with pytest.raises(TooCoarseError, match="7"):
        found[7].get()


def test_map_ends_at_the_first_error(pool: Pool) -> None:
    results = pool.map(refuse_odd, [0, 2, 3, 4])
    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(TooCoarseError, match="3"):
        next(results)
    assert list(pool.map(square, range(9))) == [n * n for n in range(9)]


def test_items_are_taken_only_as_they_are_done(pool: Pool) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for number in range(100_000):
            taken = number + 1
            yield number

    ahead = 0
    results = pool.outcomes(square, endless())
    for done in range(1, 301):
        assert next(results).value == (done - 1) ** 2
        ahead = max(ahead, taken - done)
    results.close()  # type: ignore[attr-defined] # both are generators
    assert ahead <= 4  # two workers, one task ahead each


def test_the_scheduler_forgets_what_was_taken(dask: DaskPool) -> None:
    kept = list(dask.outcomes(refuse_odd, range(100)))
    deadline = time.monotonic() + 5
    while (held := len(dask._cluster.scheduler.tasks)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held == 0
    assert kept[1].error is not None


def test_what_kills_workers_is_given_up_and_nothing_else(tmp_path: Path) -> None:
    with DaskPool(workers=2) as pool:
        found = list(pool.outcomes(die_of_poison, [(tmp_path, number) for number in range(16)]))
    assert [n for n, outcome in enumerate(found) if isinstance(outcome.error, WorkerKilledError)] == [*POISON]
    assert [outcome.value for outcome in found] == [None if n in POISON else n for n in range(16)]
    begun = [int(path.name.partition("-")[0]) for path in tmp_path.iterdir()]
    assert begun.count(POISON[0]) <= 1 + DEATHS_ALONE + 1  # it may be suspected once more because of the other
    assert set(begun) == set(range(16))


def test_what_runs_beside_a_killer_in_one_process_is_not_blamed(tmp_path: Path) -> None:
    with (
        config.set({"distributed.scheduler.allowed-failures": 1, "distributed.deploy.lost-worker-timeout": "120s"}),
        LocalCluster(
            n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        DaskPool(cluster.scheduler_address) as pool,
    ):
        found = list(pool.outcomes(die_beside_the_slow, [(tmp_path, number) for number in range(6)]))
    assert [outcome.value for outcome in found] == [0, None, 2, None, 4, 5]
    assert all(isinstance(found[killer].error, WorkerKilledError) for killer in (1, 3))
    begun = [path.name.partition("-")[0] for path in tmp_path.iterdir()]
    assert begun.count("0") <= 3  # twice beside the killer, once alone


def test_a_worker_that_dask_writes_off_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiling.cluster.LOOK_SECONDS", 0.5)
    with config.set({"distributed.deploy.lost-worker-timeout": "10 ms"}), DaskPool(workers=1) as pool:
        monkeypatch.setattr(pool, "patience", 60.0)
        found = list(pool.outcomes(die_of_poison, [(tmp_path, POISON[0]), (tmp_path, 0)]))
    assert isinstance(found[0].error, WorkerKilledError)
    assert found[1].value == 0


def test_a_worker_that_dask_writes_off_is_missed_while_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiling.cluster.LOOK_SECONDS", 0.5)
    with config.set({"distributed.deploy.lost-worker-timeout": "10 ms"}), DaskPool(workers=2) as pool:
        cluster = pool._cluster
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(cluster.workers) == 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        seen: set[int] = set()
        for pid in pool.map(here, range(3000)):  # each is done long before anyone would wonder why it is not
            seen.add(pid)
            if len(seen) == 2:
                break
    assert len(seen) == 2


def test_all_workers_are_counted() -> None:
    with (
        LocalCluster(
            n_workers=7,
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        DaskPool(cluster.scheduler_address) as pool,
    ):
        pool._client.wait_for_workers(7, timeout=20)
        assert _Run(pool._client, here, ANYWHERE, (1.0, lambda: None)).limit() == 14


def test_a_worker_over_its_memory_limit_is_one_that_died() -> None:
    with DaskPool(workers=1, memory=700 << 20) as pool:
        found = list(pool.outcomes(eat, range(4)))
    assert isinstance(found[1].error, WorkerKilledError)
    assert [outcome.value for outcome in found] == [0, None, 2, 3]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts parts of a cluster as programs; what still runs is ended."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments]
        with (tmp_path / f"{len(running)}.log").open("wb") as log:
            running.append(
                subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
            )
        return running[-1]

    yield start
    for process in running:
        process.kill()  # one that is asked to end says goodbye to a scheduler that may be gone
        process.wait()


def test_needs_are_met_by_the_worker_that_has_it(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        address = cluster.scheduler_address
        plain = {worker.pid for worker in cluster.workers.values()}
        start("worker", address, "--nthreads", "2", "--resources", "GPU=1", "--no-dashboard", "--no-nanny")
        with DaskPool(address) as pool:
            pool._client.wait_for_workers(2, timeout=20)
            both = set(pool.map(here, range(30)))
            begin = time.perf_counter()
            encoders = set(pool.map(here, range(30), Needs(gpus=1)))
            assert time.perf_counter() - begin >= 30 * 0.02  # two threads, one GPU: one at a time
            assert len(both) == 2
            assert len(encoders) == 1
            assert encoders < both
            assert not encoders & plain
            run = _Run(pool._client, here, Needs(gpus=1), (1.0, lambda: None))
            assert (run.limit(), _Run(pool._client, here, ANYWHERE, (1.0, lambda: None)).limit()) == (4, 6)


def test_needs_that_nobody_meets_are_given_up(dask: DaskPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiling.cluster.LOOK_SECONDS", 0.1)
    monkeypatch.setattr(dask, "patience", 0.3)
    found = list(dask.outcomes(square, range(50), Needs(gpus=1)))
    assert len(found) == 50
    assert all(isinstance(outcome.error, PoolError) for outcome in found)
    assert "no worker" in str(found[49].error)
    assert list(dask.map(square, [3])) == [9]


def test_a_scheduler_that_dies_leaves_an_outcome_for_every_item(tmp_path: Path) -> None:
    code = (
        "import signal, sys\n"
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    cluster = LocalCluster(n_workers=1, host='127.0.0.1', dashboard_address='127.0.0.1:0')\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    signal.pause()\n"
    )
    script = tmp_path / "cluster.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stdout is not None
            with DaskPool(process.stdout.readline().strip()) as pool:
                results = pool.outcomes(square, range(10_000))
                assert next(results).value == 0
                process.kill()
                rest = list(results)
                later = list(pool.outcomes(square, range(3)))
        finally:
            process.kill()
    assert len(rest) == 9_999
    assert isinstance(rest[-1].error, PoolError)
    assert "gone" in str(rest[-1].error)
    assert not any(isinstance(outcome.error, WorkerKilledError) for outcome in rest)
    assert [type(outcome.error) for outcome in later] == [PoolError] * 3

"""A Dask cluster of processes: the same bits as in this process, whatever happens to workers."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask
from distributed import Client, LocalCluster
from threadpoolctl import threadpool_info, threadpool_limits

from subsetsel.errors import EngineError, FileFormatError, OutOfMemoryError, ProblemError
from subsetsel.shards import dask as adapter
from subsetsel.shards.dask import DaskWorkers
from subsetsel.shards.open import open_workers
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial, Workers

NUM_SHARDS, ROWS, COLUMNS = 8, 300, 40


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """One cluster for the file; it begins with one worker."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as started:
        yield started


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    """Its client."""
    with Client(cluster, set_as_default=False) as opened:
        yield opened


def make(k: int) -> Any:
    """Rows of a shard."""
    return np.random.default_rng(k).standard_normal((ROWS, COLUMNS), dtype=np.float32)


def project(rows: Any, direction: Any, weights: Any) -> tuple[Any, float]:
    """What a round of the relaxation asks: a product, and a sum that rounds."""
    return rows @ direction, float((rows.T @ weights).sum())


def wait_and_project(rows: Any, direction: Any, weights: Any) -> tuple[Any, float]:
    """Do it slowly."""
    time.sleep(0.15)
    return project(rows, direction, weights)


def own_process(_rows: Any) -> int:
    """Which process holds a shard."""
    return os.getpid()


def end_the_process(_rows: Any) -> None:
    """What the system does to a worker whose memory is full."""
    os._exit(1)


def fail(_rows: Any, kind: type[Exception], text: str) -> None:
    """Fail as asked."""
    raise kind(text)


def number_of_threads(_rows: Any) -> set[int]:
    """Threads that NumPy multiplies with."""
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def shards_on(workers: Workers) -> Shards:
    """The same shards, wherever."""
    held = workers.hold(make, [(k,) for k in range(NUM_SHARDS)])
    return Shards(workers, held, [ROWS] * NUM_SHARDS)


def ask(shards: Shards, function: Any = project) -> bytes:
    """All bits of one round."""
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(COLUMNS, dtype=np.float32)
    weights = rng.standard_normal(shards.n, dtype=np.float32)
    found = shards.map(function, direction, each=shards.split(weights))
    return b"".join(product.tobytes() + repr(total).encode() for product, total in found)


@pytest.fixture(scope="module")
def expected() -> bytes:
    """What this process finds."""
    return ask(shards_on(Serial()))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_bits(
    count: int, cluster: LocalCluster, client: Client, expected: bytes
) -> None:
    """One, two and four processes find what this process finds, all tasks with one thread."""
    cluster.scale(count)
    client.wait_for_workers(count, timeout=60)
    shards = shards_on(DaskWorkers(client))
    assert shards.workers.num_workers == count
    assert ask(shards) == expected
    assert shards.map(number_of_threads) == [{1}] * NUM_SHARDS
    cluster.scale(2)


def test_a_killed_worker_changes_nothing(client: Client, expected: bytes) -> None:
    """The scheduler makes its shards again, in the middle of a round, and the round goes on."""
    shards = shards_on(DaskWorkers(client))
    victim = shards.map(own_process)[0]
    threading.Timer(0.3, os.kill, (victim, signal.SIGKILL)).start()
    assert ask(shards, wait_and_project) == expected
    assert victim not in shards.map(own_process)


def test_a_large_argument_of_all_tasks_travels_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes a task of its own, which a lost worker does not take with it."""
    monkeypatch.setattr(adapter, "LARGE", 8 * COLUMNS)
    workers = DaskWorkers(client)
    sent: list[str] = []
    submit = client.submit

    def noted(*arguments: Any, key: str, **options: Any) -> Any:
        sent.append(key)
        return submit(*arguments, key=key, **options)

    monkeypatch.setattr(client, "submit", noted)
    direction = np.ones(COLUMNS)
    found = shards_on(workers).map(np.matmul, direction)
    assert [key.partition("-")[0] for key in sent].count("argument") == 1
    assert np.array_equal(found[3], make(3) @ direction)


def test_ten_megabytes_travel_without_a_warning(client: Client) -> None:
    """The advice to scatter them is not ours to follow: what is scattered is not made again."""
    found = DaskWorkers(client).run(np.sum, [(np.ones(2_000_000),)])
    assert found == [2_000_000]


@pytest.mark.parametrize(
    ("kind", "expected_kind"),
    [(FileFormatError, FileFormatError), (MemoryError, OutOfMemoryError), (KeyError, EngineError)],
)
def test_the_error_of_a_task_is_the_packages_own(
    kind: type[Exception], expected_kind: type[Exception], client: Client
) -> None:
    """It comes back with the shard's name, and that of the first shard that failed."""
    with pytest.raises(expected_kind, match=r"shard 2: .*was wrong"):
        shards_on(DaskWorkers(client)).map(fail, kind, "this was wrong", only=[2, 5])


def test_a_shard_that_cannot_be_loaded_is_named(client: Client) -> None:
    """In the first round that needs it, as without a cluster."""
    workers = DaskWorkers(client)
    held = workers.hold(fail, [(0, ProblemError, "NaN in row 3")])
    with pytest.raises(ProblemError, match=r"a\.npy: NaN in row 3"):
        Shards(workers, held, [1], ["a.npy"]).map(own_process)


def test_a_task_that_ends_its_workers_is_given_up(client: Client) -> None:
    """With the shard, the likely reason, and the cure; the cluster can be used again."""
    shards = shards_on(DaskWorkers(client))
    shards.map(own_process)
    client.run_on_scheduler(set_failures, 0)
    with pytest.raises(EngineError, match=r"shard 4: 1 workers were lost.*smaller"):
        shards.map(end_the_process, only=[4])
    DaskWorkers(client)
    assert client.run_on_scheduler(failures_allowed) == adapter.ALLOWED_FAILURES
    assert len(shards.map(own_process)) == NUM_SHARDS


def set_failures(count: int, dask_scheduler: Any) -> None:
    """Set how many lost workers a task may have."""
    dask_scheduler.allowed_failures = count


def failures_allowed(dask_scheduler: Any) -> int:
    """How many lost workers a task may have."""
    return int(dask_scheduler.allowed_failures)


def test_another_version_on_a_worker_is_named(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both versions and the worker; before anything is computed.

    Mutation: versions are not compared: fails.
    """
    monkeypatch.setattr(adapter, "version", lambda _name: "9.9.9")
    workers = DaskWorkers(client)
    own = importlib.metadata.version("subsetsel")
    with pytest.raises(EngineError, match=rf"tcp://.* has subsetsel {own}, and .* 9\.9\.9"):
        workers.run(own_process, [(0,)])


def test_ctrl_c_cancels_what_has_not_begun(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers are soon free, and the shards are still held."""
    shards = shards_on(DaskWorkers(client))
    shards.map(own_process)
    with monkeypatch.context() as patch:
        patch.setattr(DaskWorkers, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            shards.map(time_passes, each=[(1.0,)] * NUM_SHARDS)
    time.sleep(0.3)
    kept = client.run_on_scheduler(keys_wanted)
    assert [key for key in kept if key.startswith("time_passes")] == []
    assert {held.key for held in shards.held} <= set(kept)
    # Whoever keeps the error keeps its frames, and what they hold.
    del caught
    assert ask(shards) == ask(shards_on(Serial()))


def interrupted(_workers: DaskWorkers, _future: Any) -> None:
    """What Ctrl-C does to a wait, once the tasks are known."""
    time.sleep(0.3)
    raise KeyboardInterrupt


def time_passes(_rows: Any, seconds: float) -> None:
    """Take time."""
    time.sleep(seconds)


def keys_wanted(dask_scheduler: Any) -> list[str]:
    """Keys that some client still wants."""
    return [str(key) for key, task in dask_scheduler.tasks.items() if task.who_wants]


def test_spilled_shards_give_the_same_bits(expected: bytes, tmp_path: Path) -> None:
    """A worker with room for two shards puts the others on disk by their true size."""
    room = 3 * ROWS * COLUMNS * 4
    settings = {
        "distributed.worker.memory.target": room / 2**30,
        "distributed.worker.memory.spill": False,
        # The worker is a thread of this process, which may hold more than a gigabyte already.
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            memory_limit=2**30,
            local_directory=str(tmp_path),
            dashboard_address=":0",
        ) as small,
        Client(small, set_as_default=False) as opened,
    ):
        shards = shards_on(DaskWorkers(opened))
        assert ask(shards) == expected
        on_disk = opened.run(lambda dask_worker: len(dask_worker.data.slow))
        assert min(on_disk.values()) >= NUM_SHARDS - 3
        with threadpool_limits(limits=2, user_api="blas"):
            assert shards.map(number_of_threads) == [{1}] * NUM_SHARDS


def test_a_closed_client_is_named(cluster: LocalCluster) -> None:
    """With what to do; before and in the middle of a run."""
    opened = Client(cluster, set_as_default=False)
    shards = shards_on(DaskWorkers(opened))
    opened.close()
    with pytest.raises(EngineError, match=r"it is closed.*open a new"):
        shards.map(own_process)
    with pytest.raises(EngineError, match="it is closed"):
        open_workers(opened)


def test_an_asynchronous_client_is_refused(cluster: LocalCluster) -> None:
    """With the call that opens another."""
    import asyncio

    async def attempt() -> None:
        async with Client(
            cluster.scheduler_address, asynchronous=True, set_as_default=False
        ) as opened:
            DaskWorkers(opened)

    with pytest.raises(EngineError, match=r"asynchronous.*without asynchronous=True"):
        asyncio.run(attempt())


def test_an_address_opens_a_client_once(cluster: LocalCluster) -> None:
    """Two calls share it, so that what one holds the other can use."""
    first = open_workers(cluster.scheduler_address)
    second = open_workers(cluster.scheduler_address)
    assert isinstance(first, DaskWorkers)
    assert isinstance(second, DaskWorkers)
    assert first.client is second.client
    first.client.close()
    third = open_workers(cluster.scheduler_address)
    assert isinstance(third, DaskWorkers)
    assert third.run(sum, [([1, 2],)]) == [3]
    third.client.close()


def test_an_address_where_nobody_answers_is_named() -> None:
    """With what starts a scheduler."""
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(EngineError, match=r"tcp://127\.0\.0\.1:9.*dask scheduler"),
    ):
        open_workers("tcp://127.0.0.1:9")


@pytest.fixture
def bare_scheduler() -> Iterator[subprocess.Popen[str]]:
    """A scheduler in a process of its own, which cannot import this file; it has no workers."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0", "--no-show"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_a_scheduler_that_is_gone_is_named(
    bare_scheduler: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is one that cannot import what it is asked for; one without workers is waited for."""
    monkeypatch.setattr(adapter, "_PATIENCE", 0.2)
    assert bare_scheduler.stderr is not None
    line = next(line for line in bare_scheduler.stderr if "Scheduler at:" in line)
    with Client(line.split()[-1], set_as_default=False, timeout=5) as opened:
        workers = DaskWorkers(opened)
        with pytest.raises(EngineError, match=r"cannot read .*test_shards_dask.*same environment"):
            workers.run(own_process, [(0,)])
        threading.Timer(1.0, bare_scheduler.kill).start()
        with (
            pytest.warns(RuntimeWarning, match="has no workers"),
            pytest.raises(EngineError, match="scheduler ended in the middle of the run"),
        ):
            workers.run(np.sum, [(np.ones(3),)])

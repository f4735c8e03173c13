"""The seam to Dask: the same results as in this process, whatever becomes of the workers."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from subsetsel.errors import EngineError, OptionError, ProblemError
from subsetsel.rows.dense import DenseRows
from subsetsel.rows.sharded import ShardedRows
from subsetsel.shards.collections import from_dask
from subsetsel.shards.open import open_workers
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial, Workers

pytest.importorskip("distributed")
from distributed import Client, LocalCluster

LENGTHS = (30, 1, 0, 41, 28)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two processes of this machine."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def address_of(client: Client) -> str:
    """Where the scheduler listens."""
    return str(client.scheduler_info()["address"])


def rows_of(workers: Workers) -> ShardedRows:
    """A hundred rows in uneven shards, one of them empty."""
    S = np.random.default_rng(0).normal(size=(sum(LENGTHS), 6))
    parts = np.split(S, np.cumsum(LENGTHS)[:-1])
    held = workers.hold(make_rows, [(part,) for part in parts])
    return ShardedRows(Shards(workers, held, LENGTHS), 6, S.dtype)


def make_rows(part: np.ndarray) -> DenseRows | None:
    """Rows of one shard."""
    return DenseRows(part) if len(part) else None


def answers(rows: ShardedRows) -> list[np.ndarray]:
    """All that is asked of rows."""
    rng = np.random.default_rng(1)
    return [
        rows.dot(rng.normal(size=6)),
        rows.sum(rng.random(rows.n)),
        rows.squared_norms,
        rows.take(np.array([99, 0, 30, 31])),
    ]


def slow_sum(rows: DenseRows | None, seconds: float) -> tuple[int, float]:
    """Take a while, and say who did it."""
    time.sleep(seconds)
    return os.getpid(), 0.0 if rows is None else float(rows.total.sum())


def fail(rows: DenseRows | None) -> None:
    """Raise an error of ours."""
    raise ProblemError("shard is bad")


def test_workers_give_the_bits_of_this_process(client: Client) -> None:
    """Every method of sharded rows is the same, bit for bit, here and on two workers."""
    here, there = answers(rows_of(Serial())), answers(rows_of(open_workers(client)))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_killed_worker_changes_nothing(client: Client) -> None:
    """After kill -9 in the middle of a round its shards are loaded again and the round ends."""
    rows = rows_of(open_workers(client))
    expected = [total for _, total in rows.shards.map(slow_sum, 0.0)]
    victim = next(iter(client.run(os.getpid).values()))
    futures = [client.submit(slow_sum, held, 0.4, pure=False) for held in rows.shards.held]
    os.kill(victim, signal.SIGKILL)
    found = rows.shards.map(slow_sum, 0.1)
    assert [total for _, total in found] == expected
    assert [total for _, total in client.gather(futures)] == expected
    assert victim not in {pid for pid, _ in found}


def test_an_error_in_a_task_keeps_its_type(client: Client) -> None:
    """What a shard raises is raised here, and the next round works."""
    rows = rows_of(open_workers(client))
    with pytest.raises(ProblemError, match="shard is bad"):
        rows.shards.map(fail)
    assert len(rows.shards.map(slow_sum, 0.0)) == len(LENGTHS)


def test_a_shared_vector_travels_once(client: Client) -> None:
    """A large array that all tasks are given is sent as the result of one task."""
    import distributed

    rows = rows_of(open_workers(client))
    sent: list[np.ndarray] = []
    original = distributed.Client.submit

    def submit(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        sent.extend(arg for arg in args if isinstance(arg, np.ndarray))
        return original(self, function, *args, **kwargs)

    vector = np.arange(20_000.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed.Client, "submit", submit)
        totals = rows.shards.map(add_all, vector)
    assert totals == [vector.sum()] * len(LENGTHS)
    assert len(sent) == 1


def add_all(rows: DenseRows | None, vector: np.ndarray) -> float:
    """Sum a vector."""
    return float(vector.sum())


def test_a_closed_client_is_named(client: Client) -> None:
    """A client that was closed raises our error, which says to connect another one."""
    other = Client(address_of(client))
    workers = open_workers(other)
    other.close()
    with pytest.raises(EngineError, match=r"client is closed; connect another one"):
        rows_of(workers)
    assert answers(rows_of(open_workers(client)))


def test_an_address_is_an_engine(client: Client) -> None:
    """The address of a scheduler serves like a client; one where nobody answers is named."""
    workers = open_workers(address_of(client))
    np.testing.assert_array_equal(answers(rows_of(workers))[0], answers(rows_of(Serial()))[0])
    workers.client.close()  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("subsetsel.shards.open._PATIENCE", 0.2)
        with pytest.raises(EngineError, match=r"no Dask scheduler answers at engine = 'tcp://"):
            open_workers("tcp://127.0.0.1:9")


def test_what_is_no_engine_is_named() -> None:
    """Anything else is refused with what may stand there, and None is this process."""
    with pytest.raises(OptionError, match=r"engine must be None .* got 7"):
        open_workers(7)
    assert isinstance(open_workers(None), Serial)


@pytest.mark.parametrize("has_client", [True, False])
def test_dask_arrays_are_shards(client: Client, has_client: bool) -> None:
    """Chunks of rows become shards, columns are brought together, empty chunks stay."""
    import dask.array as da

    S = np.random.default_rng(2).normal(size=(50, 4))
    array = da.from_array(S, chunks=((20, 0, 30), (3, 1)))
    with pytest.MonkeyPatch.context() as patch:
        if not has_client:
            patch.setattr("distributed.default_client", no_client)
        shards = from_dask(array[array[:, 0] > -10])
    assert isinstance(shards.workers, Serial) is not has_client
    assert np.diff(shards.starts).tolist() == [20, 0, 30]
    np.testing.assert_array_equal(np.concatenate(shards.map(as_it_is)), S)


def no_client() -> None:
    """As Dask does where there is none."""
    raise ValueError("No clients found")


def as_it_is(value: Any) -> Any:
    """Give what is held."""
    return value


def test_data_frames_are_shards(client: Client) -> None:
    """The columns of numbers are features, and a column named beside them is the labels."""
    import dask.dataframe as dd
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.0] * 4, "y": ["u", "v", "u", "v"]})
    table = dd.from_pandas(frame, npartitions=2)
    shards = from_dask(table, label="y")
    parts = shards.map(as_it_is)
    np.testing.assert_array_equal(np.concatenate([X for X, _ in parts]), frame[["a", "b"]])
    assert [str(label) for _, y in parts for label in y] == ["u", "v", "u", "v"]
    with pytest.raises(ProblemError, match=r"no column 'z'; the columns are a, b, y"):
        from_dask(table, label="z")
    with pytest.raises(ProblemError, match=r"column 'y' holds no numbers"):
        from_dask(table)

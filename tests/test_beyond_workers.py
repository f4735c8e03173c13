"""Beyond one machine: the same subset for any number of workers, whatever becomes of them."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import beyond
import numpy as np
import pytest

from subsetsel import Problem, Solution, solve
from subsetsel.errors import EngineError, FileFormatError

pytest.importorskip("distributed")
from distributed import Client, LocalCluster

from subsetsel.shards.dask import DaskWorkers


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Processes of this machine, one at first."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    """Who asks them."""
    with Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a small problem."""
    return beyond.write(tmp_path_factory.mktemp("beyond"))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the problem be large enough for shards."""
    beyond.let_few_rows_be_enough(monkeypatch)


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Solution]:
    """The answers of this process alone."""
    with pytest.MonkeyPatch.context() as patch:
        beyond.let_few_rows_be_enough(patch)
        return {name: ask(folder) for name, ask in beyond.QUESTIONS.items()}


def scale(cluster: LocalCluster, client: Client, num: int) -> None:
    """Start workers until there are so many."""
    cluster.scale(num)
    client.wait_for_workers(num, timeout=120)


def at_least_two(cluster: LocalCluster, client: Client) -> None:
    """See that another worker is there when one dies."""
    scale(cluster, client, max(2, len(cluster.worker_spec)))


@contextmanager
def struck(name: str, call: int, strike: Any) -> Iterator[None]:
    """Do something once, while the shards are busy with the ``call``-th round of a function."""
    submit, num = DaskWorkers._submit, 0

    def submitted(
        self: DaskWorkers, call_it: Any, function: Any, *given: Any, **more: Any
    ) -> list[Any]:
        nonlocal num
        futures = submit(self, call_it, function, *given, **more)
        num += function.__name__ == name
        if function.__name__ == name and num == call:
            strike()
        return futures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DaskWorkers, "_submit", submitted)
        yield
    assert num >= call


def kill_a_worker(client: Client) -> None:
    """Let the worker that holds most die at once."""
    held = {name: len(keys) for name, keys in client.has_what().items()}
    kill(client, [max(held, key=held.__getitem__)])


def kill(client: Client, addresses: list[str]) -> None:
    """Let workers die at once."""
    for process in client.run(os.getpid, workers=addresses).values():
        os.kill(process, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("num", [1, 2, 4])
def test_any_number_of_workers_gives_the_same(
    cluster: LocalCluster, client: Client, folder: Path, alone: dict[str, Solution], num: int
) -> None:
    """Eq. 3, Eq. 4 and prune give the subset of this process, bit for bit."""
    scale(cluster, client, num)
    for name, ask in beyond.QUESTIONS.items():
        found = ask(folder, client)
        assert beyond.same(found, alone[name]), name
        assert found.stats["num_shards"] == alone[name].stats["num_shards"] > 1
    assert not alone["smallest_norm"].stats["is_gathered"]
    assert alone["largest"].stats["core_rows"] < beyond.N


@pytest.mark.parametrize(
    ("name", "strikes"),
    [
        ("largest", {"_dot": 2}),
        ("smallest_norm", {"take_share": 1}),
        pytest.param(
            "verified", {"_value_and_gradient": 3, "_restrict": 1}, marks=pytest.mark.slow
        ),
    ],
    ids=["relaxation", "levels", "polish and refit"],
)
def test_a_killed_worker_changes_no_answer(
    cluster: LocalCluster,
    client: Client,
    folder: Path,
    alone: dict[str, Solution],
    name: str,
    strikes: dict[str, int],
) -> None:
    """After kill -9 of a worker in the middle of a round the subset is the same."""
    at_least_two(cluster, client)
    with ExitStack() as stack:
        for function, call in strikes.items():
            stack.enter_context(struck(function, call, lambda: kill_a_worker(client)))
        found = beyond.QUESTIONS[name](folder, client)
    assert beyond.same(found, alone[name])


def test_a_worker_that_comes_in_the_middle_changes_no_answer(
    cluster: LocalCluster, client: Client, folder: Path, alone: dict[str, Solution]
) -> None:
    """A worker that joins while the relaxation runs takes part, and the subset is the same."""
    num = len(client.scheduler_info(n_workers=-1)["workers"])
    with struck("_dot", 1, lambda: scale(cluster, client, num + 1)):
        found = beyond.largest(folder, client)
    assert beyond.same(found, alone["largest"])


def ask_on(folder: Path, client: Client) -> None:
    """Ask again and again."""
    while True:
        beyond.largest(folder, client)


@pytest.mark.parametrize("is_from_elsewhere", [False, True])
def test_a_client_that_closes_in_the_middle_is_named(
    cluster: LocalCluster, folder: Path, is_from_elsewhere: bool
) -> None:
    """Whether it closes between two rounds or during one, the message says how to go on."""
    other = Client(cluster)

    def close() -> None:
        if is_from_elsewhere:
            threading.Timer(0.05, other.close).start()
        else:
            other.close()

    with struck("_take", 1, close), pytest.raises(EngineError, match="open a new distributed"):
        ask_on(folder, other)


def test_a_file_that_changes_is_named_when_it_is_read_again(
    cluster: LocalCluster, client: Client, tmp_path: Path
) -> None:
    """A shard that died with its worker is read again; a file that is another by then is named."""
    folder = beyond.write(tmp_path)
    at_least_two(cluster, client)
    problem = Problem(beyond.rows(folder, client), epsilon=30.0)
    assert problem.rows.shards is not None
    shard = problem.rows.shards.held[-1]

    def strike() -> None:
        np.save(folder / "S-2.npy", 2.0 * np.load(folder / "S-2.npy"))
        kill(client, list(client.who_has([shard])[shard.key]))

    with (
        struck("_dot", 1, strike),
        pytest.raises(FileFormatError, match=r"S-2\.npy was changed since the data was opened"),
    ):
        solve(problem)


def test_entries_that_are_no_numbers_are_named_by_file_and_row(
    client: Client, tmp_path: Path
) -> None:
    """NaN in the last shard is found by the worker that reads it."""
    folder = beyond.write(tmp_path)
    S = np.load(folder / "S-2.npy")
    S[-1, 1] = np.nan
    np.save(folder / "S-2.npy", S)
    with pytest.raises(ValueError, match=r"column 1 of row 699 of .*S-2\.npy"):
        solve(Problem(folder / "S-*.npy", epsilon=1.0, engine=client))


def test_a_problem_on_a_cluster_is_not_pickled(client: Client, folder: Path) -> None:
    """Its solution is; the problem says what to do instead."""
    problem = Problem(beyond.rows(folder, client), epsilon=30.0)
    with pytest.raises(EngineError, match="cannot be pickled"):
        pickle.dumps(problem)
    found = solve(problem)
    assert beyond.same(pickle.loads(pickle.dumps(found)), found)

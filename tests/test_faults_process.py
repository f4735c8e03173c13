"""Too little memory, Ctrl-C, threads, and the worker processes of a DataLoader."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limits_of_the_system import more_memory, needs_limits
from torch.utils.data import DataLoader, Dataset
from typer.testing import CliRunner

import subsetsel
from subsetsel import Problem
from subsetsel.cli.app import app
from subsetsel.errors import OutOfMemoryError, ProblemError
from subsetsel.influence.features.extract import features_from_model
from subsetsel.problem.progress import Progress
from subsetsel.support.memory import free_memory, needs_memory

runner = CliRunner()
MIB = 1 << 20


# --- memory -------------------------------------------------------------------------------------


@needs_limits
def test_a_search_without_memory_says_what_it_needs() -> None:
    """Memory that runs out in mid-search: the size, what is free, and what takes less.

    Mutation: `_solve` without `needs_memory`: fails.
    """
    problem = Problem(np.random.default_rng(0).normal(size=(4096, 64)), size=10)

    def grow(_: Progress) -> None:
        np.empty((64 * MIB,), dtype=np.uint8)

    # What is loaded and compiled on first use is not the matter here.
    subsetsel.solve(problem, solver="greedy", max_iterations=1)
    with more_memory(32 * MIB), pytest.raises(OutOfMemoryError) as caught:
        subsetsel.solve(problem, solver="greedy", callback=grow)
    assert "solving S of 4,096 x 64 with 'greedy' takes about 2.6 MiB" in str(caught.value)
    assert "MiB are free" in str(caught.value)
    assert "mmap_mode" in str(caught.value)


@needs_limits
def test_a_head_without_memory_says_what_it_needs() -> None:
    """Features that are too many for float64 end in an error that names what takes less.

    Mutation: `_is_about_memory` that does not know MemoryError: fails.
    """
    X = np.zeros((16_384, 1024), dtype=np.float32)
    X[:, 0] = np.arange(len(X)) % 2
    with more_memory(32 * MIB), pytest.raises(OutOfMemoryError, match="storage='factored'"):
        Problem.from_features(X, np.arange(len(X)) % 2, l2=1e-2, size=2)


def test_what_pytorch_says_of_memory_is_understood() -> None:
    """On a CPU it has no MemoryError: a petabyte is refused with a RuntimeError and a text.

    Mutation: `_is_about_memory` without that text: fails.
    """
    with (
        pytest.raises(OutOfMemoryError, match="S takes about 5 bytes"),
        needs_memory("S", lambda: 5, "Take less."),
    ):
        torch.empty(1 << 50, dtype=torch.uint8)


def test_other_errors_are_none_of_memory() -> None:
    """A RuntimeError of the work itself is passed on as it is.

    Mutation: `_is_about_memory` that is always True: fails.
    """
    with pytest.raises(RuntimeError, match=r"^of the work$"), needs_memory("S", lambda: 5, ""):
        raise RuntimeError("of the work")


@needs_limits
def test_free_memory_knows_the_limit_of_the_process() -> None:
    """A batch job that may have 64 MiB more is not told of the machine's gigabytes.

    Mutation: `free_memory` without `_allowed`: fails.
    """
    with more_memory(64 * MIB):
        assert free_memory() <= 64 * MIB


# --- Ctrl-C -------------------------------------------------------------------------------------


def press_ctrl_c(record: Progress | None = None) -> None:
    """What a terminal does, once there is a subset."""
    if record is None or record.size is not None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("second", ["bound", "manifest"])
def test_ctrl_c_twice_stops_at_once(
    second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first press ends the search, the second whatever comes after it: code 130, no half file.

    Mutation: `_Group.invoke` without its clause for KeyboardInterrupt, or `save` that writes the
    subset before the manifest is complete: each fails.
    """

    @contextmanager
    def interrupting(*_: Any) -> Iterator[Any]:
        yield press_ctrl_c

    monkeypatch.setattr("subsetsel.cli.solve.solve_progress", interrupting)
    where = {
        "bound": (sys.modules["subsetsel.engine.solve"], "conclude"),
        "manifest": (sys.modules["subsetsel.report.manifest"], "write_json"),
    }
    monkeypatch.setattr(*where[second], lambda *_, **__: press_ctrl_c())
    np.save(tmp_path / "S.npy", np.random.default_rng(0).normal(size=(60, 3)))
    arguments = ["solve", str(tmp_path / "S.npy"), "--size", "20"]
    result = runner.invoke(app, [*arguments, "--out", str(tmp_path / "pruned.npz")])
    assert result.exit_code == 130
    assert result.stderr == "interrupted; nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["S.npy"]


# --- threads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["anneal", "greedy"])
def test_two_solves_at_once_are_as_each_alone(solver: str) -> None:
    """Threads of one process share compiled kernels and caches, but no state of a search.

    Mutation: all runs share one ``__dict__``: fails.
    """
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=(300, 4)) * scale for scale in (1.0, 3.0)]

    def answer(number: int) -> tuple[list[int], float]:
        S = matrices[number % 2]
        found = subsetsel.solve(S, size=100 + number, solver=solver, seed=number)
        return found.pruned.tolist(), found.norm

    alone = [answer(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(answer, range(4)))
    assert together == alone


# --- workers ------------------------------------------------------------------------------------


class SolvingData(Dataset[Any]):
    """Examples that say how their process was started, and that solve a problem in it."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        is_spawned = type(multiprocessing.current_process()).__name__ == "SpawnProcess"
        is_worker = torch.utils.data.get_worker_info() is not None
        problem = Problem(np.eye(4), size=2)
        # To load the kernels again in each spawned process would take seconds and show no more.
        mask = index_mask() if is_spawned else subsetsel.solve(problem, solver="greedy").mask
        return torch.tensor([problem.norm(mask), float(is_spawned), float(is_worker)]), index % 2


def index_mask() -> Any:
    """Two of four."""
    return np.array([True, False, True, False])


class DyingData(SolvingData):
    """Its worker is killed, as the system does where memory runs out."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(3), index % 2


def features_of(data: Dataset[Any], start: str) -> Any:
    """What a model that changes nothing makes of the examples, loaded by one worker."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    loader = DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context=start)
    return features_from_model(model, loader, device="cpu", progress=False).X


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [name for name in ("fork", "spawn") if name in multiprocessing.get_all_start_methods()],
)
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_workers_started_as_the_user_says(start: str) -> None:
    """A loader's way of starting processes is kept, and the package works in them.

    Mutation: `OrderedData` forgets the loader's multiprocessing_context: fails for spawn.
    """
    rows = features_of(SolvingData(), start)
    assert rows[:, 0] == pytest.approx(2**0.5)
    assert rows[:, 1].tolist() == [float(start == "spawn")] * 4
    assert rows[:, 2].tolist() == [1.0] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_worker_that_is_killed_is_one_error_that_helps() -> None:
    """Not a hang, and not PyTorch's traceback.

    Mutation: `batches` without its clause for RuntimeError: fails.
    """
    with pytest.raises(ProblemError, match="give fewer num_workers"):
        features_of(DyingData(), "fork")

"""Beyond one machine: whatever is asked, each claim holds, or the fault is named."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import beyond
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_shards import cut_evenly, in_shards
from strategies import max_size_problems, min_norm_problems

from subsetsel import Problem, Solution, solve
from subsetsel.bounds import point
from subsetsel.engine import core, sharded
from subsetsel.errors import FileFormatError
from subsetsel.shards.sources import open_table
from subsetsel.shards.table import Shards
from subsetsel.testing.oracle import check_solution
from subsetsel.testing.problems import SmallProblem, small_problems

_SMALL = {one.name: one for one in small_problems()}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three rows be a step, and four a core."""
    let_rows_be_enough(monkeypatch, 3)


def let_rows_be_enough(patch: pytest.MonkeyPatch, num: int) -> None:
    """Let steps and cores have so few rows that most examples are decided elsewhere."""
    patch.setattr(point, "most_rows", lambda _: num)
    patch.setattr(sharded, "_num_rows", lambda _: num + 1)
    patch.setattr(core, "core_size", core_size_of(num + 1))
    patch.setattr("subsetsel.engine.levels.core_size", core_size_of(num + 1))


def core_size_of(num: int) -> Any:
    """As `core_size`, of so many rows."""

    def core_size(problem: Problem) -> int | None:
        num_free = int(np.count_nonzero(problem.free))
        return None if num_free <= num else num

    return core_size


def cut(problem: Problem, cuts: list[int]) -> Problem:
    """The same problem on rows in shards."""
    S = np.array(problem.rows.block(0, problem.n))
    return problem.with_rows(in_shards(S, cuts))


@pytest.mark.filterwarnings("ignore::subsetsel.DegenerateProblemWarning")
@pytest.mark.parametrize("one", _SMALL.values(), ids=_SMALL)
def test_every_small_question_is_answered_truthfully(one: SmallProblem, tiny: None) -> None:
    """Limits, groups, offsets and degenerate rows in uneven shards, judged by enumeration."""
    problem = one.build()
    n = problem.n
    whole = cut(problem, sorted([0, min(1, n), n // 2, n]))
    solution = solve(whole, max_iterations=2000)
    check_solution(whole, solution)
    if one.expected is not None:
        assert solution.status == one.expected


@pytest.mark.filterwarnings("ignore::subsetsel.DegenerateProblemWarning")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    problem=st.one_of(max_size_problems(), min_norm_problems()),
    num=st.integers(1, 4),
    num_shards=st.integers(1, 5),
)
def test_no_claim_is_false(problem: Problem, num: int, num_shards: int) -> None:
    """U is never below the enumerated optimum, and what is called feasible or optimal is."""
    with pytest.MonkeyPatch.context() as patch:
        let_rows_be_enough(patch, num)
        whole = cut(problem, cut_evenly(problem.n, num_shards))
        check_solution(whole, solve(whole, max_iterations=500))


@pytest.mark.filterwarnings("ignore::subsetsel.DegenerateProblemWarning")
def test_rows_of_zeros_have_no_multiplier_to_begin_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core of a problem whose free rows are all 0 is solved as if nothing were known.

    Mutation: the multiplier of 0 is handed on: a division by 0.
    """
    let_rows_be_enough(monkeypatch, 1)
    limit = (np.array([1.0, 1.0, -1.0, -1.0]), None, 1.0)
    problem = Problem(np.zeros((4, 1)), epsilon=0.0, constraints=[limit])
    assert solve(cut(problem, [0, 2, 4])).size == 4


@pytest.mark.parametrize(("epsilon", "status"), [(20.0, "infeasible"), (200.0, "optimal")])
@pytest.mark.filterwarnings("ignore::subsetsel.DegenerateProblemWarning")
def test_nothing_is_left_to_decide(epsilon: float, status: str) -> None:
    """Where every example must be pruned or kept that subset is the answer, or there is none.

    Mutation: a problem of no example is asked: fails.
    """
    S = np.random.default_rng(0).normal(size=(600, 3)) + 0.3
    fixed: dict[str, Any] = {"must_prune": np.arange(200), "must_keep": np.arange(200, 600)}
    # Without a bound nothing is proved before the search.
    found = solve(Problem(in_shards(S, [100, 300]), epsilon=epsilon, **fixed), bound=False)
    assert found.status == status
    assert found.size == (200 if status == "optimal" else 0)


# --- the driver -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a small problem."""
    return beyond.write(tmp_path_factory.mktemp("beyond"))


def ask_and_die(name: str, folder: Path, checkpoint: Path, call: int) -> None:
    """Ask, and be killed while the ``call``-th file of the journal is written."""
    save, num = np.savez, 0

    def save_or_die(*given: Any, **named: Any) -> None:
        nonlocal num
        num += 1
        save(*given, **named)
        if num == call:
            os.kill(os.getpid(), signal.SIGKILL)

    np.savez = save_or_die
    with pytest.MonkeyPatch.context() as patch:
        beyond.let_few_rows_be_enough(patch)
        beyond.QUESTIONS[name](folder, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("largest", 2),
        ("smallest_norm", 2),
        pytest.param("largest", 4, marks=pytest.mark.slow),
        pytest.param("verified", 1, marks=pytest.mark.slow),
    ],
)
def test_a_driver_that_was_killed_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    """After kill -9 of the process that asks, the same call ends with the same subset."""
    place = tmp_path / "checkpoint.npz" if name == "verified" else tmp_path / "checkpoint"
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=ask_and_die, args=(name, folder, place, call))
    process.start()
    process.join(timeout=300)
    assert process.exitcode == -signal.SIGKILL
    beyond.let_few_rows_be_enough(monkeypatch)
    again = beyond.QUESTIONS[name](folder, checkpoint=place)
    assert beyond.same(again, beyond.QUESTIONS[name](folder))


def test_steps_on_one_expansion_answer_for_no_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hessian="kept" rows are made anew for each subset; a checkpoint changes no answer.

    Mutation: a later choice gets the steps of an earlier one: fails.
    """
    beyond.let_few_rows_be_enough(monkeypatch)
    X = open_table(folder / "X-*.npy", rows_per_shard=beyond.ROWS_PER_SHARD)
    problem = Problem.from_features(X, folder / "y.npy", l2=1e-1, size=800, hessian="kept")
    found = solve(problem, max_iterations=10_000)
    assert beyond.same(solve(problem, max_iterations=10_000, checkpoint=tmp_path), found)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_gone", [False, True], ids=["changed", "gone"])
def test_a_file_that_changes_between_two_rounds_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    """In the middle of the relaxation the file is another, or none: it is named, and no answer."""
    folder, num, ask_shards = beyond.write(tmp_path), 0, Shards.map

    def counted(self: Shards, function: Any, *common: Any, **more: Any) -> list[Any]:
        nonlocal num
        num += function.__name__ == "_dot"
        if num == 2:
            path = folder / "S-1.npy"
            np.save(path, np.load(path) * 1.0)
            if is_gone:
                path.unlink()
        return ask_shards(self, function, *common, **more)

    beyond.let_few_rows_be_enough(monkeypatch)
    monkeypatch.setattr(Shards, "map", counted)
    words = "can no longer be read" if is_gone else "was changed since the data was opened"
    with pytest.raises(FileFormatError, match=rf"S-1\.npy {words}"):
        beyond.largest(folder)


def test_an_answer_from_shards_is_saved_and_read(folder: Path, tmp_path: Path) -> None:
    """What was found in shards is written and read as any other solution."""
    found = beyond.largest(folder)
    found.save(tmp_path / "pruned.npz")
    assert beyond.same(Solution.load(tmp_path / "pruned.npz"), found)

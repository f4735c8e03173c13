"""Where time is up nothing begins that would take long, and what was found comes back."""

from __future__ import annotations

import importlib
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from subsetsel.solvers import _background
from subsetsel.solvers._model import Model
from subsetsel.solvers.cpsat import CpsatOptions, _CpsatModel
from subsetsel.solvers.exact import ExactOptions, _ScipModel

from subsetsel import Problem, solve
from subsetsel.bounds.dual import lower_bound_on_norm
from subsetsel.engine.options import Limits
from subsetsel.engine.other_form import maximize_size
from subsetsel.engine.proof import Proof
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask, load_linear, minimize_linear
from subsetsel.rows.rank import reduce_rank
from subsetsel.support.background import beside_clock
from subsetsel.support.clock import Clock, TimeIsUp

_S = np.random.default_rng(3).normal(size=(30, 3)) + 0.2


def with_real_coefficients(**goal: Any) -> Problem:
    """A problem whose linear side only HiGHS can solve."""
    row = np.random.default_rng(4).normal(size=30)
    return Problem(_S, constraints=[(row, -1.0, 1.0)], **goal)


def record(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """Note the options of every call of a HiGHS function, which works on."""
    original, seen = getattr(scipy.optimize, name), []

    def recorded(*arguments: Any, **given: Any) -> Any:
        seen.append(given["options"].get("time_limit"))
        return original(*arguments, **given)

    monkeypatch.setattr(scipy.optimize, name, recorded)
    return seen


# --- HiGHS --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["milp", "linprog"])
def test_highs_is_told_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Both programs get the rest of the clock as their own limit."""
    seen, problem = record(monkeypatch, name), with_real_coefficients(size=10)
    if name == "milp":
        assert find_mask(problem, clock=Clock(50.0)) is not None
    else:
        assert minimize_linear(problem, np.ones(30), clock=Clock(50.0))[0] is not None
    assert len(seen) == 1
    assert 0.0 < seen[0] <= 50.0


def test_highs_is_told_of_no_limit_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An infinite clock is no option of HiGHS."""
    seen = record(monkeypatch, "milp")
    find_mask(with_real_coefficients(size=10))
    assert seen == [None]


@pytest.mark.parametrize("name", ["milp", "linprog"])
def test_highs_does_not_begin_after_the_end(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An expired clock means TimeIsUp for a subset, and no proof for a bound."""
    seen, problem = record(monkeypatch, name), with_real_coefficients(size=10)
    if name == "milp":
        with pytest.raises(TimeIsUp):
            find_mask(problem, clock=Clock(0.0))
    else:
        assert minimize_linear(problem, np.ones(30), clock=Clock(0.0)) == (None, -np.inf)
    assert seen == []


def test_no_subset_in_time_is_no_proof_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """HiGHS at its limit with empty hands is TimeIsUp, not None, which would mean infeasible."""
    empty = SimpleNamespace(x=None, status=1, message="Time limit reached.")
    monkeypatch.setattr(scipy.optimize, "milp", lambda *_, **__: empty)
    with pytest.raises(TimeIsUp):
        find_mask(with_real_coefficients(size=10), clock=Clock(60.0))


def test_a_solve_without_time_is_unknown_not_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver for which HiGHS finds no start in time ends with its limit named."""
    empty = SimpleNamespace(x=None, status=1, message="Time limit reached.")
    monkeypatch.setattr(scipy.optimize, "milp", lambda *_, **__: empty)
    solution = solve(with_real_coefficients(size=10), solver="greedy", time_limit=60.0)
    assert (solution.status, solution.limit) == ("unknown", "time")


# --- work in threads ----------------------------------------------------------------------------


def test_work_beside_the_clock_gives_its_result() -> None:
    """What the thread returns comes back."""
    assert beside_clock(lambda: 7, Clock(60.0)) == 7


def test_work_beside_the_clock_raises_its_error() -> None:
    """What the thread raises is raised."""

    def fail() -> None:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        beside_clock(fail, Clock())


def test_work_that_ignores_its_limit_is_left_behind() -> None:
    """After the deadline nobody waits for a thread that goes on."""
    never = threading.Event()
    with pytest.raises(TimeIsUp):
        beside_clock(never.wait, Clock(0.0))
    never.set()


def test_a_native_solver_that_does_not_stop_is_left_behind() -> None:
    """The run gets None, and the solver was asked to stop."""
    never, asked = threading.Event(), threading.Event()
    run = Run(Problem(_S, size=5), Limits(time_limit=0.0))
    assert _background.run_beside_clock(never.wait, run, stop=asked.set) is None
    assert asked.is_set()
    never.set()


# --- solvers ------------------------------------------------------------------------------------


def model_of(problem: Problem) -> Model:
    """What the exact back ends are asked."""
    return Model(problem, reduce_rank(problem.rows), True, 0, problem.n, np.inf)


@pytest.mark.parametrize(
    ("make", "options"), [(_CpsatModel, CpsatOptions()), (_ScipModel, ExactOptions())]
)
def test_no_model_is_built_after_the_end(make: Any, options: Any) -> None:
    """The clock is asked while a model is built, row by row."""
    problem = Problem(_S, epsilon=1.0)
    with pytest.raises(TimeIsUp):
        make(model_of(problem), options, Run(problem, Limits(time_limit=0.0)))


@pytest.mark.parametrize("has_own_limit", [False, True])
def test_a_search_within_another_keeps_its_usual_work(has_own_limit: bool) -> None:
    """CP-SAT gets the time that is left; its work is limited too unless the time is its own."""
    problem = Problem(_S, epsilon=1.0)
    outer = Run(problem, Limits(time_limit=60.0))
    run = outer if has_own_limit else Run(problem, Limits(), parent=outer)
    solver = SimpleNamespace(parameters=SimpleNamespace())
    _CpsatModel(model_of(problem), CpsatOptions(), run)._parameters(solver)
    assert 0.0 < solver.parameters.max_time_in_seconds <= 60.0
    assert hasattr(solver.parameters, "max_deterministic_time") is not has_own_limit


def test_scip_keeps_its_usual_nodes_within_another_search() -> None:
    """The nodes are limited where the time belongs to the search around it."""
    problem = Problem(_S, epsilon=1.0)
    run = Run(problem, Limits(), parent=Run(problem, Limits(time_limit=60.0)))
    parameters = _ScipModel(model_of(problem), ExactOptions(max_nodes=70), run)._parameters()
    assert parameters.node_limit == 70
    assert parameters.time_limit is not None


@pytest.mark.parametrize("end", [KeyboardInterrupt, TimeIsUp])
def test_what_an_inner_search_found_outlives_its_end(end: type[BaseException]) -> None:
    """A probe that is broken off hands over its subset first."""
    problem = Problem(_S, epsilon=5.0, normalization="kept")
    run = Run(problem, Limits())

    def engine(sub: Problem, inner: Run) -> Candidate:
        inner.submit(np.arange(30) < (sub.size or 0))
        raise end

    with pytest.raises(end):
        maximize_size(engine, problem.replace(max_size=1), run)
    assert run.size == 1


# --- after the search ---------------------------------------------------------------------------


def test_ctrl_c_during_the_bound_keeps_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subset was found before; only the bound is missing."""

    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Proof, "conclude", press)
    solution = solve(_S, size=12, solver="greedy")
    assert (solution.size, solution.status, solution.limit) == (12, "feasible", "interrupted")


def test_the_bound_on_the_norm_takes_no_step_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an expired clock S is multiplied by nothing, and 0 is proved."""
    problem = Problem(np.abs(_S), size=10)
    assert lower_bound_on_norm(problem) > 0.0
    monkeypatch.setattr(type(problem.rows), "dot", lambda *_: pytest.fail("a pass was begun"))
    assert lower_bound_on_norm(problem, clock=Clock(0.0)) == 0.0


@pytest.mark.parametrize("has_constraints", [False, True])
def test_highs_is_loaded_before_the_clock_starts(
    monkeypatch: pytest.MonkeyPatch, has_constraints: bool
) -> None:
    """Its import would take longer than a short limit, and is needed by constraints alone."""
    seen: list[str] = []
    monkeypatch.setattr(importlib, "import_module", seen.append)
    row = [(np.ones(30), None, 20.0)] if has_constraints else []
    load_linear(Problem(_S, size=10, constraints=row))
    assert seen == ["scipy.optimize"] * has_constraints


def test_the_check_of_S_is_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that the check of S uses up leaves none for a search."""
    import time

    real, added = time.perf_counter, 0.0

    def build(*arguments: Any, **given: Any) -> Problem:
        nonlocal added
        added += 100.0
        return Problem(*arguments, **given)

    monkeypatch.setattr(time, "perf_counter", lambda: real() + added)
    monkeypatch.setattr("subsetsel.engine.solve._as_problem", lambda S, q: build(S, size=q["size"]))
    assert solve(_S, size=12, solver="greedy", time_limit=50.0).limit == "time"

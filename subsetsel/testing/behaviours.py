"""How every solver behaves, whatever it is asked: limits, seeds, guesses, interruption, storage."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.engine.solve import solve
from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.problem import Problem
from subsetsel.problem.progress import Progress
from subsetsel.problem.solution import Solution
from subsetsel.rows.base import FloatArray
from subsetsel.testing.oracle import check_solution, enumerate_optimum, require
from subsetsel.testing.problems import gaussian

_S = gaussian(10, 3, seed=20, shift=0.6)

# Name of a behaviour -> what checks it; takes the name of a solver and raises AssertionError.
BEHAVIOURS: dict[str, Callable[[str], None]] = {}


def _both_forms(S: Any = _S) -> tuple[Problem, Problem]:
    return Problem(S, epsilon=1.0), Problem(S, size=4)


def _on_both_forms(check: Callable[[str, Problem], None]) -> None:
    """Add a behaviour, which is checked on one problem of Eq. 3 and on one of Eq. 4."""

    def run(solver: str) -> None:
        for problem in _both_forms():
            check(solver, problem)

    BEHAVIOURS[check.__name__] = run


def _once(check: Callable[[str], None]) -> None:
    """Add a behaviour that is checked once."""
    BEHAVIOURS[check.__name__] = check


def _solve(problem: Problem, solver: str, **options: Any) -> Solution:
    solution = solve(problem, solver=solver, **options)
    check_solution(problem, solution)
    require(solution.solver == solver, f"solver is called {solution.solver!r} in the solution")
    return solution


def _error_message(kind: type[Exception], problem: Any, **options: Any) -> str:
    try:
        solve(problem, **options)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised for {sorted(options)}")


def _require_stopped(solution: Solution, by: str) -> None:
    """Require an answer, and that its limit is an interruption or that it was proved optimal."""
    require(solution.is_feasible, f"status is {solution.status!r} after {by}")
    require(
        solution.status == "optimal" or solution.limit == "interrupted",
        f"after {by} limit is {solution.limit!r}",
    )


def _is_at_least_as_good(problem: Problem, solution: Solution, size: int, norm: float) -> bool:
    if not solution.is_feasible:
        return False
    if problem.form == "max_size":
        return solution.size >= size
    return solution.norm <= norm * (1 + 1e-12)


def _cost(problem: Problem, record: Progress) -> tuple[int, float]:
    """Give what a search minimizes: minus the size, then the norm; for Eq. 4 the norm alone."""
    assert record.size is not None
    assert record.norm is not None
    return (-record.size if problem.form == "max_size" else 0), record.norm


@_on_both_forms
def same_seed_same_subset(solver: str, problem: Problem) -> None:
    """Give the same subset for the same seed and budget, with and without an iteration limit."""
    for options in ({}, {"max_iterations": 200}):
        first, second = (_solve(problem, solver, seed=3, **options) for _ in range(2))
        require(
            np.array_equal(first.mask, second.mask),
            f"two runs with seed 3 and {options or 'no limit'} differ: "
            f"{first.pruned} and {second.pruned}",
        )


# Name -> what a solver is given, and the limits that it may report: it returns early, truthfully.
_STOPS: dict[str, tuple[dict[str, Any], set[str | None]]] = {
    "no_limit_is_reported_without_one": ({}, {None}),
    "no_time_is_survived": ({"time_limit": 0}, {"time", None}),
    "iteration_limit_is_respected": ({"max_iterations": 1}, {"iterations", None}),
}


def _check_stop(name: str, solver: str) -> None:
    """Stop by the limit that was given, or by the solver's own budget."""
    given, allowed = _STOPS[name]
    for problem in _both_forms():
        limit = _solve(problem, solver, **given).limit
        require(limit in allowed, f"with {given or 'no limit'} given, limit is {limit!r}")


BEHAVIOURS |= {name: partial(_check_stop, name) for name in _STOPS}


@_on_both_forms
def true_from_callback_stops(solver: str, problem: Problem) -> None:
    """Stop when a callback returns True, and return the incumbent."""
    records: list[Progress] = []

    def stop(record: Progress) -> bool:
        records.append(record)
        return record.size is not None

    solution = _solve(problem, solver, callback=stop)
    require(records, "the callback was never called")
    _require_stopped(solution, by="a callback that returned True")


@_once
def progress_is_only_told(solver: str) -> None:
    """Ignore what ``progress`` returns."""
    problem = Problem(_S, epsilon=1.0)
    told = _solve(problem, solver, progress=lambda record: True)
    alone = _solve(problem, solver)
    require(told.limit is None, f"progress returned True and limit is {told.limit!r}")
    require(np.array_equal(told.mask, alone.mask), "progress changed the subset")


@_on_both_forms
def target_stops(solver: str, problem: Problem) -> None:
    """Stop at a target that is easily reached."""
    is_size = problem.form == "max_size"
    target = 1.0 if is_size else 1.5 * float(np.linalg.norm(_S.sum(axis=0)))
    solution = _solve(problem, solver, target=target)
    require(solution.is_feasible, f"status is {solution.status!r}")
    is_reached = solution.size >= target if is_size else solution.norm <= target
    require(is_reached, "stopped short of the target")
    require(
        solution.status == "optimal" or solution.limit in {"target", None},
        f"limit is {solution.limit!r}, expected 'target'",
    )


@_on_both_forms
def initial_guess_is_never_made_worse(solver: str, problem: Problem) -> None:
    """Never fall below a feasible guess: with a full budget, one iteration, or no time."""
    best = enumerate_optimum(problem)
    assert best is not None
    for options in ({}, {"max_iterations": 1}, {"time_limit": 0}):
        solution = _solve(problem, solver, initial_guess=best.mask, **options)
        require(
            _is_at_least_as_good(problem, solution, best.size, best.norm),
            f"started from size {best.size}, norm {best.norm:.6g}, with "
            f"{options or 'no limit'}; returned size {solution.size}, norm "
            f"{solution.norm:.6g}, {solution.status}",
        )


@_on_both_forms
def infeasible_guess_is_repaired(solver: str, problem: Problem) -> None:
    """Take a guess of another size, as on a path, for a start and not for an error."""
    for mask in (np.ones(problem.n, dtype=np.bool_), np.arange(problem.n) < 2):
        solution = _solve(problem, solver, initial_guess=mask)
        require(solution.is_feasible, f"status is {solution.status!r}")


@_on_both_forms
def malformed_guess_is_refused(solver: str, problem: Problem) -> None:
    """Refuse a guess of the wrong length, naming the shape."""
    guess = np.zeros(problem.n + 1, dtype=np.bool_)
    message = _error_message(ProblemError, problem, solver=solver, initial_guess=guess)
    require(f"({problem.n},)" in message, f"the message names no shape: {message}")


@_on_both_forms
def interruption_keeps_the_incumbent(solver: str, problem: Problem) -> None:
    """Return the best subset so far after Ctrl-C."""
    seen: list[tuple[int, float]] = []

    def interrupt(record: Progress) -> None:
        if record.size is not None and record.norm is not None:
            seen.append((record.size, record.norm))
            raise KeyboardInterrupt

    solution = _solve(problem, solver, callback=interrupt)
    require(seen, "the callback never saw an incumbent")
    _require_stopped(solution, by="Ctrl-C")
    size, norm = seen[0]
    require(
        _is_at_least_as_good(problem, solution, size, norm * (1 + 1e-9)),
        "the incumbent was lost",
    )


@_once
def unknown_option_is_named(solver: str) -> None:
    """Refuse a mistyped option, naming the closest."""
    message = _error_message(OptionError, _S, size=4, solver=solver, tim_limit=1)
    require("'tim_limit'" in message, f"the message does not name the option: {message}")
    require("'time_limit'" in message, f"the message does not name the closest: {message}")


@_on_both_forms
def bound_can_be_left_out(solver: str, problem: Problem) -> None:
    """Compute no bound and claim none with ``bound=False``."""
    solution = _solve(problem, solver, bound=False)
    require(solution.bound is None, f"bound=False, but bound is {solution.bound}")
    require(solution.gap is None, f"bound=False, but gap is {solution.gap}")


@_on_both_forms
def trace_improves_and_is_saved(solver: str, problem: Problem) -> None:
    """Keep a trace that only improves, ends at the solution, and survives saving."""
    solution = _solve(problem, solver, trace=True)
    trace = solution.trace
    require(trace, "trace=True, but the trace is empty")
    for before, after in pairwise(trace):
        is_worse = _cost(problem, after) > _cost(problem, before)
        require(not is_worse, f"the trace gets worse from {before} to {after}")
        require(before.time <= after.time, "the trace goes back in time")
    require(trace[-1].size == solution.size, "the trace does not end at the solution")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "solution.npz"
        solution.save(path)
        loaded = Solution.load(path)
    require(np.array_equal(loaded.mask, solution.mask), "saving changed the subset")
    require(loaded.trace == trace, "saving changed the trace")
    require(loaded.stats == solution.stats, "saving changed the stats: use JSON types")


@_once
def several_workers_are_accepted(solver: str) -> None:
    """Repeat the same subset with two workers."""
    problem = Problem(_S, epsilon=1.0)
    first, second = (_solve(problem, solver, num_workers=2, seed=5) for _ in range(2))
    require(np.array_equal(first.mask, second.mask), "two runs with two workers differ")


_STORAGE: dict[str, Callable[[FloatArray], Any]] = {
    "float32": lambda S: S.astype(np.float32),
    "fortran_order": np.asfortranarray,
    "negative_strides": lambda S: np.ascontiguousarray(S[::-1, ::-1])[::-1, ::-1],
    "gaps_between_entries": lambda S: np.repeat(np.repeat(S, 2, axis=0), 3, axis=1)[::2, ::3],
}


def _check_storage(kind: str, solver: str) -> None:
    """Read S from a read-only array of some type and layout."""
    stored = _STORAGE[kind](_S.copy())
    before = stored.copy()
    stored.flags.writeable = False
    for problem in _both_forms(stored):
        require(_solve(problem, solver).is_feasible, f"nothing found with S in {kind}")
    require(np.array_equal(stored, before), "S was modified")


BEHAVIOURS |= {f"storage_{kind}": partial(_check_storage, kind) for kind in _STORAGE}


@_once
def writable_array_is_not_modified(solver: str) -> None:
    """Leave S as it was even where it could be written."""
    stored = _S.copy()
    for problem in _both_forms(stored):
        _solve(problem, solver)
    require(np.array_equal(stored, _S), "S was modified")


@_once
def memory_map_is_read(solver: str) -> None:
    """Read S from a read-only memory map."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "S.npy"
        np.save(path, _S)
        stored = np.load(path, mmap_mode="r")
        for problem in _both_forms(stored):
            require(_solve(problem, solver).is_feasible, "nothing found in a memory map")
        require(np.array_equal(np.load(path), _S), "the file was modified")

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
from subsetsel.testing.oracle import check_solution, enumerate_optimum, require
from subsetsel.testing.problems import gaussian

_S = gaussian(10, 3, seed=20, shift=0.6)

Check = Callable[[str], None]


def _both_forms() -> tuple[Problem, Problem]:
    return Problem(_S, epsilon=1.0), Problem(_S, size=4)


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


def _is_at_least_as_good(problem: Problem, solution: Solution, size: int, norm: float) -> bool:
    if not solution.is_feasible:
        return False
    if problem.form == "max_size":
        return solution.size >= size
    return solution.norm <= norm * (1 + 1e-12)


def same_seed_same_subset(solver: str) -> None:
    """Give the same subset for the same seed and budget, with and without an iteration limit."""
    for problem in _both_forms():
        for options in ({}, {"max_iterations": 200}):
            first = _solve(problem, solver, seed=3, **options)
            second = _solve(problem, solver, seed=3, **options)
            require(
                np.array_equal(first.mask, second.mask),
                f"two runs with seed 3 and {options or 'no limit'} differ: "
                f"{first.pruned} and {second.pruned}",
            )


def no_limit_is_reported_without_one(solver: str) -> None:
    """Stop by the solver's own budget where no limit is given: ``limit`` is None."""
    for problem in _both_forms():
        solution = _solve(problem, solver)
        require(solution.limit is None, f"no limit was given, but limit is {solution.limit!r}")


def true_from_callback_stops(solver: str) -> None:
    """Stop when a callback returns True, and return the incumbent."""
    for problem in _both_forms():
        records: list[Progress] = []

        def stop(record: Progress, records: list[Progress] = records) -> bool:
            records.append(record)
            return record.size is not None

        solution = _solve(problem, solver, callback=stop)
        require(records, "the callback was never called")
        require(solution.is_feasible, f"status is {solution.status!r} after a callback stopped it")
        require(
            solution.status == "optimal" or solution.limit == "interrupted",
            f"stopped by the callback, but limit is {solution.limit!r}",
        )


def progress_is_only_told(solver: str) -> None:
    """Ignore what ``progress`` returns."""
    problem = Problem(_S, epsilon=1.0)
    told = _solve(problem, solver, progress=lambda record: True)
    alone = _solve(problem, solver)
    require(told.limit is None, f"progress returned True and limit is {told.limit!r}")
    require(np.array_equal(told.mask, alone.mask), "progress changed the subset")


def target_stops(solver: str) -> None:
    """Stop at a target that is easily reached."""
    eq3, eq4 = _both_forms()
    for problem, target in ((eq3, 1.0), (eq4, 1.5 * float(np.linalg.norm(_S.sum(axis=0))))):
        solution = _solve(problem, solver, target=target)
        reached = solution.size if problem is eq3 else -solution.norm
        require(solution.is_feasible, f"status is {solution.status!r}")
        require(reached >= (target if problem is eq3 else -target), "stopped short of the target")
        require(
            solution.status == "optimal" or solution.limit in {"target", None},
            f"limit is {solution.limit!r}, expected 'target'",
        )


def no_time_is_survived(solver: str) -> None:
    """Return at once and truthfully with ``time_limit=0``."""
    for problem in _both_forms():
        solution = _solve(problem, solver, time_limit=0)
        require(
            solution.limit in {"time", None},
            f"the time was up, but limit is {solution.limit!r}",
        )


def iteration_limit_is_respected(solver: str) -> None:
    """Return early and truthfully with ``max_iterations=1``."""
    for problem in _both_forms():
        solution = _solve(problem, solver, max_iterations=1)
        require(
            solution.limit in {"iterations", None},
            f"one iteration was allowed, but limit is {solution.limit!r}",
        )


def initial_guess_is_never_made_worse(solver: str) -> None:
    """Never fall below a feasible guess: with a full budget, one iteration, or no time."""
    for problem in _both_forms():
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


def infeasible_guess_is_repaired(solver: str) -> None:
    """Take a guess of another size, as on a path, for a start and not for an error."""
    for problem in _both_forms():
        for mask in (np.ones(problem.n, dtype=np.bool_), np.arange(problem.n) < 2):
            solution = _solve(problem, solver, initial_guess=mask)
            require(solution.is_feasible, f"status is {solution.status!r}")


def malformed_guess_is_refused(solver: str) -> None:
    """Refuse a guess of the wrong length, naming the shape."""
    for problem in _both_forms():
        guess = np.zeros(problem.n + 1, dtype=np.bool_)
        message = _error_message(ProblemError, problem, solver=solver, initial_guess=guess)
        require(f"({problem.n},)" in message, f"the message names no shape: {message}")


def interruption_keeps_the_incumbent(solver: str) -> None:
    """Return the best subset so far after Ctrl-C."""
    for problem in _both_forms():
        seen: list[Progress] = []

        def interrupt(record: Progress, seen: list[Progress] = seen) -> None:
            if record.size is not None:
                seen.append(record)
                raise KeyboardInterrupt

        solution = _solve(problem, solver, callback=interrupt)
        require(seen, "the callback never saw an incumbent")
        require(solution.is_feasible, f"status is {solution.status!r} after Ctrl-C")
        require(
            solution.status == "optimal" or solution.limit == "interrupted",
            f"after Ctrl-C limit is {solution.limit!r}",
        )
        size, norm = seen[0].size, seen[0].norm
        assert size is not None
        assert norm is not None
        require(
            _is_at_least_as_good(problem, solution, size, norm * (1 + 1e-9)),
            "the incumbent was lost",
        )


def unknown_option_is_named(solver: str) -> None:
    """Refuse a mistyped option, naming the closest."""
    message = _error_message(OptionError, _S, size=4, solver=solver, tim_limit=1)
    require("'tim_limit'" in message, f"the message does not name the option: {message}")
    require("'time_limit'" in message, f"the message does not name the closest: {message}")


def bound_can_be_left_out(solver: str) -> None:
    """Compute no bound and claim none with ``bound=False``."""
    for problem in _both_forms():
        solution = _solve(problem, solver, bound=False)
        require(solution.bound is None, f"bound=False, but bound is {solution.bound}")
        require(solution.gap is None, f"bound=False, but gap is {solution.gap}")


def trace_improves_and_is_saved(solver: str) -> None:
    """Keep a trace that only improves, ends at the solution, and survives saving."""
    for problem in _both_forms():
        solution = _solve(problem, solver, trace=True)
        trace = solution.trace
        require(trace, "trace=True, but the trace is empty")
        for before, after in pairwise(trace):
            assert before.norm is not None
            assert after.norm is not None
            worse = after.norm > before.norm
            if problem.form == "max_size":
                assert before.size is not None
                assert after.size is not None
                worse = (after.size, -after.norm) < (before.size, -before.norm)
            require(not worse, f"the trace gets worse from {before} to {after}")
            require(before.time <= after.time, "the trace goes back in time")
        require(trace[-1].size == solution.size, "the trace does not end at the solution")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "solution.npz"
            solution.save(path)
            loaded = Solution.load(path)
        require(np.array_equal(loaded.mask, solution.mask), "saving changed the subset")
        require(loaded.trace == trace, "saving changed the trace")
        require(loaded.stats == solution.stats, "saving changed the stats: use JSON types")


def several_workers_are_accepted(solver: str) -> None:
    """Repeat the same subset with two workers."""
    problem = Problem(_S, epsilon=1.0)
    first = _solve(problem, solver, num_workers=2, seed=5)
    second = _solve(problem, solver, num_workers=2, seed=5)
    require(np.array_equal(first.mask, second.mask), "two runs with two workers differ")


def _float32(S: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return S.astype(np.float32)


def _fortran(S: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asfortranarray(S)


def _reversed(S: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(S[::-1, ::-1])[::-1, ::-1]


def _strided(S: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.repeat(np.repeat(S, 2, axis=0), 3, axis=1)[::2, ::3]


_STORAGE: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "float32": _float32,
    "fortran_order": _fortran,
    "negative_strides": _reversed,
    "gaps_between_entries": _strided,
}


def _check_storage(kind: str, solver: str) -> None:
    stored = _STORAGE[kind](_S.copy())
    before = stored.copy()
    stored.flags.writeable = False
    for problem in (Problem(stored, epsilon=1.0), Problem(stored, size=4)):
        require(_solve(problem, solver).is_feasible, f"nothing found with S in {kind}")
    require(np.array_equal(stored, before), "S was modified")


def writable_array_is_not_modified(solver: str) -> None:
    """Leave S as it was even where it could be written."""
    stored = _S.copy()
    for problem in (Problem(stored, epsilon=1.0), Problem(stored, size=4)):
        _solve(problem, solver)
    require(np.array_equal(stored, _S), "S was modified")


def memory_map_is_read(solver: str) -> None:
    """Read S from a read-only memory map."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "S.npy"
        np.save(path, _S)
        stored = np.load(path, mmap_mode="r")
        for problem in (Problem(stored, epsilon=1.0), Problem(stored, size=4)):
            require(_solve(problem, solver).is_feasible, "nothing found in a memory map")
        require(np.array_equal(np.load(path), _S), "the file was modified")


def behaviours() -> dict[str, Check]:
    """All checks by name.

    Returns
    -------
    dict
        name -> callable that takes the name of a solver.
    """
    checks: tuple[Check, ...] = (
        same_seed_same_subset,
        no_limit_is_reported_without_one,
        true_from_callback_stops,
        progress_is_only_told,
        target_stops,
        no_time_is_survived,
        iteration_limit_is_respected,
        initial_guess_is_never_made_worse,
        infeasible_guess_is_repaired,
        malformed_guess_is_refused,
        interruption_keeps_the_incumbent,
        unknown_option_is_named,
        bound_can_be_left_out,
        trace_improves_and_is_saved,
        several_workers_are_accepted,
        writable_array_is_not_modified,
        memory_map_is_read,
    )
    named = {check.__name__: check for check in checks}
    for kind in _STORAGE:
        named[f"storage_{kind}"] = partial(_check_storage, kind)
    return named

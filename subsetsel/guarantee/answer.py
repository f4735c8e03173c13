"""From a question to its answer: the search, then the largest verified set with its claim."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Self

import numpy as np

from subsetsel.engine.options import Limits
from subsetsel.engine.other_form import pick_engine
from subsetsel.engine.registry import Solver, SolverSpec, get_spec
from subsetsel.engine.run import Run
from subsetsel.engine.solve import require_support
from subsetsel.errors import ProblemError
from subsetsel.guarantee.checkpoint import open_journal
from subsetsel.guarantee.search import VerifiedSearch
from subsetsel.guarantee.task import NO_LIMIT, Task
from subsetsel.guarantee.trial import Trial, Trials
from subsetsel.guarantee.verification import Verification
from subsetsel.problem.progress import Status
from subsetsel.problem.solution import Solution


@dataclass(frozen=True, eq=False)
class Method:
    """A solver and its own options, checked."""

    spec: SolverSpec
    solver: Solver
    options: Any

    @classmethod
    def named(cls, name: str, options: dict[str, Any]) -> Self:
        """Load a solver and check its options."""
        spec = get_spec(name)
        solver = spec.load()
        return cls(spec, solver, spec.options(solver, options))


def answer(
    task: Task,
    method: Method,
    limits: Limits,
    checkpoint: str | PathLike[str] | None,
    started: float,
) -> tuple[Solution, Verification]:
    """Search for the largest set that a refit verifies; the time runs since ``started``."""
    solver, options = method.solver, method.options
    unlimited = task.problem.replace(epsilon=NO_LIMIT)
    require_support(unlimited, method.spec)
    of_given_size = task.problem.replace(size=0)
    before = time.perf_counter()
    solver.warm_up(of_given_size, options)
    compile_time = time.perf_counter() - before
    run = Run(unlimited, limits)
    # Training the head is part of the time that was given.
    run.start_time = started + compile_time
    engine = pick_engine(of_given_size, method.spec, solver, options)
    journal = open_journal(checkpoint, task, limits, method.spec.name, options)
    trials = Trials(task, run, engine, journal)
    search = VerifiedSearch(trials)
    try:
        if not search.find(task.earlier):
            raise ProblemError(
                "the constraints leave no non-empty subset to prune; loosen must_keep, "
                "group_limits, max_size or constraints."
            )
    except KeyboardInterrupt:
        run.limit = "interrupted"
    solution, check = _conclude(trials, is_largest=search.is_largest)
    return replace(solution, solver=method.spec.name, compile_time=compile_time), check


def _conclude(trials: Trials, *, is_largest: bool) -> tuple[Solution, Verification]:
    """Report the largest verified set, or what came nearest."""
    task, best, run = trials.task, trials.best, trials.run
    shown = best or min(trials.done, key=_largest_change, default=None)
    if shown is None:
        # Stopped before the first refit: what is known is the head itself.
        shown = trials.examine(task.problem.must_prune, 0.0)
    stats = _stats(trials, shown)
    status: Status = "unknown"
    mask = np.zeros(task.problem.n, dtype=np.bool_)
    if best is None:
        stats["smallest_epsilon"] = _largest_change(shown)
        message = _why_nothing(trials, shown)
    else:
        status = "optimal" if is_largest else "feasible"
        mask = best.mask.copy()
        message = _claim(best.check)
    check = shown.check
    if task.test is not None or task.validation is not None:
        # The validation examples took part in the choice; only the test examples say more.
        check = trials.measure(shown.mask, task.test)
    if best is None and check.is_verified:
        check = replace(check, is_verified=False)
    solution = Solution(
        mask=mask,
        norm=task.problem.norm(mask),
        status=status,
        limit=run.limit if status != "optimal" else None,
        epsilon=task.criteria.epsilon,
        normalization="kept",
        seed=int(run.limits.seed),
        num_iterations=run.num_iterations,
        solve_time=run.elapsed,
        message=message,
        stats=stats,
        trace=tuple(run.trace),
    )
    return solution, check


def _stats(trials: Trials, shown: Trial) -> dict[str, Any]:
    """Every size that was tried, and what the subset shown does on the validation examples."""
    stats: dict[str, Any] = trials.problem.rows.choices()
    stats["curve"] = [trial.record() for trial in trials.done]
    if trials.journal.num_known:
        stats["num_resumed"] = trials.journal.num_known
    if trials.task.validation is not None:
        check = shown.check
        stats["validation"] = {
            "loss_gap": check.loss_gap,
            "accuracy_drop": check.accuracy_drop,
            "accuracy": check.accuracy,
            "full_accuracy": check.full_accuracy,
        }
    return stats


def _largest_change(trial: Trial) -> float:
    return trial.check.largest_change


def _claim(check: Verification) -> str:
    words = f"verified by exact refit: the head moves by at most {check.largest_change:.6g}"
    return words if check.epsilon is None else f"{words} <= epsilon = {check.epsilon:.6g}"


def _why_nothing(trials: Trials, nearest: Trial) -> str:
    """Say why no set was verified, and which epsilon would have admitted one."""
    if not nearest.size:
        return "stopped before any subset could be refitted; give more time"
    holding = " that holds must_prune" if trials.problem.must_prune.any() else ""
    floor = trials.task.criteria.min_curvature
    curvature = max(trial.check.curvature for trial in trials.done)
    smallest = (
        f"the smallest epsilon for which one of those tried can be is "
        f"{_largest_change(nearest):.6g} ({nearest.size} pruned)"
    )
    if trials.run.limit is not None:
        return f"stopped before a subset was verified; {smallest}"
    if floor is not None and curvature < floor:
        return (
            f"no non-empty subset{holding} keeps min_curvature = {floor:g} of the curvature; the "
            f"most that one of those tried keeps is {curvature:.6g}"
        )
    return f"no non-empty subset{holding} could be verified; {smallest}"

"""From a question to its answer: the search, then the largest verified set with its claim."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from subsetsel.engine.method import Method
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.engine.solve import require_support
from subsetsel.errors import ProblemError
from subsetsel.guarantee.checkpoint import open_journal
from subsetsel.guarantee.held_out import scores_on
from subsetsel.guarantee.search import VerifiedSearch
from subsetsel.guarantee.task import NO_LIMIT, Task
from subsetsel.guarantee.trial import Trial
from subsetsel.guarantee.trials import Trials
from subsetsel.guarantee.verification import Verification, count_by_class
from subsetsel.problem.progress import Limit, Status
from subsetsel.problem.searched_rows import Move
from subsetsel.problem.solution import Solution
from subsetsel.support.clock import Clock, TimeIsUp

_NOT_SET_UP = (
    "{} before the head was trained and its influence S computed, so nothing was tried; give more "
    "time, or fewer features or classes"
)


def load_head() -> None:
    """Import what trains a head, torch above all, before any clock is started."""
    for name in ("subsetsel.influence.head.fit", "scipy.optimize", "scipy.sparse.linalg"):
        importlib.import_module(name)


def answer(
    task: Task,
    method: Method,
    limits: Limits,
    checkpoint: str | PathLike[str] | None,
    clock: Clock,
) -> tuple[Solution, Verification]:
    """Search for the largest set that a refit verifies, within a clock that runs already."""
    unlimited = task.problem.replace(epsilon=NO_LIMIT)
    require_support(unlimited, method.spec)
    before = time.perf_counter()
    engines = method.engines(task.problem.replace(size=0))
    compile_time = time.perf_counter() - before
    run = Run(unlimited, limits)
    # Training the head is part of the time that was given; compiling is not.
    run.start_time = clock.start_time + compile_time
    journal = open_journal(checkpoint, task, limits, method.spec.name, method.options)
    trials = Trials(task, run, engines, journal)
    search = VerifiedSearch(trials)
    try:
        if not search.find(task.earlier):
            raise ProblemError(
                "the constraints leave no non-empty subset to prune; loosen must_keep, "
                "group_limits, max_size or constraints."
            )
    except KeyboardInterrupt:
        run.limit = "interrupted"
    except TimeIsUp:
        run.limit = "time"
    if run.limit is None and trials.is_cut_short:
        run.limit = "time"
    solution, check = _conclude(trials, is_largest=search.is_largest)
    return replace(solution, solver=method.spec.name, compile_time=compile_time), check


def _conclude(trials: Trials, *, is_largest: bool) -> tuple[Solution, Verification]:
    """Report the largest verified set, or what came nearest."""
    task, best, run = trials.task, trials.best, trials.run
    head = task.problem.head
    assert head is not None
    nearest = _nearest(trials)
    shown = best or nearest or _nothing_tried(task)
    # The validation examples took part in the choice; only the test examples say more.
    check = replace(shown.check, **scores_on(head, shown.theta, task.test))
    if trials.done:
        check = replace(check, predicted_searched=shown.move.searched, searched_metric=task.metric)
    stats = _stats(trials, shown)
    status: Status = "unknown"
    mask = np.zeros(task.problem.n, dtype=np.bool_)
    if best is None:
        broken = {} if nearest is None else task.criteria.broken(nearest.check)
        message = _why_nothing(trials, shown, broken)
        if [*broken] == ["epsilon"]:
            stats["smallest_epsilon"] = shown.check.largest_change
        check = replace(check, is_verified=False, broken="; ".join(broken.values()) or None)
    else:
        status = "optimal" if is_largest else "feasible"
        mask = best.mask.copy()
        message = _claim(best.check)
    stats |= task.problem.about(mask)
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


def _nothing_tried(task: Task) -> Trial:
    """Describe the empty set, of which all is known without a refit."""
    n, head = task.problem.n, task.problem.head
    assert head is not None
    sizes = count_by_class(head.labels, head.classes)
    scores = scores_on(head, head.theta, task.validation)
    check = _check_of_nothing(n, sizes, task.criteria.epsilon, **scores)
    return Trial(
        np.zeros(n, dtype=np.bool_), check, head.theta, 0.0, is_met=False, move=Move(0.0, 0.0, 0.0)
    )


def _check_of_nothing(
    n: int, class_sizes: dict[str, int], epsilon: float | None = None, **scores: Any
) -> Verification:
    """Say what is known of the empty set without any refit: nothing moves."""
    return Verification(
        n=n,
        num_pruned=0,
        change=0.0,
        change_error=0.0,
        predicted_full=0.0,
        predicted_kept=0.0,
        predicted_newton=0.0,
        objective_gap=0.0,
        curvature=1.0,
        epsilon=epsilon,
        is_verified=False,
        class_sizes=class_sizes,
        class_pruned=dict.fromkeys(class_sizes, 0),
        **scores,
    )


def nothing_set_up(
    labels: Any, seed: int, solver: str, *, limit: Limit, clock: Clock, epsilon: float | None
) -> tuple[Solution, Verification]:
    """Answer where the head or S was not ready when time was up, or at Ctrl-C.

    ``labels`` are those of the user; ``epsilon`` is absolute, and None where it is not known.
    """
    from subsetsel.influence.head.labels import encode_labels

    codes, classes = encode_labels(labels)
    n = len(codes)
    solution = Solution(
        mask=np.zeros(n, dtype=np.bool_),
        norm=0.0,
        status="unknown",
        limit=limit,
        epsilon=epsilon,
        normalization="kept",
        solver=solver,
        seed=seed,
        solve_time=clock.elapsed,
        message=_NOT_SET_UP.format("time was up" if limit == "time" else "interrupted"),
        stats={"curve": []},
    )
    return solution, _check_of_nothing(n, count_by_class(codes, classes), epsilon)


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


def _nearest(trials: Trials) -> Trial | None:
    """Find what a larger epsilon alone would have admitted, else what breaks a limit by least."""
    criteria = trials.task.criteria
    by_epsilon = [trial for trial in trials.done if [*criteria.broken(trial.check)] == ["epsilon"]]
    if by_epsilon:
        return min(by_epsilon, key=lambda trial: trial.check.largest_change)
    floor = criteria.min_curvature or 0.0
    return min(
        trials.done,
        key=lambda trial: max(trial.usage, floor / max(trial.check.curvature, 1e-300)),
        default=None,
    )


def _claim(check: Verification) -> str:
    words = f"verified by exact refit: the head moves by at most {check.largest_change:.6g}"
    return words if check.epsilon is None else f"{words} <= epsilon = {check.epsilon:.6g}"


def _why_nothing(trials: Trials, nearest: Trial, broken: Mapping[str, str]) -> str:
    """Say why no set was verified, and which epsilon would have admitted one, if any would."""
    if not trials.done and trials.run.limit is None:
        return "the solver found no subset of any size it was asked for; choose another solver"
    if not trials.done:
        return "stopped before any subset could be refitted; give more time"
    holding = " that holds must_prune" if trials.problem.must_prune.any() else ""
    floor = trials.task.criteria.min_curvature
    curvature = max(trial.check.curvature for trial in trials.done)
    if [*broken] == ["epsilon"]:
        closest = (
            f"the smallest epsilon for which one of those tried can be is "
            f"{nearest.check.largest_change:.6g} ({nearest.size} pruned)"
        )
    else:
        closest = f"nearest came one with {nearest.size} pruned: {'; '.join(broken.values())}"
    if trials.run.limit is not None:
        return f"stopped before a subset was verified; {closest}"
    if floor is not None and curvature < floor:
        return (
            f"no non-empty subset{holding} keeps min_curvature = {floor:g} of the curvature; the "
            f"most that one of those tried keeps is {curvature:.6g}"
        )
    return f"no non-empty subset{holding} could be verified; {closest}"

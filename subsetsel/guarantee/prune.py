"""`prune`: the largest subset found for which the refitted head provably stays within epsilon."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.engine.options import Callback, Limits
from subsetsel.engine.other_form import pick_engine
from subsetsel.engine.registry import get_spec
from subsetsel.engine.run import Run
from subsetsel.engine.solve import require_support
from subsetsel.errors import ProblemError
from subsetsel.guarantee.checkpoint import Journal, fingerprint_of
from subsetsel.guarantee.limits import Criteria, accuracy_drop
from subsetsel.guarantee.question import as_guess, check_splits, pose
from subsetsel.guarantee.search import NO_LIMIT, VerifiedSearch
from subsetsel.guarantee.seeds import keep_seeds
from subsetsel.guarantee.trial import Prober, Step
from subsetsel.guarantee.verification import Verification, verify
from subsetsel.problem.problem import Problem
from subsetsel.problem.progress import Status
from subsetsel.problem.solution import Solution

_DATA_OPTIONS = ("num_classes", "device", "dtype", "storage")


def prune(
    X: Any,
    y: Any = None,
    *,
    l2: float | None = None,
    epsilon: float | None = None,
    rel_epsilon: float | None = None,
    max_loss_gap: float | None = None,
    max_accuracy_drop: float | None = None,
    validation: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    min_curvature: float | None = None,
    max_size: int | None = None,
    groups: ArrayLike | None = None,
    group_limits: Mapping[Any, tuple[int | None, int | None]] | None = None,
    must_prune: ArrayLike | None = None,
    must_keep: ArrayLike | None = None,
    constraints: Sequence[Any] | None = None,
    solver: str = "anneal",
    time_limit: float | None = None,
    max_iterations: int | None = None,
    target: int | None = None,
    seed: int = 0,
    initial_guess: Any = None,
    callback: Callback | None = None,
    num_workers: int = 1,
    progress: Callback | None = None,
    trace: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    **options: Any,
) -> tuple[Solution, Verification]:
    """Prune as many examples as an exact refit of the head allows: Definition 1 of the paper.

    At each size tried the solver minimizes the joint influence (Eq. 4, ridge included), and the
    head is refitted on what is kept. The set returned is the largest of those whose refit
    satisfied ``change + change_error <= epsilon`` and every other limit; a larger one may exist.
    What is promised is the head on these features, not a network retrained on the subset.

    Parameters
    ----------
    X : array_like of shape (n, h), or Problem
        Features; or a problem from `Problem.from_features`, `from_head` or `from_model`, whose own
        ``epsilon`` holds unless another is given.
    y : array_like of shape (n,)
        Labels, integers or strings; not beside a `Problem`.
    l2 : float
        Weight decay of mean_i loss_i + (l2 / 2) ||theta||^2, bias included.
    epsilon, rel_epsilon : float, optional
        Largest change of the parameters, absolute or as a fraction of ||theta||_2.
    max_loss_gap, max_accuracy_drop : float, optional
        Largest rise of the mean loss, and largest fall of the accuracy (a share), on
        ``validation``. With these alone the change is measured but not limited.
    validation : (X, y), optional
        Examples that take part in the choice; say nothing about new data with them.
    test : (X, y), optional
        Examples that take no part in the choice, for the accuracy and loss in the result.
    min_curvature : float, optional
        Keep at least this share of the curvature of the objective in every direction.
    max_size, groups, group_limits, must_prune, must_keep, constraints : optional
        As in `Problem`; not beside one, except ``must_prune``, ``must_keep`` and ``max_size``.
    solver : str
        A name of `available_solvers`.
    time_limit : float, optional
        Seconds, training of the head included. Without it the result is the same for the same
        seed, number of workers and machine.
    max_iterations : int, optional
        In the solver's own unit, over all sizes tried.
    target : int, optional
        Stop at this size.
    seed : int
    initial_guess : Solution or Boolean mask, optional
        An earlier answer. Where it still holds it is verified again and little more is done; else
        the search goes on from it. One for fewer examples is taken for the first of them, and as
        large a share is sought of all.
    callback, progress : callable, optional
        Called with a `Progress`, which tells the largest verified subset; ``callback`` stops the
        search by returning True.
    num_workers : int
        Threads.
    trace : bool
        Keep every larger verified subset in ``Solution.trace``.
    checkpoint : path, optional
        An ``.npz`` file that keeps what the solver chose for every size tried. A run that was
        killed does not choose again: it refits what is there and goes on, to the same result.
        Of other data or settings it is refused. It stays; delete it once the result is saved.
    **options
        ``num_classes``, ``device``, ``dtype`` and ``storage`` of `Problem.from_features`, and the
        solver's own options.

    Returns
    -------
    Solution
        ``stats["curve"]`` lists every size tried with its predicted and measured change. Status
        "optimal" if the other constraints allow nothing larger; "unknown" if nothing could be
        verified: then nothing is pruned and ``stats["smallest_epsilon"]`` tells the smallest
        change bound that a set tried has.
    Verification
        Of the subset returned; where nothing could be verified, of the one that came nearest, with
        ``is_verified`` False.

    Raises
    ------
    ProblemError
        For bad data, bad limits, or constraints that leave no non-empty subset.
    OptionError
        For a bad option, or a demand the solver does not honour.

    References
    ----------
    Yang et al., Dataset Pruning, ICLR 2023, arXiv:2205.09329, Definition 1.

    Examples
    --------
    >>> import numpy as np, subsetsel
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> solution, check = subsetsel.prune(X, X[:, 0] > 0, l2=0.1, rel_epsilon=0.05)
    >>> check.change + check.change_error <= check.epsilon
    True
    """
    started = time.perf_counter()
    own = {
        "max_size": max_size,
        "groups": groups,
        "group_limits": group_limits,
        "must_prune": must_prune,
        "must_keep": must_keep,
        "constraints": constraints,
    }
    question = {name: value for name, value in own.items() if value is not None}
    question |= {name: options.pop(name) for name in _DATA_OPTIONS if name in options}
    criteria = Criteria(
        max_loss_gap=max_loss_gap,
        max_accuracy_drop=max_accuracy_drop,
        min_curvature=min_curvature,
    )
    limits = Limits(
        time_limit=time_limit,
        max_iterations=max_iterations,
        target=target,
        seed=seed,
        callback=callback,
        num_workers=num_workers,
        progress=progress,
        bound=False,
        trace=trace,
    )
    spec = get_spec(solver)
    loaded = spec.load()
    settings = spec.options(loaded, options)
    problem, criteria = pose(X, y, l2, epsilon, rel_epsilon, criteria, question)
    check_splits(problem, criteria, validation, test)
    problem = keep_seeds(problem)
    arena = problem.replace(epsilon=NO_LIMIT)
    require_support(arena, spec)
    guess, num_known = as_guess(initial_guess, problem.n)
    before = time.perf_counter()
    loaded.warm_up(problem.replace(size=0), settings)
    compile_time = time.perf_counter() - before

    run = Run(arena, limits)
    # Training the head is part of the time that was given.
    run.start_time = started + compile_time
    engine = pick_engine(problem.replace(size=0), spec, loaded, settings)
    asked = {"solver": solver, "settings": settings, "guess": guess, "num_known": num_known}
    journal = _open_journal(checkpoint, problem, criteria, limits, validation, asked)
    prober = Prober(problem, criteria, run, engine, validation, journal)
    search = VerifiedSearch(prober)
    try:
        if not search.find(guess, num_known):
            raise ProblemError(
                "the constraints leave no non-empty subset to prune; loosen must_keep, "
                "group_limits, max_size or constraints."
            )
    except KeyboardInterrupt:
        run.limit = "interrupted"
    return _conclude(
        prober, is_largest=search.is_largest, solver=solver, compile_time=compile_time, test=test
    )


def _conclude(
    prober: Prober,
    *,
    is_largest: bool,
    solver: str,
    compile_time: float,
    test: tuple[Any, Any] | None,
) -> tuple[Solution, Verification]:
    """Report the largest verified set, or what came nearest."""
    problem, best, run = prober.problem, prober.best, prober.run
    shown = best or min(prober.steps, key=_reach, default=None)
    if shown is None:
        # Stopped before the first refit: say what is known, which is the head itself.
        shown = prober.examine(problem.must_prune, 0.0)
    stats: dict[str, Any] = {"curve": [step.record() for step in prober.steps]}
    if prober.journal.num_known:
        stats["num_resumed"] = prober.journal.num_known
    if prober.validation is not None:
        stats["validation"] = {
            "loss_gap": shown.check.loss_gap,
            "accuracy_drop": accuracy_drop(shown.check),
            "accuracy": shown.check.accuracy,
            "full_accuracy": shown.check.full_accuracy,
        }
    status: Status = "feasible"
    if best is None:
        stats["smallest_epsilon"] = _reach(shown)
        status, message = "unknown", _nothing_verified(prober, shown)
        mask = np.zeros(problem.n, dtype=np.bool_)
    else:
        mask = best.mask
        message = _claim(best.check)
        if is_largest:
            status = "optimal"
    check = _on_test(prober, shown, test)
    if best is None and check.is_verified:
        check = replace(check, is_verified=False)
    solution = Solution(
        mask=mask.copy(),
        norm=problem.norm(mask),
        status=status,
        limit=run.limit if status != "optimal" else None,
        epsilon=prober.criteria.epsilon,
        normalization="kept",
        solver=solver,
        seed=int(run.limits.seed),
        num_iterations=run.num_iterations,
        solve_time=run.elapsed,
        compile_time=compile_time,
        message=message,
        stats=stats,
        trace=tuple(run.trace),
    )
    return solution, check


def _open_journal(
    checkpoint: str | PathLike[str] | None,
    problem: Problem,
    criteria: Criteria,
    limits: Limits,
    validation: tuple[Any, Any] | None,
    asked: dict[str, Any],
) -> Journal:
    """Name all that a choice depends on, and look for what was chosen; a clock is not among it."""
    if checkpoint is None:
        return Journal(None, "", problem.n)
    head, epsilon = problem.head, criteria.epsilon
    assert head is not None
    on = head.objective_function
    X, y = (None, None) if validation is None else (np.asarray(part) for part in validation)
    data = {"X": on.X, "scale": on.scale, "weights": on.weights}
    fingerprint = fingerprint_of({
        **asked,
        **{name: None if t is None else t.cpu().numpy() for name, t in data.items()},
        **{f"constraint {i}": array for i, array in enumerate(problem.constraints.arrays)},
        # One that is a share of ||theta|| is known to rounding only.
        "epsilon": None if epsilon is None else f"{epsilon:.9g}",
        "criteria": replace(criteria, epsilon=None),
        "labels": head.labels,
        "setting": on.setting,
        # Which rows a head was given: ridge and precision, whatever they were solved on.
        "rows": (problem.rows.dtype.str, f"{problem.rows.squared_norms.sum():.6g}"),
        "version": version("subsetsel"),
        "must_prune": problem.must_prune,
        "must_keep": problem.must_keep,
        "max_size": problem.max_size,
        "seed": limits.seed,
        "num_workers": limits.num_workers,
        "max_iterations": limits.max_iterations,
        "validation X": X,
        "validation y": y,
    })
    return Journal(Path(checkpoint), fingerprint, problem.n)


def _reach(step: Step) -> float:
    return step.check.change + step.check.change_error


def _claim(check: Verification) -> str:
    reach = check.change + check.change_error
    words = f"verified by exact refit: the head moves by at most {reach:.6g}"
    return words if check.epsilon is None else f"{words} <= epsilon = {check.epsilon:.6g}"


def _nothing_verified(prober: Prober, nearest: Step) -> str:
    if not prober.steps:
        return "stopped before any subset could be refitted; give more time"
    holding = " that holds must_prune" if prober.problem.must_prune.any() else ""
    if prober.run.limit is not None:
        return (
            "stopped before a subset was verified; the smallest epsilon for which one of those "
            f"tried can be is {_reach(nearest):.6g} ({nearest.size} pruned)"
        )
    floor = prober.criteria.min_curvature
    if floor is not None and all(step.check.curvature < floor for step in prober.steps):
        best = max(step.check.curvature for step in prober.steps)
        return (
            f"no non-empty subset{holding} keeps min_curvature = {floor:g} of the curvature; the "
            f"most that one of those tried keeps is {best:.6g}"
        )
    return (
        f"no non-empty subset{holding} could be verified; the smallest epsilon for which one of "
        f"those tried can be is {_reach(nearest):.6g} ({nearest.size} pruned)"
    )


def _on_test(prober: Prober, shown: Step, test: tuple[Any, Any] | None) -> Verification:
    """Report the test split apart from the validation split that took part in the choice."""
    if test is None and prober.validation is None:
        return shown.check
    return verify(prober.question(shown.mask), shown.mask, test=test)

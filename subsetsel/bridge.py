"""The form a solver does not know, through the form it knows.

A solver that minimizes the norm at a given size also maximizes the size: bisection over m, each
probe started from the last and stopped as soon as it is below what is allowed there. A solver that
maximizes the size also minimizes the norm: bisection over epsilon with the size as the cap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from subsetsel.candidate import Candidate
from subsetsel.polytope import find_mask
from subsetsel.problem import Problem
from subsetsel.run import Run

Engine = Callable[[Problem, Run], Candidate]

# Share of a solver's own work budget spent on a probe while the answer is still being located.
_COARSE_EFFORT = 0.1
_NUM_EPSILON_PROBES = 30


def pick_engine(problem: Problem, spec: Any, solver: Any, options: Any) -> Engine:
    """Find the way a solver takes a problem: directly, or through the other form.

    Returns
    -------
    callable
        ``engine(problem, run)``.
    """

    def direct(sub: Problem, run: Run) -> Candidate:
        candidate: Candidate = solver.solve(sub, options, run)
        return candidate

    if problem.form == "min_norm":
        if "min_norm" in spec.forms:
            return direct
        return lambda p, run: minimize_norm(direct, p, run)
    if "max_size" in spec.forms and problem.normalization in spec.normalizations:
        return direct
    return lambda p, run: maximize_size(direct, p, run)


def maximize_size(engine: Engine, problem: Problem, run: Run) -> Candidate:
    """Largest m whose smallest norm is within ``problem.radius(m)``, by bisection.

    The smallest norm need not grow with m, so this is a heuristic: the sizes it probes are where
    feasibility is lost, and nothing is proved.

    Parameters
    ----------
    engine : callable
        Solves the form "min_norm".
    problem : Problem
        Of the form "max_size".
    run : Run

    Returns
    -------
    Candidate
    """
    start = _smallest(problem, run)
    if start is None:
        return Candidate(limit=run.limit)
    feasible, num_probes = start, 0
    infeasible = problem.max_size + 1
    candidate = run.initial_mask()
    if candidate is not None and run.submit(candidate):
        feasible = max(feasible, run.size)

    def probe(m: int, effort: float) -> bool:
        nonlocal num_probes
        num_probes += 1
        sub = problem.replace(size=m)
        limits = replace(
            run.limits,
            time_limit=None,
            max_iterations=run.iterations_left,
            target=problem.radius(m),
            initial_guess=None if run.mask is None else find_mask(sub, wanted=run.mask),
            callback=None,
            progress=None,
            trace=False,
        )
        inner = Run(sub, limits, parent=run, effort=effort)
        engine(sub, inner)
        run.add_iterations(inner.num_iterations)
        return inner.mask is not None and run.submit(inner.mask)

    # Halve what is kept until that fails, then bisect; the last steps get the whole budget.
    while feasible + 1 < infeasible and not run.should_stop():
        num_kept = problem.n - feasible
        if infeasible > problem.max_size:
            m = min(problem.n - num_kept // 2, problem.max_size)
            m = max(m, feasible + 1)
        else:
            geometric = math.sqrt((problem.n - feasible) * max(1, problem.n - infeasible))
            m = min(max(problem.n - round(geometric), feasible + 1), infeasible - 1)
        is_close = infeasible - feasible <= max(4, (problem.n - feasible) // 20)
        if probe(m, run.effort * (1.0 if is_close else _COARSE_EFFORT)):
            feasible = run.size
        else:
            infeasible = m
    return Candidate(limit=run.limit, stats={"num_probes": num_probes})


def _smallest(problem: Problem, run: Run) -> int | None:
    """Start from the fewest that may be pruned; None where nothing feasible is known from it."""
    mask = find_mask(problem)
    if mask is None:
        return None
    run.submit(mask)
    return int(mask.sum())


def minimize_norm(engine: Engine, problem: Problem, run: Run) -> Candidate:
    """Smallest epsilon at which the largest size reaches m, by bisection.

    Parameters
    ----------
    engine : callable
        Solves the form "max_size".
    problem : Problem
        Of the form "min_norm".
    run : Run

    Returns
    -------
    Candidate
    """
    size = problem.size
    assert size is not None
    mask = find_mask(problem, wanted=run.initial_mask(), seed=int(run.limits.seed))
    if mask is None:
        return Candidate(is_infeasible=True)
    run.submit(mask)
    low, high = 0.0, run.norm
    for _ in range(_NUM_EPSILON_PROBES):
        if run.should_stop() or high - low <= 1e-6 * high:
            break
        epsilon = 0.5 * (low + high)
        sub = problem.replace(epsilon=epsilon, max_size=size, normalization="full")
        limits = replace(
            run.limits,
            time_limit=None,
            max_iterations=run.iterations_left,
            target=float(size),
            initial_guess=None,
            callback=None,
            progress=None,
            trace=False,
        )
        inner = Run(sub, limits, parent=run, effort=run.effort)
        engine(sub, inner)
        run.add_iterations(inner.num_iterations)
        if inner.mask is not None and inner.size == size:
            run.submit(inner.mask)
            high = min(epsilon, run.norm)
        else:
            low = epsilon
    return Candidate(limit=run.limit)

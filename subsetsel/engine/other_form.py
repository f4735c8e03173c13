"""How a solver that knows one form, Eq. 3 or Eq. 4, solves the other.

A solver that minimizes the norm at a given size also maximizes the size: bisection over m, each
probe started from the last and stopped as soon as it is below what is allowed there. A solver that
maximizes the size also minimizes the norm: bisection over epsilon with the size as the cap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from subsetsel.bounds.dual import BALANCED, drift_of
from subsetsel.engine.misses import Misses
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.rows.base import BoolArray, FloatArray, euclidean

Engine = Callable[[Problem, Run], Candidate]
# Tries a size with a share of the usual work, and says whether a larger subset was found.
Probe = Callable[[int, float], bool]

# Share of a solver's usual work that one probe gets while the bracket is still wide.
_COARSE_EFFORT = 0.1
_NUM_EPSILON_PROBES = 30
# Relaxations until the size fits its radius, and the share of the time that each may take. They
# end where the next would change the radius by less than _FITTING of it.
_MOST_RELAXATIONS, _RELAXATION_SHARE, _FITTING = 6, 0.1, 1e-3
# Sizes tried between others until one is feasible.
_MOST_SEARCHED = 40
# Relative rounding error of the few operations that make a bound of a dual solution.
_ROUNDING = 1e-14
# Of the weight; what weighs less makes no difference to an ellipse that is only searched.
_LEAST_SHARE = 1e-12
# While there is time, sizes are bisected again with so many times the work, so often at most.
_MORE_EFFORT, _MOST_ROUNDS = 4.0, 6


def pick_engine(problem: Problem, spec: Any, solver: Any, options: Any) -> Engine:
    """Choose how a solver takes a problem: directly, or through the other form.

    Returns
    -------
    callable
        ``engine(problem, run)``.
    """

    def direct(sub: Problem, run: Run) -> Candidate:
        candidate: Candidate = solver.solve(sub, options, run)
        return candidate

    def indirect(sub: Problem, run: Run) -> Candidate:
        return minimize_norm(direct, sub, run)

    by_norm = direct if "min_norm" in spec.forms else indirect

    if problem.form == "min_norm":
        return by_norm
    # Solvers know the radius of a size; with sample weights it depends on the set.
    is_known = problem.shares is None and problem.normalization in spec.normalizations
    if "max_size" in spec.forms and is_known:
        return direct
    return lambda sub, run: maximize_size(by_norm, sub, run)


def maximize_size(engine: Engine, problem: Problem, run: Run) -> Candidate:
    """Largest m whose smallest norm is within ``problem.radius(m)``, by bisection.

    The smallest norm need not grow with m, so this is a heuristic: the sizes it probes are where
    feasibility is lost. What cannot be reached is proved by the relaxation alone.

    Parameters
    ----------
    engine : callable
        Solves the form "min_norm".
    problem : Problem
        Of the form "max_size".
    """
    start = find_mask(problem, clock=run.clock)
    if start is None:
        return Candidate(is_infeasible=True)
    run.submit(start)
    least, misses, weighed = int(start.sum()), Misses(), _Weighed(problem)
    most = least_bound(problem, run)

    def probe(m: int, effort: float, *, nears: bool) -> bool:
        sub, target = weighed.at_size(m)
        guess = None
        if run.mask is not None and nears:
            guess = find_mask(sub, wanted=run.mask, clock=run.clock)
        size = run.size if run.mask is not None else -1
        inner = _search_within(run, engine, sub, effort, target=target, initial_guess=guess)
        weighed.learn(inner.mask)
        misses.learn(m, inner.norm, target)
        return run.mask is not None and run.size > size

    # A probe starts anew, or near the best subset so far. Neither is always better; where rows
    # cannot be read one by one only the second is possible.
    ways = (False, True) if problem.rows.proxy is problem.rows else (True,)
    effort = run.effort
    for _ in range(_MOST_ROUNDS if run.fills_time else 1):
        for nears in ways:
            found = partial(probe, nears=nears)
            if run.mask is None and not run.proof.excludes_all():
                _find_feasible(run, (least, most), found, misses, effort)
            _bisect(problem, run, most, found, effort)
            if run.size >= most or run.should_stop():
                return Candidate(limit=run.limit, stats={"num_probes": misses.num_probes})
        effort *= _MORE_EFFORT
    return Candidate(limit=run.limit, stats={"num_probes": misses.num_probes})


class _Weighed:
    """Eq. 4 at a size where examples weigh differently: the norm, and the weight that is pruned.

    A set of norm r and pruned share v is allowed where r + epsilon v <= epsilon. For any v0 an
    ellipse lies within that half plane and touches its edge at v0:

        r^2 + epsilon^2 (1 - v0) / v0 * v^2  <=  epsilon^2 (1 - v0).

    The left side is the squared norm of rows with one more column, so that any solver of Eq. 4
    searches it; v0 is the share that is foreseen.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size".
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        dense = problem.rows.dense()
        # Where S is not written out no column is added; what weighs too much is then not taken.
        self._rows: FloatArray | None = None
        if problem.shares is not None and dense is not None:
            self._rows = np.column_stack([dense, np.zeros(problem.n, dtype=dense.dtype)])
        self._offset = None if problem.offset is None else np.append(problem.offset, 0.0)
        # What must be pruned weighs what it weighs; of the rest the average is learned.
        self._forced = int(np.count_nonzero(problem.must_prune))
        self._forced_share = 1.0 - problem.kept_share(problem.must_prune)
        self._per_example = (1.0 - self._forced_share) / max(1, problem.n - self._forced)
        self._radius = problem.radius(0)
        if problem.shares is not None:
            self._least_share = max(float(problem.shares.min()), _LEAST_SHARE)
            # A larger one binds no subset, and its column would be larger than S may be.
            longest = float(np.sqrt(problem.rows.squared_norms).sum())
            longest += 0.0 if problem.offset is None else float(np.linalg.norm(problem.offset))
            self._radius = min(self._radius, longest / self._least_share)

    def at_size(self, m: int) -> tuple[Problem, float]:
        """Ask for m examples, and say below which norm all is well."""
        sub, shares = self._problem.replace(size=m), self._problem.shares
        epsilon = self._radius
        if shares is None or self._rows is None or not m:
            return sub, self._problem.radius(m)
        share = self._forced_share + (m - self._forced) * self._per_example
        share = min(max(share, self._least_share), 1.0 - self._least_share)
        self._rows[:, -1] = epsilon * math.sqrt((1.0 - share) / share) * shares
        return sub.with_rows(self._rows, self._offset), epsilon * math.sqrt(1.0 - share)

    def learn(self, mask: BoolArray | None) -> None:
        """Take from a set of pruned examples what those of a like size will weigh."""
        chosen = 0 if mask is None else int(np.count_nonzero(mask)) - self._forced
        if mask is not None and chosen:
            pruned = 1.0 - self._problem.kept_share(mask)
            self._per_example = (pruned - self._forced_share) / chosen


def _bisect(problem: Problem, run: Run, most: int, probe: Probe, effort: float) -> None:
    """Bisect the number of kept examples. The last probes get the whole effort.

    ``most`` is how many may be pruned by the proven bound.
    """
    feasible, infeasible = _first_bracket(problem, run, most, probe, effort)
    while feasible + 1 < infeasible and not run.should_stop():
        num_kept = problem.n - feasible
        if infeasible > problem.max_size:
            m = max(min(problem.n - num_kept // 2, problem.max_size), feasible + 1)
        else:
            middle = math.sqrt(num_kept * max(1, problem.n - infeasible))
            m = min(max(problem.n - round(middle), feasible + 1), infeasible - 1)
        is_close = infeasible - feasible <= max(4, num_kept // 20)
        if probe(m, effort * (1.0 if is_close else _COARSE_EFFORT)):
            feasible = run.size
        else:
            infeasible = m


def least_bound(problem: Problem, run: Run) -> int:
    """Prove that no more than so many can be pruned.

    A dual solution of the relaxation proves m <= radius ||u|| + h for every radius. With
    normalization "kept" the radius shrinks as m grows, and the largest m that satisfies this is
    the bound. The next relaxation has the radius of that m: Newton's method, in sizes. With sample
    weights the radius is that of the lightest m examples, which no others exceed.
    """
    if run.bound is not None:
        return int(run.bound)
    if problem.rows.proxy is not problem.rows or drift_of(problem) <= BALANCED:
        return problem.max_size
    from subsetsel.bounds.graded import graded_relaxation
    from subsetsel.bounds.relaxation import COARSE, Ascent

    most = problem.max_size
    for _ in range(_MOST_RELAXATIONS):
        radius = problem.radius(most)
        sub = problem.replace(epsilon=radius, max_size=most, normalization="full")
        seconds = _RELAXATION_SHARE * run.remaining
        if problem.rows.shards is None:
            relaxation = Ascent(sub).run(COARSE, seconds)
        else:
            relaxation = graded_relaxation(sub, COARSE, time_limit=seconds)
        if not relaxation.bound < most:
            break
        # The core calls feasible what is above the limit by rounding; the bound covers it.
        length = (1 + FEASIBILITY) * euclidean(relaxation.dual.u)
        constant = relaxation.bound - radius * length
        before, most = most, _largest_size(problem, length, constant, most)
        if before - most <= _FITTING * (problem.n - most) or run.should_stop():
            break
    run.proof.tighten(float(most))
    return most


def _largest_size(problem: Problem, length: float, constant: float, most: int) -> int:
    """Largest m up to ``most`` with m <= radius(m) * length + constant, by bisection.

    What the right side adds and takes away is rounded, and so is a bound of rows hundreds of
    decades apart: where that is no number nothing is proved.
    """

    def is_reached(m: int) -> bool:
        reach = problem.radius(m) * length
        value = reach + constant + _ROUNDING * (abs(reach) + abs(constant) + m)
        return not value < m

    if is_reached(most):
        return most
    low, high = 0, most
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if is_reached(middle) else (low, middle)
    return low


def _search_within(run: Run, engine: Engine, sub: Problem, effort: float, **changes: Any) -> Run:
    """Let a search of its own answer ``sub``, and offer ``run`` what it found, however it ended."""
    limits = replace(
        run.limits,
        time_limit=None,
        max_iterations=run.iterations_left,
        callback=None,
        progress=None,
        trace=False,
        **changes,
    )
    inner = Run(sub, limits, parent=run, effort=effort)
    try:
        engine(sub, inner)
    finally:
        run.add_iterations(inner.num_iterations)
        if inner.mask is not None:
            run.submit(inner.mask)
    return inner


def _find_feasible(
    run: Run, limits: tuple[int, int], probe: Probe, misses: Misses, effort: float
) -> None:
    """Look for any size that is feasible, where the smallest is not: beside an offset, or limits.

    ``limits`` are the fewest that may be pruned, and the most by the proven bound. First twice as
    many each time, then between those that came closest.
    """
    least, most = limits
    for doubling in range(1 + (most - least + 1).bit_length()):
        if run.mask is not None or run.should_stop():
            return
        probe(min(least + 2**doubling - 1, most), effort)
    for _ in range(_MOST_SEARCHED):
        m = misses.next_size()
        if m is None or run.mask is not None or run.should_stop():
            return
        probe(m, effort)


def _first_bracket(
    problem: Problem, run: Run, most: int, probe: Probe, effort: float
) -> tuple[int, int]:
    """Give the largest feasible size that is known, and the smallest size known to fail."""
    if run.mask is None:
        return most, most + 1
    # Sizes near the bound may fail although it is reached.
    if (problem.is_capped or most < problem.max_size) and run.size < most:
        return (most, most + 1) if probe(most, effort) else (run.size, most)
    return run.size, most + 1


def minimize_norm(engine: Engine, problem: Problem, run: Run) -> Candidate:
    """Smallest epsilon at which the largest size reaches m, by bisection.

    Parameters
    ----------
    engine : callable
        Solves the form "max_size".
    problem : Problem
        Of the form "min_norm".
    """
    size = problem.size
    assert size is not None
    seed = int(run.limits.seed)
    mask = find_mask(problem, wanted=run.initial_mask(), seed=seed, clock=run.clock)
    if mask is None:
        return Candidate(is_infeasible=True)
    run.submit(mask)
    low, high = 0.0, run.norm
    for _ in range(_NUM_EPSILON_PROBES):
        if run.should_stop() or high - low <= 1e-6 * high:
            break
        epsilon = 0.5 * (low + high)
        sub = problem.replace(epsilon=epsilon, max_size=size, normalization="full")
        inner = _search_within(run, engine, sub, run.effort, target=float(size), initial_guess=None)
        if inner.mask is not None and inner.size == size:
            high = min(epsilon, run.norm)
        else:
            low = epsilon
    return Candidate(limit=run.limit)

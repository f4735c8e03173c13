"""Solver "greedy": best moves, one after the other, without chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np

from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.warm_up import Kind
from subsetsel.errors import OptionError
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Form, Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

from ._local_search import MAX_SHARED, LocalSearch


@dataclass(frozen=True)
class GreedyOptions:
    """Options of `GreedySolver`.

    Attributes
    ----------
    patience : int
        Exchanges past a local optimum without a smaller norm, the examples just moved held back
        (tabu search). 0 is plain best improvement.
    """

    patience: int = 200

    def __post_init__(self) -> None:
        is_whole = isinstance(self.patience, (int, np.integer)) and not isinstance(
            self.patience, bool
        )
        if not is_whole or self.patience < 0:
            raise OptionError(f"patience must be an integer >= 0, got {self.patience!r}.")


class GreedySolver:
    """Best-improvement search: insertion, removal and exchange, deterministic.

    Starts from nothing (or from the initial guess), prunes whatever leaves the smallest norm, and
    exchanges examples when nothing fits. ``max_iterations`` counts moves. The seed only breaks ties
    in the start where linear constraints need one.
    """

    Options: ClassVar[type[GreedyOptions]] = GreedyOptions

    def warm_up(self, problem: Problem, options: object = None) -> None:
        """Compile the kernels of the local search; other solvers that use it call this too."""
        _compile(Kind.of(problem))

    def solve(self, problem: Problem, options: GreedyOptions, run: Run) -> Candidate:
        """Search for a subset; see `subsetsel.engine.registry.Solver`.

        Returns
        -------
        Candidate
        """
        start = starting_mask(problem, run)
        if start is None:
            return Candidate(is_infeasible=True)
        run.submit(start)
        search = LocalSearch(problem, run, start)
        improve(search, patience=round(options.patience * run.effort))
        return Candidate(limit=run.limit, stats={"num_moves": run.num_iterations})


@cache
def _compile(kind: Kind) -> None:
    forms: tuple[Form, Form] = ("max_size", "min_norm")
    for form in forms:
        problem = replace(kind, form=form).problem()
        GreedySolver().solve(problem, GreedyOptions(), Run.quiet(problem))


def starting_mask(problem: Problem, run: Run) -> BoolArray | None:
    """Find a subset within everything linear to start from.

    Parameters
    ----------
    problem : Problem
    run : Run
        Its initial guess is followed as far as the linear limits allow.

    Returns
    -------
    ndarray of shape (n,), bool, or None
        None if no subset respects them.
    """
    guess = run.initial_mask()
    is_long = problem.n > MAX_SHARED
    if guess is not None or len(problem.constraints) or (is_long and problem.size is not None):
        return find_mask(problem, wanted=guess, seed=int(run.limits.seed))
    if problem.size is not None and 2 * problem.size > problem.n:
        return ~problem.must_keep
    start = problem.must_prune.copy()
    if problem.size is None and is_long:
        return _smallest_rows(problem, run, start)
    return start


def _smallest_rows(problem: Problem, run: Run, start: BoolArray) -> BoolArray:
    """Prune the shortest rows at once, as many as the norm allows."""
    # Sure while their norms add up to the radius (triangle inequality); from there on twice as many
    # are tried each time, down to a few per cent.
    lengths = np.sqrt(problem.rows.squared_norms)
    free = np.flatnonzero(problem.free)
    order = free[np.argsort(lengths[free], kind="stable")]
    size = int(start.sum())
    most = min(len(order), problem.max_size - size)
    total = problem.rows.sum(start)
    allowed = np.array([problem.radius(size + k) for k in range(1, most + 1)])
    sums = float(np.linalg.norm(total)) + np.cumsum(lengths[order[:most]])
    count = int(np.count_nonzero(sums <= allowed))
    total = total + _sum_of_rows(problem, order[:count])
    step = max(1, count)
    while step > count // 32 and count < most and run.remaining > 0:
        upto = min(count + step, most)
        beyond = total + _sum_of_rows(problem, order[count:upto])
        if np.linalg.norm(beyond) <= allowed[upto - 1]:
            count, total, step = upto, beyond, 2 * step
        else:
            step //= 2
    mask = start.copy()
    mask[order[:count]] = True
    return mask


def _sum_of_rows(problem: Problem, items: IndexArray) -> FloatArray:
    """Sum chosen rows in float64, a block at a time."""
    total = np.zeros(problem.d)
    for first in range(0, len(items), problem.rows.block_size):
        part = problem.rows.take(items[first : first + problem.rows.block_size])
        total += part.sum(axis=0, dtype=np.float64)
    return total


def search_around(problem: Problem, run: Run, start: BoolArray) -> None:
    """Give an exact search its first incumbent: from a start, and from the rounded relaxation.

    Parameters
    ----------
    problem : Problem
    run : Run
        Receives what is found.
    start : ndarray of shape (n,), bool
        Within everything linear.
    """
    search = LocalSearch(problem, run, start)
    patience = round(GreedyOptions.patience * run.effort)
    improve(search, patience=patience)
    relaxation = run.solve_relaxation()
    if relaxation is not None and not run.should_stop():
        wanted = relaxation.weights > 0.5
        rounded = find_mask(problem, wanted=wanted, seed=int(run.limits.seed))
        if rounded is not None:
            search.restart(rounded)
            improve(search, patience=patience)


def improve(search: LocalSearch, *, patience: int) -> None:
    """Bring a local search to its end.

    Parameters
    ----------
    search : LocalSearch
        What it finds is submitted to its run.
    patience : int
        See `GreedyOptions`.
    """
    problem = search.problem
    if problem.size is None:
        _enlarge(search, patience)
        return
    if len(problem.constraints) == 0:
        search.fill(problem.size)
        search.drain(problem.size)
    search.exchange(patience=patience)


def _enlarge(search: LocalSearch, patience: int) -> None:
    """Prune more and more: first what fits, then too many with exchanges to make up for it."""
    problem = search.problem
    if not search.repair():
        return
    step = 1
    while not search.is_over:
        search.fill(problem.max_size)
        kept = search.mask.copy()
        step = min(step, problem.max_size - search.size)
        if step == 0 or search.force(step) < step:
            return
        if search.exchange(problem.radius(search.size), patience):
            step *= 2
            continue
        search.restart(kept)
        if step == 1:
            return
        step = max(step // 4, 1)

"""Solver "greedy": best moves, one after the other, without chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

from subsetsel.engine.options import require_integer
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.warm_up import Kind
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Form, Problem
from subsetsel.rows.base import BoolArray, FloatArray

from ._first_subset import fixed_subset
from ._local_search import MAX_SHARED, LocalSearch


@dataclass(frozen=True)
class GreedyOptions:
    """Options of `GreedySolver`.

    Attributes
    ----------
    patience : int
        Exchanges past a local optimum without a smaller norm, during which the examples just moved
        stay where they are (tabu search). 0 is plain best improvement.
    """

    patience: int = 200

    def __post_init__(self) -> None:
        require_integer("patience", self.patience, 0)


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
        """Search for a subset; see `subsetsel.engine.registry.Solver`."""
        start = fixed_subset(problem, run, MAX_SHARED)
        if start is None:
            return Candidate(is_infeasible=True)
        run.submit(start)
        search = LocalSearch(problem, run, start)
        improve(search, round(options.patience * run.effort))
        return Candidate(limit=run.limit)


@cache
def _compile(kind: Kind) -> None:
    forms: tuple[Form, Form] = ("max_size", "min_norm")
    for form in forms:
        problem = replace(kind, form=form).problem()
        GreedySolver().solve(problem, GreedyOptions(), Run.quiet(problem))


def search_around(problem: Problem, run: Run, start: BoolArray) -> None:
    """Give an exact search its first incumbent, from a start within everything linear (n,).

    Where there is a relaxation, its rounded weights are a second start.
    """
    search = LocalSearch(problem, run, start)
    patience = round(GreedyOptions.patience * run.effort)
    improve(search, patience)
    relaxation = run.solve_relaxation()
    if relaxation is not None and not run.should_stop():
        improve_rounded(search, relaxation.weights, patience)


def improve_rounded(search: LocalSearch, weights: FloatArray, patience: int) -> None:
    """Search from relaxed weights (n,), rounded and brought within everything linear."""
    seed = int(search.run.limits.seed)
    wanted, clock = weights > 0.5, search.run.clock
    rounded = find_mask(search.problem, wanted=wanted, seed=seed, clock=clock)
    if rounded is not None:
        search.restart(rounded)
        improve(search, patience)


def improve(search: LocalSearch, patience: int) -> None:
    """Bring a local search to its end; ``patience`` is that of `GreedyOptions`."""
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
    if not search.repair(patience):
        return
    step = 1
    while not search.is_over:
        search.fill(problem.max_size)
        fallback = search.mask.copy()
        step = min(step, problem.max_size - search.size)
        if step == 0 or search.force(step) < step:
            return
        if search.exchange(problem.radius(search.size), patience):
            step *= 2
            continue
        search.restart(fallback)
        if step == 1:
            return
        step = max(step // 4, 1)

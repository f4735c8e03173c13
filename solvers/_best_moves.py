"""Subsets of best moves: where few are chosen, and where nothing else fits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.bounds.dual import BALANCED, drift_of
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray

from ._local_search import LocalSearch

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

# Share of the remaining time and iterations.
_SHARE = 0.2
# Under Eq. 3 a relaxed size up to this is few. Candidates are drawn so many times at most.
_FEW, _DRAWS = 128, 64
# What a draw takes at most, in passes over S.
_PASSES = 2.0


def insert_few(
    problem: Problem, run: Run, options: AnnealOptions, relaxed_size: float
) -> BoolArray | None:
    """Prune or keep the best one by one, where these are few; None otherwise.

    With a dozen of 20,000 to choose, weights between 0 and 1 say little.
    """
    if len(problem.constraints):
        return None
    if problem.size is None:
        is_pruning, end = True, min(_FEW, problem.max_size)
        is_rare = relaxed_size <= _FEW
    else:
        is_pruning, end = 2 * problem.size <= problem.n, problem.size
        count = end if is_pruning else problem.n - end
        is_rare = count <= options.few_share * problem.n
        # All that is kept would be a few small rows, which have no curvature.
        is_rare &= is_pruning or drift_of(problem) > BALANCED
    if not is_rare:
        return None
    inner = _inner(problem, run)
    start = problem.must_prune.copy() if is_pruning else ~problem.must_keep
    search = LocalSearch(problem, inner, start)
    draws = float(_DRAWS)
    if run.fills_time:
        # A draw reads S once, and a few of its rows.
        draws = min(draws, _SHARE * run.remaining / max(_PASSES * problem.rows.pass_time, 1e-9))
    step, before = max(1, math.ceil(abs(end - search.size) / max(draws, 1.0))), -1
    while search.size not in {end, before}:
        # Candidates are drawn anew: their order changes with every choice.
        before, wanted = search.size, min(step, abs(end - search.size))
        if problem.size is None:
            search.fill(before + wanted)
        elif is_pruning:
            search.force(wanted)
        else:
            search.drain(before - wanted)
    run.add_iterations(inner.num_iterations)
    return search.mask if problem.size in {None, search.size} else None


def fill_up(problem: Problem, run: Run) -> None:
    """Prune what fits beside the best subset of Eq. 3 so far, the best one by one."""
    inner, best = _inner(problem, run), run.best()
    search = LocalSearch(problem, inner, problem.must_prune if best is None else best.mask)
    search.fill(problem.max_size)
    run.add_iterations(inner.num_iterations)
    run.submit(search.mask)


def _inner(problem: Problem, run: Run) -> Run:
    """Give a run of its own a share of what is left."""
    moves = run.iterations_left
    limits = Limits(
        time_limit=_SHARE * max(run.remaining, 0.0) if run.remaining < np.inf else None,
        max_iterations=None if moves is None else max(1, round(_SHARE * moves)),
    )
    return Run(problem, limits, parent=run)

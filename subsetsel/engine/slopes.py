"""Eq. 4 on rows in shards that share a direction: slopes along the sum decide most examples.

No subset then brings the sum v near 0, and the best one prunes where s_i . v is below a price, but
for a few examples near it. So v is first that of a random core, for its part of the question. Then
cores are searched, each of the examples whose change costs least along the last v.
"""

from __future__ import annotations

import numpy as np

from subsetsel.engine.core import search_core, search_small
from subsetsel.engine.other_form import Engine
from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask, minimize_linear
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

# Cores that are searched, unless one leaves more than _STEADY of the norm.
_NUM_CORES, _STEADY = 4, 0.99
# Share of the time and of the iterations for the random core.
_SHARE = 0.2


def search_slopes(engine: Engine, problem: Problem, run: Run, num_rows: int) -> None:
    """Search cores of so many rows near the margin of the best subset so far."""
    free = np.flatnonzero(problem.free)
    for number in range(_NUM_CORES):
        best = run.best()
        if best is None or run.should_stop():
            return
        costs = _flip_costs(problem, best.mask, best.total)
        nearest = np.argpartition(costs, num_rows - 1)[:num_rows]
        items, share = np.sort(free[nearest]), 1.0 / (_NUM_CORES - number)
        search_core(engine, problem, run, items, best.mask, share)
        if run.norm > _STEADY * best.norm:
            return


def prune_along_sample(engine: Engine, problem: Problem, run: Run, num_rows: int) -> None:
    """Solve a random core for its part of the question, and submit what its sum prunes of all."""
    free, forced = np.flatnonzero(problem.free), problem.must_prune
    share = num_rows / free.size
    items = np.sort(run.generator(3).choice(free, num_rows, replace=False))
    assert problem.size is not None
    small = Problem(
        problem.rows.take(items),
        size=round((problem.size - int(np.count_nonzero(forced))) * share),
        offset=share * problem.sum(forced),
    )
    inner = search_small(engine, small, run, _SHARE)
    if inner.total is None:
        return
    weights, _ = minimize_linear(problem, problem.rows.dot(inner.total), clock=run.clock)
    if weights is not None:
        mask = find_mask(problem, wanted=weights > 0.5, clock=run.clock)
        if mask is not None:
            run.submit(mask)


def _flip_costs(problem: Problem, mask: BoolArray, total: FloatArray) -> FloatArray:
    """Compute what the change of each free example costs along a sum.

    Examples of each group have a price of their own: the slope at which as many are pruned.
    """
    free = problem.free
    slopes, chosen, groups = 2.0 * problem.rows.dot(total)[free], mask[free], _groups(problem)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        num = min(int(np.count_nonzero(chosen[members])), members.size - 1)
        slopes[members] -= np.partition(slopes[members], num)[num]
    return np.where(chosen, -slopes, slopes) + problem.rows.squared_norms[free]


def _groups(problem: Problem) -> IndexArray:
    """Number the constraint that each free example is in; all alike where some are in several."""
    matrix = problem.constraints.matrix
    counts = np.diff(matrix.indptr)
    groups = np.zeros(problem.n, dtype=np.int64)
    if counts.max(initial=0) == 1:
        groups[counts == 1] = 1 + matrix.indices
    return groups[problem.free]

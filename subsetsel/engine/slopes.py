"""Eq. 4 on rows in shards, where one core is not enough: cores along the slopes.

The gradient of ||v||^2 / 2 with v = W^T S has the entries s_i . v, the slopes. Each core holds the
examples whose change costs least along the last sum; none of them makes the norm larger.
"""

from __future__ import annotations

import numpy as np

from subsetsel.engine.core import search_core
from subsetsel.engine.other_form import Engine
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

# Cores that are searched, unless one leaves more than _STEADY of the norm.
_NUM_CORES, _STEADY = 4, 0.99


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
    """Give each free example the number of its constraint; all the same if some have several."""
    matrix = problem.constraints.matrix
    counts = np.diff(matrix.indptr)
    groups = np.zeros(problem.n, dtype=np.int64)
    if counts.max(initial=0) == 1:
        groups[counts == 1] = 1 + matrix.indices
    return groups[problem.free]

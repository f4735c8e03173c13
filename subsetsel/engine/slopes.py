"""Eq. 4 on rows in shards, where one core is not enough: cores along the slopes.

The gradient of ||v||^2 / 2 with v = v0 + S^T W has the entries s_i . v, the slopes. Each core holds
the examples whose change costs least along the last sum; none of them makes the norm larger.

Where the rows share a direction, the relaxed minimum says more: its prices decide all examples but
a few. A dual solution of Eq. 3 at a radius r proves m <= r ||u|| + h for all radii, so that
(m - h) / ||u|| is below the least norm, and the next radius: Newton's method.
"""

from __future__ import annotations

import numpy as np

from subsetsel.bounds.graded import graded_relaxation
from subsetsel.bounds.relaxation import COARSE
from subsetsel.bounds.sample import nearest
from subsetsel.engine.core import search_core
from subsetsel.engine.other_form import Engine
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray, euclidean

# Relaxations until the radius fits the size, to this share of it.
_MOST_RELAXATIONS, _FITTING = 6, 1e-3
# Share of the time for each.
_SHARE = 0.1
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


def search_margin(
    engine: Engine, problem: Problem, run: Run, num_rows: int, negligible: float
) -> FloatArray | None:
    """Search the rows nearest to the margin of the relaxed minimum, the others being as it prunes.

    Parameters
    ----------
    engine : callable
    problem : Problem
    run : Run
        It holds a subset already.
    num_rows : int
        In the core.
    negligible : float
        A norm that a core takes away: the radius need not be smaller.

    Returns
    -------
    ndarray of shape (d,) or None
        A direction along which the norm has a lower bound; None where there was no time.
    """
    dual, radius = None, run.norm
    for _ in range(_MOST_RELAXATIONS):
        if run.should_stop():
            return None
        assert problem.size is not None
        relaxation = graded_relaxation(
            problem.replace(epsilon=radius, normalization="full"),
            COARSE,
            time_limit=_SHARE * run.remaining,
            follow=lambda _: run.should_stop(),
        )
        length = euclidean(relaxation.dual.u)
        if not length > 0:
            break
        dual, before = relaxation.dual, radius
        radius += (problem.size - relaxation.dual.bound) / length
        radius = max(radius, negligible)
        if abs(radius - before) <= _FITTING * before:
            break
    if dual is None:
        return None
    worth = np.where(problem.must_keep, -np.inf, dual.reduced_costs)
    worth[problem.must_prune] = np.inf
    mask = np.zeros(problem.n, dtype=np.bool_)
    if radius <= negligible:
        # The rows cancel at this size: any part of what is pruned there does about as well.
        drawn = run.generator(3).random(problem.n)
        worth = np.where((worth > 0) & problem.free, 1.0 + drawn, worth)
    order = np.argsort(-worth, kind="stable")
    mask[order[: problem.size]] = True
    price = worth[order[(problem.size or 1) - 1]]
    items = nearest(np.where(problem.free, np.abs(worth - price), np.inf), num_rows)
    search_core(engine, problem, run, items, mask)
    return dual.u


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

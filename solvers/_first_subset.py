"""The subset within everything linear that a search starts from; the norm may be anything."""

from __future__ import annotations

import numpy as np

from subsetsel.engine.run import Run
from subsetsel.engine.start import smallest_rows
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray


def near_guess(problem: Problem, run: Run, number: int = 0) -> BoolArray | None:
    """Find a subset near the user's guess, a random one without a guess; None where none exists.

    Each ``number`` gives another one where chance decides.
    """
    seed = int(run.limits.seed) + number
    return find_mask(problem, wanted=run.initial_mask(), seed=seed, clock=run.clock)


def smallest_subset(problem: Problem, run: Run) -> BoolArray | None:
    """Submit a subset with as few pruned as possible; None where none exists.

    The engine has submitted the user's guess before.
    """
    start = find_mask(problem, clock=run.clock)
    if start is not None:
        run.submit(start)
    return start


def fixed_subset(problem: Problem, run: Run, max_shared: int) -> BoolArray | None:
    """Find a subset for best moves to start from, without chance where possible; None if none is.

    Above ``max_shared`` examples a start from nothing would take a move for each of many examples:
    Eq. 4 then starts at random, Eq. 3 with the shortest rows.
    """
    is_long = problem.n > max_shared
    has_guess = run.limits.initial_guess is not None
    if has_guess or len(problem.constraints) or (is_long and problem.size is not None):
        return near_guess(problem, run)
    if problem.size is not None and 2 * problem.size > problem.n:
        return ~problem.must_keep
    if problem.size is None and is_long:
        return _shortest_rows(problem, run)
    return problem.must_prune.copy()


def _shortest_rows(problem: Problem, run: Run) -> BoolArray:
    """Prune the shortest rows at once, as many as the norm allows to within a few per cent.

    Twice as many are tried each time, from those on that the triangle inequality lets go.
    """
    mask = smallest_rows(problem)
    size = int(problem.must_prune.sum())
    count = int(mask.sum()) - size
    free = np.flatnonzero(problem.free)
    order = free[np.argsort(problem.rows.squared_norms[free], kind="stable")]
    most = min(len(order), problem.max_size - size)
    total = problem.sum(problem.must_prune) + _sum_of_rows(problem, order[:count])
    step = max(1, count)
    while step > count // 32 and count < most and run.remaining > 0:
        upto = min(count + step, most)
        beyond = total + _sum_of_rows(problem, order[count:upto])
        if np.linalg.norm(beyond) <= problem.radius(size + upto):
            count, total, step = upto, beyond, 2 * step
        else:
            step //= 2
    mask[order[:count]] = True
    return mask


def _sum_of_rows(problem: Problem, items: IndexArray) -> FloatArray:
    """Sum chosen rows in float64, a block at a time."""
    total = np.zeros(problem.d)
    for first in range(0, len(items), problem.rows.block_size):
        part = problem.rows.take(items[first : first + problem.rows.block_size])
        total += part.sum(axis=0, dtype=np.float64)
    return total

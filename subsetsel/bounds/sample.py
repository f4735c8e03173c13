"""A sample of the rows of a problem that stands for all of them, and who is drawn for it."""

from __future__ import annotations

import numpy as np

from subsetsel.problem.constraints import Constraints
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.rows.dense import DenseRows
from subsetsel.support.memory import most_held

# Rows drawn for each parameter as far as they fit into _USUAL_BYTES, and in any case; at least.
_MOST_PER_PARAMETER, LEAST_PER_PARAMETER, _USUAL_BYTES = 20, 10, 2**28
_FEWEST_ROWS = 4096
_LEAST_GRADE = 1e-12
# Until no more chances reach 1.
_NUM_ROUNDINGS = 50


def sample(problem: Problem, mask: BoolArray, items: IndexArray, limits: FloatArray) -> Problem:
    """Make the relaxation of some rows, with weights up to ``limits``, that stands for a whole one.

    Its offset is v0 + S^T W of a subset less what the drawn rows add to it, counted as often as
    their limits say; likewise the linear constraints. So the gradient is exact where the prices
    prune that subset.

    Parameters
    ----------
    problem : Problem
    mask : ndarray of shape (n,), bool
    items : ndarray of int64
        The rows; of free examples.
    limits : ndarray of the shape of ``items``
        1 / pi of a row that was drawn with the chance pi.
    """
    # A part of rows that were looked at: all of its entries may be small.
    rows = DenseRows(problem.rows.take(items), is_checked=True)
    drawn = np.where(mask[items], limits, 0.0)
    offset = problem.sum(mask) - rows.sum(drawn)
    model = Problem(rows, epsilon=problem.epsilon, offset=offset)
    constraints = problem.constraints
    if len(constraints):
        columns = constraints.matrix[:, items]
        others = constraints.activity(mask) - columns @ drawn
        model.constraints = Constraints(
            columns, constraints.lower - others, constraints.upper - others, constraints.names
        )
        model.constraints.slack = constraints.slack
    return model


def nearest(distance: FloatArray, most: int) -> IndexArray:
    """Give the examples of the smallest finite distances, at most so many, in order."""
    found = np.flatnonzero(np.isfinite(distance))
    if found.size > most:
        found = np.sort(found[np.argpartition(distance[found], most - 1)[:most]])
    return found


def lengths_of(problem: Problem) -> FloatArray:
    """Give the length of each row, with what it adds to linear constraints in the same unit."""
    squares, constraints = problem.rows.squared_norms, problem.constraints
    if len(constraints):
        columns = np.asarray((constraints.matrix**2).sum(axis=0)).ravel()
        total = float(columns.sum())
        squares = squares + (float(squares.sum()) / total if total > 0 else 0.0) * columns
    return np.sqrt(squares)


def most_rows(problem: Problem) -> int:
    """How many rows a step may bring here: by d, and by the memory that is planned with."""
    d = max(1, problem.d)
    size = d * problem.rows.dtype.itemsize
    usual = min(_MOST_PER_PARAMETER * d, _USUAL_BYTES // size)
    return min(max(_FEWEST_ROWS, LEAST_PER_PARAMETER * d, usual), most_held() // size)


def chances_of(grades: FloatArray, num: int) -> FloatArray:
    """Scale grades to chances, at most 1, that add up to ``num``; all 1 where there are so few."""
    may_be_drawn = grades > 0
    if np.count_nonzero(may_be_drawn) <= num:
        return may_be_drawn.astype(np.float64)
    # A power of two changes no digit; what is next to nothing could not be divided by.
    grades = np.ldexp(grades, -int(np.frexp(grades.max())[1]))
    # Nor could what is next to nothing beside the largest.
    grades = np.where(may_be_drawn, np.maximum(grades, _LEAST_GRADE * grades.max()), 0.0)
    scale = num / float(grades.sum())
    for _ in range(_NUM_ROUNDINGS):
        is_sure = scale * grades >= 1.0
        larger = (num - np.count_nonzero(is_sure)) / float(grades[~is_sure].sum())
        if larger <= scale * (1.0 + 1e-9):
            break
        scale = larger
    return np.minimum(1.0, scale * grades)

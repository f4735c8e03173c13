"""A start for a search at one size, from a subset of another size or of fewer constraints.

An integer program would find the nearest subset, in minutes where examples are many. Here single
flips and swaps do it, best first, a batch at a time.
"""

from __future__ import annotations

import numpy as np

from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray

# A size is reached in about so many batches; after each the sum is computed anew.
_NUM_BATCHES = 12
_MAX_ROUNDS = 200
# So many pruned and so many kept examples have all their swaps examined.
_NUM_TRIED = 64


def start_near(problem: Problem, guess: BoolArray) -> BoolArray:
    """Give the guess the size that is asked, at little cost in norm, and mend linear constraints.

    Parameters
    ----------
    problem : Problem
        Of the form "min_norm".
    guess : ndarray of shape (n,), bool
        True means pruned.

    Returns
    -------
    ndarray of shape (n,), bool
        Of the size asked; it may still break linear constraints.
    """
    assert problem.size is not None
    mask = _resize(problem, (guess & ~problem.must_keep) | problem.must_prune, problem.size)
    return mask if not len(problem.constraints) else _mend(problem, mask)


def _resize(problem: Problem, mask: BoolArray, size: int) -> BoolArray:
    """Flip the examples whose own flip leaves the smallest norm."""
    # A start need not be exact, so a cheap stand-in for S is enough.
    rows = problem.rows.proxy
    missing = size - int(np.count_nonzero(mask))
    batch = -(-abs(missing) // _NUM_BATCHES)
    while missing:
        sign = 1.0 if missing > 0 else -1.0
        cost = 2.0 * sign * rows.dot(problem.sum(mask)) + rows.squared_norms
        movable = np.flatnonzero(problem.free & (mask != (missing > 0)))
        count = min(batch, abs(missing))
        mask[movable[np.argsort(cost[movable], kind="stable")[:count]]] = missing > 0
        missing -= int(sign) * count
    return mask


def _mend(problem: Problem, mask: BoolArray) -> BoolArray:
    """Swap the pairs that lower the violation of the linear constraints most."""
    constraints = problem.constraints
    matrix = constraints.matrix
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    unit = 1.0 / np.where(lengths > 0, lengths, 1.0)
    free = problem.free

    def excess_of(activity: FloatArray) -> FloatArray:
        shape = (-1, *[1] * (activity.ndim - 1))
        over = np.maximum(activity - constraints.upper.reshape(shape), 0.0)
        under = np.maximum(constraints.lower.reshape(shape) - activity, 0.0)
        difference: FloatArray = over - under
        return difference

    def broken(activity: FloatArray) -> FloatArray:
        measure: FloatArray = np.einsum("i...,i->...", excess_of(activity) ** 2, unit**2)
        return measure

    for _ in range(_MAX_ROUNDS):
        excess = excess_of(constraints.activity(mask))
        if not constraints.violations(mask):
            break
        pull: FloatArray = matrix.T @ (excess * unit**2)
        leaving = np.flatnonzero(free & mask)
        joining = np.flatnonzero(free & ~mask)
        leaving = leaving[np.argsort(-pull[leaving], kind="stable")]
        joining = joining[np.argsort(pull[joining], kind="stable")]
        pairs = min(len(leaving), len(joining))
        gains = pull[leaving[:pairs]] - pull[joining[:pairs]]
        wanted = float((excess**2 * unit**2).sum())
        # The fewest pairs that would satisfy everything if the gains added up.
        count = min(int(np.searchsorted(np.cumsum(gains), wanted)) + 1, int((gains > 0).sum()))
        if not count:
            break
        trial = mask.copy()
        trial[leaving[:count]], trial[joining[:count]] = False, True
        if broken(constraints.activity(trial)) >= wanted:
            # These swaps satisfy one limit and break another: examine single swaps.
            out, into = leaving[:_NUM_TRIED], joining[:_NUM_TRIED]
            columns = matrix[:, out].toarray()[:, :, None] - matrix[:, into].toarray()[:, None, :]
            left = broken(constraints.activity(mask)[:, None, None] - columns)
            best = np.unravel_index(int(np.argmin(left)), left.shape)
            if left[best] >= wanted:
                break
            trial = mask.copy()
            trial[out[best[0]]], trial[into[best[1]]] = False, True
        mask = trial
    return mask

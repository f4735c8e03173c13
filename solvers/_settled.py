"""A start for Eq. 4: weights between 0 and 1, led to a subset."""

from __future__ import annotations

from typing import Literal

import numpy as np

from subsetsel.bounds.dual import is_drifting
from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

from ._chains import search_rows
from ._continuation import Weights, linear_side, relax_weights, settle
from ._drift import Margin

# Of the time that is left, for the relaxed minimum and for the way to a subset.
_RELAXING_SHARE, _SETTLING_SHARE = 0.4, 0.8
Balance = Literal["norms", "small", "free"]
# Beyond so many times a typical squared norm rows are giants; this share of them are small.
_GIANT, _SMALL = 20.0, 0.25
# The tilt of the first weights where few are pruned or kept, in powers of the squared norm; at half
# there is none. How far norms count as different, and the largest weight. Measured.
_TILT, _WIDEST, _MOST_CHANCE = 0.3, 30.0, 0.9
# ||S^T 1|| that is about 0, in units of what independent rows of these lengths would give.
_BALANCED = 0.1
# Equal weights differ by this share, so that equal rows do not move together.
_JITTER = 0.2


def settled_start(
    problem: Problem, run: Run, rng: np.random.Generator, quota: int | None
) -> tuple[BoolArray, Margin | None] | None:
    """Lead weights to a subset of the size asked for, see `_continuation`.

    Parameters
    ----------
    problem : Problem
        Of the form "min_norm".
    run : Run
    rng : numpy.random.Generator
    quota : int or None
        Most row updates, about.

    Returns
    -------
    (ndarray of shape (n,), bool; Margin or None) or None
        The subset, and the relaxed minimum if no subset comes near 0; None where there is no time
        for it.
    """
    rows, _, is_exact = search_rows(problem, problem.must_prune)
    if not is_exact:
        return None
    items, margin, is_there = np.flatnonzero(problem.free), None, False
    few = None if quota is None else quota // 4
    if is_drifting(problem) and (few is None or few >= items.size):
        weights = _first_weights(problem, rows, items, rng, "free")
        slopes, is_there = relax_weights(weights, run, rng, share=_RELAXING_SHARE, quota=few)
        if run.should_stop():
            return None
        margin = Margin.at(problem, weights.total.astype(np.float64), slopes)
    if margin is None:
        balance: Balance = "norms" if sums_to_zero(problem) else "small"
        weights = _first_weights(problem, rows, items, rng, balance)
    mask = None
    if margin is None or is_there:
        few = None if quota is None else quota // 2
        mask = settle(weights, run, rng, share=_SETTLING_SHARE, quota=few)
    if mask is None and margin is not None:
        # There is no time for more, and most are decided by their slopes.
        mask = _steepest(problem, slopes)
    if mask is None:
        return None
    if len(problem.constraints):
        mask = find_mask(problem, wanted=mask, seed=int(rng.integers(2**31)))
        return None if mask is None else (mask, margin)
    # The few examples too many or too few are taken where that costs least.
    costs = problem.rows.squared_norms if margin is None else margin.costs
    assert problem.size is not None
    surplus = int(np.count_nonzero(mask)) - problem.size
    others = items[mask[items] == (surplus > 0)]
    cheapest = others[np.argsort(costs[others], kind="stable")[: abs(surplus)]]
    mask[cheapest] = surplus < 0
    return mask, margin


def _steepest(problem: Problem, slopes: FloatArray) -> BoolArray:
    """As many as asked for, those that lower the norm most."""
    assert problem.size is not None
    order = np.where(problem.must_prune, -np.inf, np.where(problem.must_keep, np.inf, slopes))
    mask = np.zeros(problem.n, dtype=np.bool_)
    mask[np.argpartition(order, problem.size)[: problem.size]] = True
    return mask


def sums_to_zero(problem: Problem) -> bool:
    """Whether pruned and kept have the same norm, as for a head whose ridge is included.

    Elsewhere it is the pruned that must cancel, and what share of the squared norms they hold is
    for the norm to say.

    Returns
    -------
    bool
    """
    total = float(np.linalg.norm(problem.rows.total))
    return total <= _BALANCED * float(np.sqrt(problem.rows.squared_norms.sum()))


def _first_weights(
    problem: Problem,
    rows: AnyFloatArray,
    items: IndexArray,
    rng: np.random.Generator,
    balance: Balance,
) -> Weights:
    """Give everyone who may move about the same weight, and say what is to stay as it gives it.

    The concave term alone sends most rows to the nearer side.

    "norms": the share of all squared norms, and with it the curvature of what is kept; giants count
    as large rows, which of them go the norm must say. Whichever are fewer, the pruned or the kept,
    small rows are more often among them: their sum is easier to bring to 0.
    "small": how many of the small rows are pruned, so that swaps find some on both sides.
    "free": nothing.

    Returns
    -------
    Weights
    """
    assert problem.size is not None
    norms = problem.rows.squared_norms
    wanted = (problem.size - np.count_nonzero(problem.must_prune)) / items.size
    fewer, scale = min(wanted, 1.0 - wanted), float(np.median(norms[items]))
    chances = np.full(items.size, fewer)
    if balance == "norms" and scale > 0:
        relative = np.clip(norms[items] / scale, 1.0 / _WIDEST, _WIDEST)
        relative **= -_TILT * (1.0 - 2.0 * fewer)
        chances = np.minimum(fewer * relative / relative.mean(), _MOST_CHANCE)
    chances *= 1.0 + _JITTER * (rng.random(items.size) - 0.5)
    values = problem.must_prune.astype(np.float64)
    values[items] = chances if wanted <= 0.5 else 1.0 - chances
    held = None
    if balance == "norms":
        counted = np.minimum(norms, _GIANT * scale) if scale > 0 else norms
        largest = float(counted.max()) or 1.0
        held = counted / largest, largest
    elif balance == "small":
        held = (norms <= np.quantile(norms[items], _SMALL)).astype(np.float64), scale
    side = linear_side(problem, values, scale, held=held)
    return Weights(rows, norms, values, values.astype(rows.dtype) @ rows, items, side)

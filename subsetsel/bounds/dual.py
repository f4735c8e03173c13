"""Proven bounds, evaluated in float64 on the whole S and rounded outward.

For Eq. 3 with normalization "full", any u in R^d and any multipliers y of the linear constraints

    sum W  <=  epsilon ||u||_2 - u . v0 + upper . y+ - lower . y-
               +  sum_i max(0, 1 - s_i . u - a_i . y),

because sum W = sum_i W_i (1 - s_i.u - a_i.y) + u . S^T W + y . A W for every W, and what is limited
is ||v0 + S^T W|| with an offset v0, 0 where none is given; examples that must be pruned enter the
sum without the max, examples that must be kept not at all. Where weights go up to c_i instead of 1
the max is counted c_i times.

What is proved holds for every subset that the core would call feasible: each product and each sum
may be off by `Rows.row_error`, which enters twice. Where that is infinite nothing is proved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.linalg import norm

from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.rows.base import UNIT, FloatArray, euclidean
from subsetsel.support.clock import NO_CLOCK, Clock

# Cuts of `drift_of`. Up to BALANCED pruned and kept rows sum to the same norm, as for a head whose
# ridge is included. Above DRIFTING the rows share a direction that random halves do not cancel.
BALANCED, DRIFTING = 0.1, 4.0
# Where the relaxed minimum of Eq. 4 is below this share of ||S^T 1|| the rows cancel after all.
CANCELLING = 1e-3
# Of a direction whose largest entry is 1: where all entries of a row are smaller, its square is 0.
_LEAST_PRICE = 1e-140


@dataclass(frozen=True)
class Dual:
    """A dual point and what it proves.

    Attributes
    ----------
    u : ndarray of shape (d,)
    y : ndarray of shape (c,)
        One multiplier per linear constraint.
    bound : float
        Proven upper bound on the size of every feasible subset.
    reduced_costs : ndarray of shape (n,)
        1 - s_i . u - a_i . y: far above 0 wants to be pruned, far below 0 to be kept.
    """

    u: FloatArray
    y: FloatArray
    bound: float
    reduced_costs: FloatArray


def evaluate_dual(
    problem: Problem,
    u: FloatArray,
    y: FloatArray | None = None,
    *,
    limits: FloatArray | None = None,
) -> Dual:
    """Evaluate the bound at (u, y) with the best common scaling t >= 0 of both.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size" with normalization "full".
    u : ndarray of shape (d,)
    y : ndarray of shape (c,), optional
        Signs that would multiply an infinite limit are set to 0.
    limits : ndarray of shape (n,), optional
        c, where the free weights go up to c_i instead of 1.
    """
    offset, constraints = problem.offset, problem.constraints
    y = np.zeros(len(constraints)) if y is None else y.copy()
    y[(y > 0) & np.isinf(constraints.upper)] = 0.0
    y[(y < 0) & np.isinf(constraints.lower)] = 0.0
    # Only the direction of (u, y) matters here. With a largest entry of 1 no norm overflows.
    largest = max(float(np.abs(u).max(initial=0.0)), float(np.abs(y).max(initial=0.0)))
    if largest > 0:
        u, y = u / largest, y / largest
    prices = problem.rows.dot(u)
    if len(constraints):
        prices += constraints.matrix.T @ y
    sides = limits_of(problem, y)
    assert problem.epsilon is not None
    allowed = problem.epsilon * (1 + FEASIBILITY)
    length = euclidean(u)
    constant = allowed * length + float(sides @ y)
    # Error of each product s_i . u and a_i . y, outward, and of the norm that the core computes.
    per_row = 2.0 * problem.rows.row_error * length
    if len(constraints):
        per_row += (len(constraints) + 4) * UNIT * (abs(constraints.matrix).T @ np.abs(y))
    # It grows with the scale, and where prices are next to nothing it outweighs what they gain.
    if limits is not None:
        per_row *= np.maximum(limits, 1.0)
    rounding = float(per_row.sum()) + (problem.d + 4) * UNIT * allowed * length
    if offset is not None:
        constant -= float(u @ offset)
        rounding += (problem.d + 4) * UNIT * length * euclidean(offset)
    # Products of rows that are not exact lead a search, and prove nothing.
    is_sure = bool(np.isfinite(rounding))
    rounding = rounding if is_sure else 0.0
    scale = best_scale(prices, constant + rounding, problem, limits=limits)
    u, y, prices, constant = scale * u, scale * y, scale * prices, scale * constant

    reduced = 1.0 - prices
    gains = np.where(problem.must_prune, reduced, np.maximum(reduced, 0.0))
    gains[problem.must_keep] = 0.0
    most = float(problem.n - int(problem.must_keep.sum()))
    if limits is not None:
        gains = np.where(problem.free, limits * gains, gains)
        most = float(problem.must_prune.sum()) + float(limits[problem.free].sum())
    # Rounding of the two sums and of the constant too.
    size_of_terms = float(np.abs(gains).sum()) + abs(constant) + float(np.abs(sides * y).sum())
    error = scale * rounding + 4 * UNIT * (problem.n + np.log2(problem.n + 2) * size_of_terms)
    bound = min(most, float(problem.max_size)) if limits is None else most
    if is_sure:
        bound = min(bound, constant + float(gains.sum()) + error)
    return Dual(u, y, max(bound, 0.0), reduced)


def limits_of(problem: Problem, y: FloatArray) -> FloatArray:
    """Give the limits of the linear constraints that the signs of y multiply.

    Parameters
    ----------
    y : ndarray of shape (c,)
        No sign may meet an infinite limit.

    Returns
    -------
    ndarray of shape (c,)
        What the core calls feasible has a slack; the limits cover it.
    """
    constraints = problem.constraints
    slack = constraints.slack
    above, below = constraints.upper + slack, constraints.lower - slack
    return np.where(y > 0, above, np.where(y < 0, below, 0.0))


def best_scale(
    prices: FloatArray, constant: float, problem: Problem, *, limits: FloatArray | None = None
) -> float:
    """Minimize t * constant + sum c max(0, 1 - t * prices) over t >= 0: convex, piecewise linear.

    Parameters
    ----------
    prices : ndarray of shape (n,)
    problem : Problem
        Says who is free; examples that must be pruned enter without the max.
    limits : ndarray of shape (n,), optional
        c of the free examples, 1 without it.
    """
    always = problem.must_prune
    slope = constant - float(prices[always].sum())
    free = prices[problem.free]
    most = np.ones(free.size) if limits is None else limits[problem.free]
    # A price lost beside the largest, or without a square, would take the scale out of float64.
    least = max(UNIT * float(free.max(initial=0.0)), _LEAST_PRICE)
    is_positive = free > least
    slope -= float(most[~is_positive] @ free[~is_positive])
    order = np.argsort(free[is_positive], kind="stable")
    positive, most = free[is_positive][order], most[is_positive][order]
    # At t = 0 all are active; the example with the largest price leaves first, at t = 1 / price.
    slope -= float(most @ positive)
    if slope >= 0:
        return 0.0
    slopes = slope + np.cumsum((most * positive)[::-1])
    turning = int(np.searchsorted(slopes, 0.0))
    if turning == len(slopes):
        # Rounding, or a function that falls without end, leads here. The bound holds for every t.
        last = 1.0 / float(positive[0]) if len(positive) else 1.0
        fall = -float(slopes[-1]) if len(positive) else -slope
        is_rounding = fall <= problem.n * UNIT * (abs(constant) + float(np.abs(prices).sum()))
        # Nothing is feasible: go on until the bound is below 0, from at most n at t = 0.
        return last if is_rounding else last + 2.0 * problem.n / fall
    return 1.0 / float(positive[::-1][turning])


def lower_bound_on_norm(
    problem: Problem, *, num_steps: int = 20, at_least: float = 0.0, clock: Clock = NO_CLOCK
) -> float:
    """Proven lower bound on ||W^T S||_2 over all W that respect everything but the norm.

    For any u with ||u|| = 1 the norm is at least min_W (S u) . W over the linear relaxation. Good
    directions come from Frank-Wolfe steps on the relaxed minimum of the norm.

    Parameters
    ----------
    num_steps : int
        Frank-Wolfe steps, two passes over S each.
    at_least : float
        Stop as soon as a bound above this is proved, or once none can be.
    clock : Clock
        Stop at its end with what is proved by then.

    Returns
    -------
    float
        Usually 0, since every convex bound is near 0 where S^T 1 is.
    """
    from subsetsel.problem.linear import minimize_linear

    rows = problem.rows
    uniform = _uniform_point(problem)
    weights, value = minimize_linear(problem, np.sqrt(rows.squared_norms), clock=clock)
    if weights is None:
        return max(value, 0.0)
    if uniform is not None:
        weights = uniform
    total = problem.sum(weights)
    best = 0.0
    for _ in range(num_steps):
        length = float(norm(total))
        if length <= max(at_least, best) * (1 + 1e-6) or length == 0.0 or clock.remaining <= 0:
            break
        vertex, value = _least_along(problem, total / length, clock)
        if vertex is None:
            return max(value, best)
        best = max(best, value)
        if best > at_least > 0:
            break
        corner = problem.sum(vertex)
        step = corner - total
        curvature = float(step @ step)
        if curvature == 0.0:
            break
        move = min(1.0, max(0.0, -float(total @ step) / curvature))
        if move == 0.0:
            break
        weights = weights + move * (vertex - weights)
        total = total + move * step
    return best


def drift_of(problem: Problem) -> float:
    """How little S cancels: ||S^T 1|| over sqrt(sum ||s_i||^2), about 1 for independent rows.

    With an offset, how little v0 + S^T W does for a random W: see `shared_by`.

    Its cuts are `BALANCED` and `DRIFTING`.
    """
    spread = float(np.sqrt(problem.rows.squared_norms.sum()))
    return euclidean(shared_by(problem)) / spread if spread > 0 else 0.0


def shared_by(problem: Problem) -> FloatArray:
    """Give S^T 1, shape (d,), and to it the offset over the share of the examples that go."""
    if problem.offset is None:
        return problem.rows.total
    share = 1.0 if problem.size is None else max(problem.size, 1) / problem.n
    return problem.rows.total + problem.offset / share


def is_drifting(problem: Problem) -> bool:
    """Whether the rows share a direction that random choices of half of them do not cancel."""
    return drift_of(problem) > DRIFTING


def can_bound_norm(problem: Problem) -> bool:
    """Whether a bound on the norm above 0 is likely and costs only a few passes over S."""
    is_simple = problem.form == "min_norm" and not len(problem.constraints)
    return is_simple and problem.rows.is_exact and is_drifting(problem)


def norm_along(problem: Problem, u: FloatArray, *, clock: Clock = NO_CLOCK) -> float:
    """Proven lower bound on ||W^T S||_2 from one direction u; the best u is that of the optimum.

    Parameters
    ----------
    u : ndarray of shape (d,)
    clock : Clock
        Of the linear program where there are linear constraints.

    Returns
    -------
    float
        0 where nothing better is proved.
    """
    length = euclidean(u)
    if not 0 < length < np.inf:
        return 0.0
    return max(0.0, _least_along(problem, u / length, clock)[1])


def _least_along(problem: Problem, u: FloatArray, clock: Clock) -> tuple[FloatArray | None, float]:
    """Minimize u . (v0 + S^T W) over the linear relaxation, for ||u|| = 1: a proven limit."""
    from subsetsel.problem.linear import minimize_linear

    vertex, value = minimize_linear(problem, problem.rows.dot(u), clock=clock)
    # Infinite for rows that are not exact: nothing is proved, and what is infeasible stays so.
    error = 2.0 * float(problem.rows.row_error.sum())
    if problem.offset is not None:
        value += float(problem.offset @ u)
        error += (problem.d + 4) * UNIT * euclidean(problem.offset)
    return vertex, value if vertex is None else (value - error) * (1 - problem.d * UNIT)


def _uniform_point(problem: Problem) -> FloatArray | None:
    """Give every example the same weight; None where more than the size is limited."""
    if problem.size is None or len(problem.constraints) or not problem.free.all():
        return None
    return np.full(problem.n, problem.size / problem.n)


def uniform_norm(problem: Problem) -> float | None:
    """||S^T w|| where everyone has the same weight: no convex bound can exceed it.

    Returns
    -------
    float or None
        None where something other than the size binds.
    """
    if _uniform_point(problem) is None:
        return None
    total = problem.rows.total * ((problem.size or 0) / problem.n)
    return float(norm(total if problem.offset is None else total + problem.offset))

"""The linear side of a problem: fixed examples, sizes and linear constraints, without the norm.

Without linear constraints, or with quotas of disjoint groups, sorts answer everything; elsewhere
HiGHS does, in a thread that the clock and Ctrl-C need not wait for.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from subsetsel.errors import SolverError
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import UNIT, BoolArray, FloatArray, IndexArray
from subsetsel.support.background import beside_clock
from subsetsel.support.clock import NO_CLOCK, Clock, TimeIsUp

# Statuses of scipy.optimize.linprog and milp.
_SOLVED, _LIMIT_REACHED, _INFEASIBLE, _STUMBLED = 0, 1, 2, 4
# HiGHS drops coefficients that are not larger, without a word.
_LEAST_COEFFICIENT = 1e-9


def load_linear(problem: Problem) -> None:
    """Import what linear constraints will need, before any clock is started."""
    if len(problem.constraints):
        importlib.import_module("scipy.optimize")


def minimize_linear(
    problem: Problem, cost: FloatArray, *, clock: Clock = NO_CLOCK
) -> tuple[FloatArray | None, float]:
    """Minimize cost . w over everything linear: 0 <= w <= 1, or all mixtures of subsets.

    Quotas of disjoint groups need no more than sorts.

    Parameters
    ----------
    cost : ndarray of shape (n,)
    clock : Clock

    Returns
    -------
    w : ndarray of shape (n,) or None
        None where no such w exists, or HiGHS failed or had no time.
    value : float
        Proven lower bound on the cost of every subset, rounded outward; inf where none exists,
        -inf where HiGHS failed or had no time.
    """
    if not len(problem.constraints):
        weights = _cheapest(problem, cost)
    elif (groups := _disjoint_groups(problem)) is not None:
        weights = _cheapest_in_groups(problem, cost, groups)
    else:
        return _linear_program(problem, cost, clock)
    if weights is None:
        return None, float("inf")
    # It covers NumPy's pairwise sum, not the dot product of a BLAS.
    error = 4 * UNIT * np.log2(problem.n + 2) * float(np.abs(cost).sum())
    return weights, float((cost * weights).sum()) - error


def find_mask(
    problem: Problem,
    *,
    wanted: BoolArray | None = None,
    seed: int = 0,
    clock: Clock = NO_CLOCK,
) -> BoolArray | None:
    """Find a subset that respects everything but the norm, close to a wanted one.

    Parameters
    ----------
    wanted : ndarray of shape (n,), bool, optional
        As many as possible of its examples are pruned, as many of the others kept; ties are broken
        at random. Without it, for the form "max_size", as few as possible are pruned.
    clock : Clock
        HiGHS gives the best it has when time is up.

    Returns
    -------
    ndarray of shape (n,), bool, or None
        None where it is proved that no subset respects the linear constraints.

    Raises
    ------
    TimeIsUp
        If none was found and none excluded in time.
    SolverError
        If HiGHS can neither find one nor exclude it.
    """
    rng = np.random.default_rng(seed)
    noise = rng.random(problem.n)
    if wanted is not None and not problem.linear_violations(wanted):
        return wanted.copy()
    if wanted is None:
        cost = noise if problem.form == "min_norm" else 1.0 + 1e-3 * noise
    else:
        cost = np.where(wanted, -1.0, 1.0) + 0.5 * noise
    if not len(problem.constraints):
        weights = _cheapest(problem, cost)
    elif (groups := _disjoint_groups(problem)) is not None:
        weights = _cheapest_in_groups(problem, cost, groups)
    else:
        weights = _integer_program(problem, cost, clock)
    return None if weights is None else weights > 0.5


def _cheapest(problem: Problem, cost: FloatArray) -> FloatArray | None:
    """Exact minimum without linear constraints: the cheapest free examples, as many as allowed."""
    weights = problem.must_prune.astype(np.float64)
    free = np.flatnonzero(problem.free)
    forced = problem.n - free.size - int(problem.must_keep.sum())
    most = problem.max_size - forced
    least = 0 if problem.size is None else problem.size - forced
    if most < 0 or least > free.size:
        return None
    order = free[np.argsort(cost[free], kind="stable")[:most]]
    num_negative = int(np.count_nonzero(cost[order] < 0))
    weights[order[: max(least, num_negative)]] = 1.0
    return weights


def _disjoint_groups(problem: Problem) -> IndexArray | None:
    """Give each example its group, or -1; None where the constraints are not such quotas."""
    matrix = problem.constraints.matrix
    per_example = np.diff(matrix.indptr)
    if per_example.max(initial=0) > 1 or not (matrix.data == 1.0).all():
        return None
    groups = np.full(problem.n, -1, dtype=np.int64)
    groups[per_example == 1] = matrix.indices
    return groups


def _cheapest_in_groups(
    problem: Problem, cost: FloatArray, groups: IndexArray
) -> FloatArray | None:
    """Exact minimum under quotas of disjoint groups: each group's fewest, then the cheapest."""
    constraints = problem.constraints
    weights = problem.must_prune.astype(np.float64)
    forced = np.bincount(groups[problem.must_prune & (groups >= 0)], minlength=len(constraints))
    least = np.maximum(0.0, np.ceil(constraints.lower - constraints.slack) - forced)
    most = np.floor(constraints.upper + constraints.slack) - forced
    free = np.flatnonzero(problem.free)
    free = free[np.lexsort((cost[free], groups[free]))]
    group = groups[free]
    starts = np.searchsorted(group, np.arange(len(constraints)))
    sizes = np.bincount(group[group >= 0], minlength=len(constraints))
    if (least > np.minimum(sizes, most)).any():
        return None
    # The place of each in its group, cheapest first; who belongs to no group is never needed.
    rank = np.arange(len(free)) - starts[group]
    is_limited = group >= 0
    is_needed = is_limited & (rank < least[group])
    weights[free[is_needed]] = 1.0
    rest = free[~is_needed & ~(is_limited & (rank >= most[group]))]
    rest = rest[np.argsort(cost[rest], kind="stable")]
    size = int(weights.sum())
    room = problem.max_size - size
    wanted = 0 if problem.size is None else problem.size - size
    if room < 0 or wanted > rest.size:
        return None
    num_negative = int(np.count_nonzero(cost[rest[:room]] < 0))
    weights[rest[: max(wanted, num_negative)]] = 1.0
    return weights


def _system(problem: Problem) -> tuple[sparse.csc_array, FloatArray, FloatArray]:
    """Linear constraints and the size as one system lower <= A w <= upper, for HiGHS.

    What fixed examples add is moved into the limits. Rows are scaled to a largest coefficient of 1,
    and limits widened by the slack with which the core checks them and by the coefficients that
    HiGHS would drop, so that nothing the core calls feasible is cut off by scaling or rounding.
    """
    constraints = problem.constraints
    least = 0.0 if problem.size is None else float(problem.size)
    ones = sparse.csr_array(np.ones((1, problem.n)))
    matrix = sparse.csr_array(sparse.vstack([constraints.matrix, ones]))
    forced = problem.must_prune.astype(np.float64)
    added = matrix @ forced
    rounding = problem.n * UNIT * (abs(constraints.matrix) @ forced)
    margin = np.append(constraints.slack + rounding, 0.0)
    lower = np.append(constraints.lower, least) - added - margin
    upper = np.append(constraints.upper, float(problem.max_size)) - added + margin
    matrix = matrix @ sparse.diags_array(problem.free.astype(np.float64))
    largest = abs(matrix).max(axis=1).toarray().ravel()
    scale = 1.0 / np.where(largest > 0, largest, 1.0)
    matrix = sparse.csc_array(sparse.diags_array(scale) @ matrix)
    dropped = matrix.copy()
    dropped.data[np.abs(dropped.data) > _LEAST_COEFFICIENT] = 0.0
    lower = scale * lower - dropped.maximum(0.0).sum(axis=1)
    upper = scale * upper - dropped.minimum(0.0).sum(axis=1)
    return sparse.csc_array(matrix - dropped), lower, upper


def _box(problem: Problem) -> tuple[FloatArray, FloatArray]:
    return problem.must_prune.astype(np.float64), 1.0 - problem.must_keep.astype(np.float64)


def _integer_program(problem: Problem, cost: FloatArray, clock: Clock) -> FloatArray | None:
    from scipy.optimize import Bounds, LinearConstraint, milp

    matrix, lower, upper = _system(problem)
    weights: FloatArray | None = None

    def solve(margin: float, *, presolve: bool) -> Any:
        return milp(
            cost,
            integrality=np.ones(problem.n),
            bounds=Bounds(*_box(problem)),
            constraints=LinearConstraint(matrix, lower + margin, upper - margin),
            options={"mip_rel_gap": 1e-2, "presolve": presolve} | _time_limit(clock),
        )

    # HiGHS may violate a row by 1e-6. Where that matters, solve again with narrower limits.
    for margin in (0.0, 2e-6):
        for presolve in (True, False):
            # Its presolve may stumble over equations that are off by rounding.
            clock.check()
            result = beside_clock(partial(solve, margin, presolve=presolve), clock)
            if result.status != _STUMBLED:
                break
        if result.x is None:
            if result.status == _LIMIT_REACHED:
                raise TimeIsUp
            if result.status != _INFEASIBLE:
                raise SolverError(f"HiGHS gave up on the linear constraints: {result.message}")
            break
        weights = np.round(result.x)
        if not problem.constraints.violations(weights > 0.5):
            break
    return weights


def _time_limit(clock: Clock) -> dict[str, float]:
    """Tell HiGHS how long it has; without a clock it has no such option."""
    return {} if clock.remaining == np.inf else {"time_limit": max(0.0, clock.remaining)}


def _linear_program(
    problem: Problem, cost: FloatArray, clock: Clock
) -> tuple[FloatArray | None, float]:
    from scipy.optimize import linprog

    matrix, lower, upper = _system(problem)
    has_upper, has_lower = np.isfinite(upper), np.isfinite(lower)
    rows = sparse.csr_array(matrix)

    def solve() -> Any:
        return linprog(
            cost,
            A_ub=sparse.vstack([rows[has_upper], -rows[has_lower]]),
            b_ub=np.concatenate([upper[has_upper], -lower[has_lower]]),
            bounds=np.stack(_box(problem), axis=1),
            method="highs",
            options=_time_limit(clock),
        )

    try:
        clock.check()
        result = beside_clock(solve, clock)
    except TimeIsUp:
        return None, -float("inf")
    if result.status == _INFEASIBLE:
        return None, float("inf")
    if result.status != _SOLVED:
        return None, -float("inf")
    prices = np.zeros(len(lower))
    marginals = result.ineqlin.marginals
    prices[has_upper] += marginals[: has_upper.sum()]
    prices[has_lower] -= marginals[has_upper.sum() :]
    value = _lagrangian(problem, cost, prices, (matrix, lower, upper))
    return np.clip(result.x, *_box(problem)), value


def _lagrangian(
    problem: Problem,
    cost: FloatArray,
    prices: FloatArray,
    system: tuple[sparse.csc_array, FloatArray, FloatArray],
) -> float:
    """Value of the Lagrangian dual at any prices: a valid lower bound whatever HiGHS rounded."""
    matrix, lower, upper = system
    prices = prices.copy()
    # Prices <= 0 belong to upper limits, prices >= 0 to lower ones, as in w . cost - prices . A w.
    prices[(prices < 0) & np.isinf(upper)] = 0.0
    prices[(prices > 0) & np.isinf(lower)] = 0.0
    limits = np.where(prices < 0, upper, np.where(prices > 0, lower, 0.0))
    reduced = cost - matrix.T @ prices
    low, high = _box(problem)
    value = float(limits @ prices + np.where(reduced > 0, low * reduced, high * reduced).sum())
    sizes = np.abs(cost).sum() + np.abs(limits * prices).sum()
    sizes += (abs(matrix).T @ np.abs(prices)).sum()
    return float(value - 8 * UNIT * (np.log2(problem.n + 2) + len(prices)) * sizes)

"""Compiled sweeps of the continuation from weights between 0 and 1 to a subset.

All kernels that call each other live in this file: the on-disk cache does not see edits elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from subsetsel.support.jit import njit

Array = NDArray[Any]

# Below this share of its own curvature an example is no longer held between 0 and 1.
_LEAST_CURVATURE = 1e-3


class LinearSide(NamedTuple):
    """Limits on linear functions of the weights, by column, as soft springs.

    ``starts`` (k + 1,), ``members`` and ``coefficients`` list what each example adds to which
    function; ``activity``, ``lower``, ``upper`` and ``stiffness`` have shape (c,).
    """

    starts: Array
    members: Array
    coefficients: Array
    activity: Array
    lower: Array
    upper: Array
    stiffness: Array


@njit(nogil=True, fastmath={"reassoc", "contract"})
def product(rows: Array, i: int, vector: Array) -> float:
    """Inner product of row i and a vector."""
    total = 0.0
    for k in range(vector.size):
        total += rows[i, k] * vector[k]
    return total


@njit(nogil=True)
def sweep(
    rows: Array,
    items: Array,
    weights: Array,
    total: Array,
    squared_norms: Array,
    concavity: Array,
    side: LinearSide,
    lam: float,
) -> int:
    """Move each weight in turn to where the objective is least, all others fixed.

    The objective is ||S^T w||^2 / 2 - lam sum w + (springs of the linear side)
    + sum_i concavity_i h_i w_i (1 - w_i) / 2, with h_i the curvature of the rest in w_i. It is
    convex in w_i where concavity_i < 1; from 1 on the least is at 0 or 1.

    Parameters
    ----------
    rows : (n, d) float32 or float64
    items : (k,) int64
        Which weights to move, in order.
    weights : (n,) float64
        Modified in place.
    total : (d,) float64
        S^T w; modified in place.
    squared_norms, concavity : (n,) float64
    side : LinearSide
        Its activity is modified in place.
    lam : float

    Returns
    -------
    int
        How many weights moved.
    """
    num_moved = 0
    for i in items:
        slope = product(rows, i, total) - lam
        curvature = squared_norms[i]
        for entry in range(side.starts[i], side.starts[i + 1]):
            c, coefficient = side.members[entry], side.coefficients[entry]
            value = side.activity[c]
            excess = value - min(max(value, side.lower[c]), side.upper[c])
            slope += side.stiffness[c] * coefficient * excess
            if excess != 0.0 or side.lower[c] == side.upper[c]:
                curvature += side.stiffness[c] * coefficient * coefficient
        weight = weights[i]
        held = (1.0 - concavity[i]) * curvature
        slope += 0.5 * concavity[i] * curvature * (1.0 - 2.0 * weight)
        if held > _LEAST_CURVATURE * curvature:
            new = min(1.0, max(0.0, weight - slope / held))
        else:
            up, down = 1.0 - weight, -weight
            rise = (slope + 0.5 * held * up) * up - (slope + 0.5 * held * down) * down
            new = 1.0 if rise < 0.0 else 0.0
        step = new - weight
        if step == 0.0:
            continue
        num_moved += 1
        weights[i] = new
        for k in range(total.size):
            total[k] += step * rows[i, k]
        for entry in range(side.starts[i], side.starts[i + 1]):
            side.activity[side.members[entry]] += step * side.coefficients[entry]
    return num_moved

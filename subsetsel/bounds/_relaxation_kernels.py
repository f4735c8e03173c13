"""Compiled coordinate ascent on the continuous relaxation.

All kernels that call each other live in this file: the on-disk cache does not see edits elsewhere.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from subsetsel.problem.constraints import Columns
from subsetsel.support.jit import njit

Array = NDArray[Any]


# Reassociation lets the sum use vector registers: 3 times faster at d = 16, memory-bound above.
@njit(nogil=True, fastmath={"reassoc", "contract"})
def dot(row: Array, vector: Array) -> float:
    """Accumulate an inner product in float64."""
    total = 0.0
    for k in range(vector.size):
        total += row[k] * vector[k]
    return total


@njit(nogil=True)
def multiplier(activity: float, lower: float, upper: float, y: float, rho: float) -> float:
    """Multiplier of lower <= activity <= upper in the augmented Lagrangian."""
    above = y + rho * (activity - upper)
    if above > 0.0:
        return above
    below = y + rho * (activity - lower)
    if below < 0.0:
        return below
    return 0.0


@njit(nogil=True)
def coordinate_pass(
    rows: Array,
    items: Array,
    order: Array,
    weights: Array,
    total: Array,
    lam: float,
    squared_norms: Array,
    diagonal: Array,
    columns: Columns,
    multipliers: Array,
    penalties: Array,
) -> int:
    """Maximize over one weight at a time, in the given order.

    The objective is sum(w) - (||S^T w||^2 + sum(diagonal w (1 - w))) / (2 lam), minus the augmented
    Lagrangian of the linear constraints.

    Parameters
    ----------
    rows : (k, d) float32 or float64
        Some rows of S.
    items : (k,) int64
        Which examples they are.
    order : (k,) int64
        Positions in ``rows``, in the order of the visit.
    weights, squared_norms, diagonal : (n,) float64
        ``weights`` is modified in place.
    total : (d,) float64
        S^T w, modified in place.
    columns : Columns
        Its activity is modified in place.
    multipliers, penalties : (c,) float64
        y and rho of the augmented Lagrangian.

    Returns
    -------
    int
        How many weights changed.
    """
    num_changed = 0
    inverse = 1.0 / lam
    for position in order:
        i = items[position]
        moved = dot(rows[position], total) + diagonal[i] * (0.5 - weights[i])
        gradient = 1.0 - moved * inverse
        curvature = (squared_norms[i] - diagonal[i]) * inverse
        for entry in range(columns.starts[i], columns.starts[i + 1]):
            c, coefficient = columns.members[entry], columns.coefficients[entry]
            value, lower, upper = columns.activity[c], columns.lower[c], columns.upper[c]
            gradient -= coefficient * multiplier(value, lower, upper, multipliers[c], penalties[c])
            curvature += penalties[c] * coefficient**2
        old = weights[i]
        if curvature > 0.0:
            new = min(1.0, max(0.0, old + gradient / curvature))
        else:
            new = 1.0 if gradient > 0.0 else 0.0
        step = new - old
        if step != 0.0:
            num_changed += 1
            weights[i] = new
            for k in range(total.size):
                total[k] += step * rows[position, k]
            for entry in range(columns.starts[i], columns.starts[i + 1]):
                columns.activity[columns.members[entry]] += step * columns.coefficients[entry]
    return num_changed

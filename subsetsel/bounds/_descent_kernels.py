"""The compiled sweep of `subsetsel.bounds.descent`: one weight after the other.

All kernels that call each other live in this file: the on-disk cache does not see edits elsewhere.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from subsetsel.problem.constraints import Columns
from subsetsel.support.jit import njit

Array = NDArray[Any]

# Below this share of its curvature without D, the objective of one weight counts as concave.
_LEAST_CONVEXITY = 1e-3


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
def sweep(
    rows: Array,
    items: Array,
    order: Array,
    weights: Array,
    total: Array,
    lam: float,
    squared_norms: Array,
    diagonal: Array,
    limits: Array,
    columns: Columns,
    multipliers: Array,
    penalties: Array,
) -> int:
    """Move one weight after the other to where the objective is least; count those that moved.

    The objective is (||S^T w||^2 + sum(diagonal w (1 - w))) / 2 - lam sum(w) plus the augmented
    Lagrangian of the linear constraints. A weight whose diagonal exceeds its curvature goes to the
    better of 0 and 1, where the diagonal adds nothing.

    Shapes: rows (k, d); items (k,) int64, which examples they are; order int64, positions in
    ``rows`` as they are visited; weights, squared_norms, diagonal and limits (n,); total (d,), the
    weighted sum S^T w; multipliers and penalties (c,). Weights, total and the columns' activity
    are modified in place.
    """
    num_changed = 0
    for position in order:
        i = items[position]
        old = weights[i]
        slope = dot(rows[position], total) - lam
        curvature = squared_norms[i]
        for entry in range(columns.starts[i], columns.starts[i + 1]):
            c, coefficient = columns.members[entry], columns.coefficients[entry]
            value, lower, upper = columns.activity[c], columns.lower[c], columns.upper[c]
            force = multiplier(value, lower, upper, multipliers[c], penalties[c])
            slope += coefficient * force
            if force != 0.0 or lower == upper:
                curvature += penalties[c] * coefficient**2
        convexity = curvature - diagonal[i]
        if convexity > _LEAST_CONVEXITY * curvature:
            slope += diagonal[i] * (0.5 - old)
            new = min(limits[i], max(0.0, old - slope / convexity))
        else:
            new = 1.0 if slope + curvature * (0.5 - old) < 0.0 else 0.0
        step = new - old
        if step != 0.0:
            num_changed += 1
            weights[i] = new
            for k in range(total.size):
                total[k] += step * rows[position, k]
            for entry in range(columns.starts[i], columns.starts[i + 1]):
                columns.activity[columns.members[entry]] += step * columns.coefficients[entry]
    return num_changed

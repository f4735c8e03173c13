"""Compiled sweeps of the continuation from weights between 0 and 1 to a subset."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from subsetsel.problem.constraints import Columns
from subsetsel.support.jit import njit

Array = NDArray[Any]

# Below this share of an example's own curvature its objective counts as concave.
_LEAST_CURVATURE = 1e-3


class Springs(NamedTuple):
    """Soft limits on linear functions of the weights: a spring of a stiffness (c,) for each."""

    columns: Columns
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
    springs: Springs,
    lam: float,
) -> None:
    """Move each weight in turn to where the objective is least, all other weights fixed.

    The objective is ||S^T w||^2 / 2 - lam sum w + (energy of the springs)
    + sum_i concavity_i h_i w_i (1 - w_i) / 2, with h_i the curvature of the rest in w_i. It is
    convex in w_i where concavity_i < 1; from 1 on the least is at 0 or 1.

    Shapes: rows (n, d), items (k,) int64 in the order of the visit, weights (n,), total (d,) =
    S^T w, squared_norms and concavity (n,). Weights, total and the springs' activity are modified.
    """
    columns, stiffness = springs
    for i in items:
        slope = product(rows, i, total) - lam
        curvature = squared_norms[i]
        for entry in range(columns.starts[i], columns.starts[i + 1]):
            c, coefficient = columns.members[entry], columns.coefficients[entry]
            value = columns.activity[c]
            excess = value - min(max(value, columns.lower[c]), columns.upper[c])
            slope += stiffness[c] * coefficient * excess
            if excess != 0.0 or columns.lower[c] == columns.upper[c]:
                curvature += stiffness[c] * coefficient * coefficient
        weight = weights[i]
        convexity = (1.0 - concavity[i]) * curvature
        slope += 0.5 * concavity[i] * curvature * (1.0 - 2.0 * weight)
        if convexity > _LEAST_CURVATURE * curvature:
            new = min(1.0, max(0.0, weight - slope / convexity))
        else:
            up, down = 1.0 - weight, -weight
            rise = (slope + 0.5 * convexity * up) * up - (slope + 0.5 * convexity * down) * down
            new = 1.0 if rise < 0.0 else 0.0
        step = new - weight
        if step == 0.0:
            continue
        weights[i] = new
        for k in range(total.size):
            total[k] += step * rows[i, k]
        for entry in range(columns.starts[i], columns.starts[i + 1]):
            columns.activity[columns.members[entry]] += step * columns.coefficients[entry]

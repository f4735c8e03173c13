"""Compiled sweeps of the semidefinite relaxation.

All kernels that call each other live in this file: the on-disk cache does not see edits elsewhere.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

# Halvings of an angle: enough for float64.
_NUM_HALVINGS = 50


@njit(cache=True, nogil=True)
def best_weight(slope: float, curvature: float, pull: float) -> float:
    """Maximize slope w - curvature w^2 / 2 + pull sqrt(w - w^2) over 0 <= w <= 1.

    Concave for curvature >= 0 and pull >= 0: found by bisection of the angle in w = (1 + cos) / 2.

    Returns
    -------
    float
        The best w.
    """
    low, high = 0.0, math.pi
    for _ in range(_NUM_HALVINGS):
        angle = 0.5 * (low + high)
        cosine, sine = math.cos(angle), math.sin(angle)
        weight = 0.5 * (1.0 + cosine)
        if (slope - curvature * weight) * sine > pull * cosine:
            high = angle
        else:
            low = angle
    return 0.5 * (1.0 + math.cos(0.5 * (low + high)))


# Reassociation lets the sums use vector registers.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def core_sweep(
    gram: Array,
    softened: Array,
    gains: Array,
    weights: Array,
    deviations: Array,
    products: Array,
    order: Array,
) -> float:
    """Maximize over one example's weight and deviation at a time, in the given order.

    The objective is gains . w - w^T gram w / 2 - sum(deviations * (softened @ deviations)) / 2
    subject to ||deviations_i||^2 = w_i - w_i^2.

    Parameters
    ----------
    gram, softened : (k, k) float64
        Inner products of the core's rows, plain and with what the other examples absorb.
    gains : (k,) float64
        What an example is worth, aside from the core.
    weights : (k,) float64
        Modified in place.
    deviations : (k, r) float64
        Modified in place.
    products : (k,) float64
        gram @ weights, kept up to date.
    order : (k,) int64

    Returns
    -------
    float
        By how much the weights moved, in all.
    """
    k, r = deviations.shape
    moved = 0.0
    for i in order:
        own = softened[i, i]
        field = own * deviations[i]
        for j in range(k):
            entry = softened[i, j]
            for c in range(r):
                field[c] -= entry * deviations[j, c]
        squared = 0.0
        for c in range(r):
            squared += field[c] * field[c]
        pull = math.sqrt(squared)
        slope = gains[i] - products[i] + gram[i, i] * weights[i] - 0.5 * own
        weight = best_weight(slope, max(gram[i, i] - own, 0.0), pull)
        if pull > 0.0:
            scale = math.sqrt(max(weight - weight * weight, 0.0)) / pull
            for c in range(r):
                deviations[i, c] = scale * field[c]
        step = weight - weights[i]
        weights[i] = weight
        moved += abs(step)
        for j in range(k):
            products[j] += step * gram[i, j]
    return moved

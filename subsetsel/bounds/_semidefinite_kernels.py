"""Compiled sweeps of the semidefinite relaxation.

All kernels that call each other live in this file: the on-disk cache does not see edits elsewhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.support.jit import njit

Array = NDArray[Any]

# Halvings of an angle: enough for float64.
_NUM_HALVINGS = 50


@njit(nogil=True)
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


@njit(nogil=True)
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

    Returns
    -------
    float
        By how much the weights moved, in all.
    """
    moved = 0.0
    for i in order:
        own = softened[i, i]
        field = own * deviations[i] - np.dot(softened[i], deviations)
        pull = math.sqrt(np.dot(field, field))
        slope = gains[i] - products[i] + gram[i, i] * weights[i] - 0.5 * own
        weight = best_weight(slope, max(gram[i, i] - own, 0.0), pull)
        if pull > 0.0:
            deviations[i] = math.sqrt(max(weight - weight * weight, 0.0)) / pull * field
        step = weight - weights[i]
        weights[i] = weight
        moved += abs(step)
        products += step * gram[i]
    return moved

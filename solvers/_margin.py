"""The relaxed optimum as a search sees it: what a flip costs there, and how warm it must be.

The energy is ||v||^2 - 2 lam m with v = W^T S and m = sum W; lam is 0 under Eq. 4 where the rows
cancel. All temperatures and costs are squared norms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

_NUM_HALVINGS = 60


@dataclass(frozen=True)
class Margin:
    """Prices and the least energy of the relaxed optimum.

    Attributes
    ----------
    prices : ndarray of shape (n,)
        What pruning an example is worth: 2 lam plus what the linear limits add.
    costs : ndarray of shape (n,)
        What a flip at the relaxed optimum costs, to first order; 0 where the rows cancel.
    least : float
        The energy there.
    lam : float
        Worth of an example under Eq. 3; 0 under Eq. 4.
    total : ndarray of shape (d,) or None
        S^T w there, where it proves something.
    """

    prices: FloatArray
    costs: FloatArray
    least: float
    lam: float = 0.0
    total: FloatArray | None = None

    def energy(self, squared: float, mask: BoolArray) -> float:
        return squared - float(self.prices[mask].sum())

    def temperature(self, problem: Problem, excess: float) -> float:
        """The temperature whose equilibrium lies that far above the relaxed optimum.

        Half a temperature for each dimension, and the flips that happen although they cost.
        """
        num_dimensions, costs = min(problem.d, problem.n), self.costs[problem.free]
        low, high = 0.0, 2.0 * max(excess, 0.0) / num_dimensions
        if not costs.any():
            return high
        for _ in range(_NUM_HALVINGS):
            middle = 0.5 * (low + high)
            ratios = np.minimum(costs / max(middle, 1e-300), 700.0)
            energy = 0.5 * num_dimensions * middle + float((costs / (1.0 + np.exp(ratios))).sum())
            low, high = (low, middle) if energy > excess else (middle, high)
        return high

    def flip_costs(self, problem: Problem, mask: BoolArray, total: FloatArray) -> FloatArray:
        """What each flip adds to the energy of a subset with the sum ``total`` (d,)."""
        sign = np.where(mask, -1.0, 1.0)
        return sign * (2.0 * problem.rows.dot(total) - self.prices) + problem.rows.squared_norms

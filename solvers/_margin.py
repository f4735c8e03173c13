"""The relaxed optimum as a search sees it: what a flip costs there, and how warm it must be.

The energy is ||v||^2 - 2 lam m with v = W^T S and m = sum W; lam is 0 under Eq. 4 where the rows
cancel. All temperatures and costs are squared norms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subsetsel.bounds.relaxation import Relaxation
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray

# Halvings of the interval in which a temperature is looked for: to the precision of float64.
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
    radius : float
        Where lam was found: epsilon, or a little more where that is 0; inf under Eq. 4.
    total : ndarray of shape (d,) or None
        S^T w there, where it proves something.
    """

    prices: FloatArray
    costs: FloatArray
    least: float
    lam: float = 0.0
    radius: float = np.inf
    total: FloatArray | None = None

    @classmethod
    def without(cls, problem: Problem) -> Margin:
        """Where the rows cancel, or nothing is known, a flip costs no more than its row."""
        zeros = np.zeros(problem.n)
        return cls(zeros, zeros, 0.0)

    @classmethod
    def of_relaxation(cls, problem: Problem, relaxation: Relaxation) -> Margin:
        """Describe the relaxed optimum of Eq. 3."""
        assert problem.epsilon is not None
        rows, dual, weights = problem.rows, relaxation.dual, relaxation.weights
        typical = float(np.sqrt(rows.squared_norms.mean())) or 1.0
        slope = float(np.linalg.norm(dual.u))
        # With epsilon = 0 the energy still needs a scale.
        radius = max(problem.epsilon, 1e-6 * typical)
        lam = radius / slope if slope > 0 else radius * typical
        worth = np.ones(problem.n)
        if len(problem.constraints):
            worth -= problem.constraints.matrix.T @ dual.y
        prices, costs = 2.0 * lam * worth, 2.0 * lam * np.abs(dual.reduced_costs)
        costs[(weights > 0) & (weights < 1)] = 0.0
        least = min(radius, problem.epsilon) ** 2 - float(prices @ weights)
        return cls(prices, costs, least, lam, radius)

    def energy(self, squared: float, mask: BoolArray) -> float:
        """Energy of a subset whose norm has this square."""
        return squared - float(self.prices[mask].sum())

    def temperature(self, problem: Problem, excess: float) -> float:
        """Find the temperature whose equilibrium lies that far above the relaxed optimum.

        Half a temperature for each dimension, and the flips that happen although they cost.
        """
        num_dimensions, costs = min(problem.d, problem.n), self.costs[problem.free]
        low, high = 0.0, 2.0 * max(excess, 0.0) / num_dimensions
        if not costs.any():
            return high
        for _ in range(_NUM_HALVINGS):
            middle = 0.5 * (low + high)
            unit = max(middle, 1e-300)
            ratios = np.minimum(costs, 700.0 * unit) / unit
            energy = 0.5 * num_dimensions * middle + float((costs / (1.0 + np.exp(ratios))).sum())
            low, high = (low, middle) if energy > excess else (middle, high)
        return high

    def flip_costs(self, problem: Problem, mask: BoolArray, total: FloatArray) -> FloatArray:
        """Compute what each flip adds to the energy of a subset with the sum ``total`` (d,)."""
        sign = np.where(mask, -1.0, 1.0)
        return sign * (2.0 * problem.rows.dot(total) - self.prices) + problem.rows.squared_norms

"""Eq. 4 where the rows' sum is far from zero: the relaxed minimum decides most examples.

No subset comes near 0 then, and a search can only gain from the few examples whose flip costs
little at the relaxed minimum, as under Eq. 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subsetsel.bounds.dual import norm_along
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import FloatArray, IndexArray

# Examples whose flip costs more than _REACH temperatures stay where they are, as long as _FEWEST
# examples may move.
_REACH, _FEWEST = 5.0, 1000
# Below this share of ||S^T 1|| the relaxed minimum says nothing: the rows cancel.
_CANCELS = 1e-3
_NUM_HALVINGS = 60


@dataclass(frozen=True)
class Margin:
    """What flips cost at the relaxed minimum.

    Attributes
    ----------
    total : ndarray of shape (d,)
        S^T w there.
    least : float
        Least norm of weights of the size asked for.
    costs : ndarray of shape (n,)
        Of flipping each example, in squared norm, to first order.
    num_dimensions : int
    """

    total: FloatArray
    least: float
    costs: FloatArray
    num_dimensions: int

    @classmethod
    def at(cls, problem: Problem, total: FloatArray, slopes: FloatArray) -> Margin | None:
        """Describe the relaxed minimum S^T w (d,); None where the rows cancel after all.

        ``slopes`` (n,) are those of half the squared norm in each weight, linear limits included.
        """
        least = float(np.linalg.norm(total))
        if least <= _CANCELS * float(np.linalg.norm(problem.rows.total)):
            return None
        if not len(problem.constraints):
            # The weights may be some examples short.
            least = norm_along(problem, total)
        return cls(total, least, 2.0 * np.abs(slopes), min(problem.d, problem.n))

    def temperature(self, norm: float) -> float:
        """Temperature whose equilibrium is as far above the relaxed minimum as a subset's norm."""
        excess = max(float(norm) ** 2 - self.least**2, 0.0)
        low, high = 0.0, 2.0 * excess / self.num_dimensions
        for _ in range(_NUM_HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if self._energy(middle) > excess else (middle, high)
        return high

    def _energy(self, temperature: float) -> float:
        """Above the least norm: half a temperature a dimension, and flips that happen at a cost."""
        if temperature <= 0.0:
            return 0.0
        flips = self.costs / (1.0 + np.exp(np.minimum(self.costs / temperature, 700.0)))
        return 0.5 * self.num_dimensions * temperature + float(flips.sum())

    def core(self, free: IndexArray, temperature: float) -> IndexArray:
        """Those of the free examples that a temperature can move."""
        costs = self.costs[free]
        if free.size <= _FEWEST:
            return free
        least = float(np.partition(costs, _FEWEST)[_FEWEST])
        return free[costs <= max(_REACH * temperature, least)]

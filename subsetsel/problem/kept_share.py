"""What share of the data is kept: by number, or by weight where the head has sample weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.rows.base import BoolArray, FloatArray

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head

# Where `Solution.stats` holds what is kept of the weight.
KEPT_WEIGHT = "kept_weight"


class KeptShare:
    """The share that is kept of n examples, of which each counts as one or as its weight.

    Parameters
    ----------
    n : int
    weights : ndarray of shape (n,), optional
        Positive. Equal ones are as good as none.

    Attributes
    ----------
    shares : ndarray of shape (n,) or None
        Of each example in the total weight; None where all count alike.
    """

    def __init__(self, n: int, weights: FloatArray | None = None) -> None:
        self._n = n
        self.shares: FloatArray | None = None
        if weights is None or weights.min() == weights.max():
            return
        # Numbers of any size have a sum.
        relative = weights / weights.max()
        self.shares = relative / relative.sum()
        # What is kept at most where so many are pruned: the heaviest. Bounds rest on it, so that
        # the rounding of the sums is added.
        heaviest = np.cumsum(np.sort(self.shares)[::-1]) * (1.0 + 4 * n * np.finfo(np.float64).eps)
        self._most = np.minimum(np.concatenate([[0.0], heaviest])[::-1], 1.0)

    @classmethod
    def of_head(cls, n: int, head: Head | None) -> KeptShare:
        """Count as the objective of a head does."""
        given: Any = None if head is None else head.objective_function.weights
        return cls(n, None if given is None else given.cpu().numpy())

    def of(self, mask: BoolArray) -> float:
        """Share that is kept where (n,) are pruned."""
        if self.shares is None:
            return (self._n - int(np.count_nonzero(mask))) / self._n
        # The smaller sum has the smaller error, and nothing kept is exactly nothing.
        return float(self.shares[~mask].sum())

    def most(self, num_pruned: int) -> float:
        """Largest share that can be kept where so many are pruned."""
        if self.shares is None:
            return (self._n - num_pruned) / self._n
        return float(self._most[num_pruned])

    def record(self, mask: BoolArray) -> dict[str, float]:
        """Give the entry of `Solution.stats`; nothing where all count alike."""
        return {} if self.shares is None else {KEPT_WEIGHT: self.of(mask)}

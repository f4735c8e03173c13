"""Eq. 3 on its way to a subset: the multiplier that keeps the norm at epsilon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subsetsel.rows.base import FloatArray

# How much of a deviation a sweep of all rows corrects.
_PULL = 0.3
# The multiplier never falls below this share of the first: there nothing but the norm counts.
_LEAST = 1e-6
# A norm above _NEAR times epsilon is led back, at most _NUM_RETURNS times. The goal of a return is
# epsilon times _LOWER, less the share by which the end was missed.
_NEAR, _NUM_RETURNS, _LOWER = 1.005, 2, 0.98


@dataclass(frozen=True)
class Aim:
    """What Eq. 3 asks for: sum w - ||S^T w||^2 / (2 lam), with lam led by ||S^T w|| = epsilon."""

    lam: float
    epsilon: float


class Pursuit:
    """The multiplier ``lam`` of Eq. 3, led by the norm; 0 without an aim."""

    def __init__(self, aim: Aim | None) -> None:
        self.lam, self._epsilon = (0.0, 0.0) if aim is None else (aim.lam, aim.epsilon)
        self._least, self._goal, self._norm = _LEAST * self.lam, self._epsilon, 0.0
        self._num_returns = _NUM_RETURNS

    def follow(self, total: FloatArray, swept: float) -> None:
        """Lower it outside the ball of S^T w and raise it inside.

        The change grows with the share ``swept`` of all rows that the last sweep moved, since no
        other rows can answer to it.
        """
        if self._goal > 0:
            self._norm = float(np.linalg.norm(total))
            pull = _PULL * np.sqrt(swept)
            self.lam *= (self._goal / max(self._norm, 1e-3 * self._goal)) ** pull
            self.lam = max(self.lam, self._least)

    def must_return(self) -> bool:
        """Whether the ball was missed by so much that a return is worth it; it then aims lower."""
        if self._goal == 0 or self._num_returns == 0 or self._norm <= _NEAR * self._epsilon:
            return False
        self._num_returns -= 1
        self._goal *= _LOWER * self._epsilon / self._norm
        return True

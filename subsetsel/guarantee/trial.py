"""One trial: a subset, its refit, and how much of the limits it uses up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from subsetsel.guarantee.verification import Verification
from subsetsel.problem.searched_rows import Move
from subsetsel.rows.base import BoolArray, FloatArray

# Rows are expanded anew where the refit differs from what those of Eq. 2 predict by this share. Up
# to the other share they serve to find the size roughly.
_OFF, _FAR_OFF = 0.03, 0.25


@dataclass(frozen=True, eq=False)
class Trial:
    """One subset that was tried: its refit, and how much of the limits it uses up.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
    check : Verification
        With the validation examples as its test.
    theta : ndarray of shape (C, q), float64
        The refitted head.
    usage : float
        Largest value / limit; see `Criteria.usage`.
    is_met : bool
        Whether every limit holds.
    move : Move
        How far the head moves, in the metric that was searched.
    """

    mask: BoolArray
    check: Verification
    theta: FloatArray
    usage: float
    is_met: bool
    move: Move

    @property
    def is_off(self) -> bool:
        """Whether the refit differs from what the rows of Eq. 2 predict."""
        return self._differs(_OFF)

    @property
    def is_far_off(self) -> bool:
        """Whether it differs so much that the rows of Eq. 2 do not lead to the right size."""
        return self._differs(_FAR_OFF)

    def _differs(self, share: float) -> bool:
        return abs(self.move.refitted - self.move.first_order) > share * self.move.refitted

    @property
    def change(self) -> float:
        """How far the refitted head has moved, in the metric that was searched."""
        return self.move.refitted

    @property
    def predicted(self) -> float:
        """The same by the rows that were searched."""
        return self.move.searched

    @property
    def size(self) -> int:
        """How many are pruned."""
        return self.check.num_pruned

    @property
    def rank(self) -> tuple[bool, int, float]:
        """Sorts trials: those within the limits last, the largest of them last."""
        return self.is_met, self.size if self.is_met else 0, -self.usage

    def record(self) -> dict[str, Any]:
        """Give the point of the curve, in types that JSON knows."""
        check = self.check
        point: dict[str, Any] = {
            "m": self.size,
            "predicted_kept": check.predicted_kept,
            "predicted_searched": self.move.searched,
            "refitted_searched": self.move.refitted,
            "predicted_newton": check.predicted_newton,
            "change": check.change,
            "change_error": check.change_error,
            "curvature": check.curvature,
            "is_verified": self.is_met,
        }
        if check.loss_gap is not None:
            point |= {"loss_gap": check.loss_gap, "accuracy_drop": check.accuracy_drop}
        return point


def odds(size: int, n: int) -> float:
    """log(pruned / kept), finite at both ends."""
    pruned = min(max(float(size), 0.5), n - 0.5)
    return math.log(pruned / (n - pruned))

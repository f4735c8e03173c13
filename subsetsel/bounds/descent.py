"""One coordinate descent for everything that moves weights between 0 and 1.

It lowers, one weight at a time and all others fixed,

    ||S^T w||^2 / 2  -  lam sum w  +  sum_i D_i w_i (1 - w_i) / 2  +  limits(A w),

over 0 <= w <= c, c = 1 where nothing else is said. With D = 0 and lam led to where
||S^T w|| = epsilon this is the relaxation of Eq. 3; with lam = 0 the relaxed minimum of Eq. 4. A
growing D makes the objective concave in one weight after the other and leads the weights to a
subset. For fixed lam and D = 0 it is the dual coordinate descent of a linear support vector machine
with L1 loss whose labels are all +1.

Linear limits enter through an augmented Lagrangian with multipliers y and penalties rho.

References
----------
Hsieh et al., A dual coordinate descent method for large-scale linear SVM, ICML 2008. Hestenes,
Multiplier and gradient methods, J. Optim. Theory Appl. 4 (1969).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.linalg import norm

from subsetsel.problem.constraints import Columns
from subsetsel.rows.base import AnyFloatArray, FloatArray, IndexArray

# A call into compiled code reads at most about this many entries of S, a few hundredths of a
# second, so that Ctrl-C and clocks work.
_CALL_ENTRIES = 2**24
# A step of log(lam) is at most this long, and steps shrink to no less than this share.
_LONGEST_STEP, _LEAST_STRIDE = 2.0, 0.05
# Of the longest stride, after each turn of a descent that was stretched.
_CALMING = 0.8


class Descent:
    """Weights between 0 and 1, what they add up to, and the multipliers that steer them.

    Parameters
    ----------
    squared_norms : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        Modified in place, as are the next two.
    total : ndarray of shape (d,), float64
        S^T w.
    columns : Columns
        The linear limits.
    penalties : ndarray of shape (c,)
        rho, in units of lam where there is a radius, else of squared norms.
    lam : float
    radius : float, optional
        What ||S^T w|| is led to. Without it lam stays as it is.
    limits : ndarray of shape (n,), optional
        c; where D is not 0 it must be 1.

    Attributes
    ----------
    diagonal : ndarray of shape (n,)
        D, at first 0.
    multipliers : ndarray of shape (c,)
        y, in the unit of the penalties, at first 0.
    num_visits : int
        Of all sweeps together.
    least_lam, largest_lam : float
        If no weights give the radius, lam would grow or shrink without end.
    """

    def __init__(
        self,
        squared_norms: FloatArray,
        weights: FloatArray,
        total: FloatArray,
        columns: Columns,
        *,
        penalties: FloatArray,
        lam: float = 0.0,
        radius: float | None = None,
        limits: FloatArray | None = None,
    ) -> None:
        self.squared_norms, self.weights, self.total = squared_norms, weights, total
        self.columns, self.penalties = columns, penalties
        self.diagonal = np.zeros_like(squared_norms)
        self.multipliers = np.zeros_like(penalties)
        self.limits = np.ones_like(squared_norms) if limits is None else limits
        self.num_visits = 0
        self.radius = radius
        self.stretch(1.0)
        self.start_at(lam)

    def start_at(self, lam: float) -> None:
        """Begin to steer at this lam."""
        self.lam = lam
        self.least_lam, self.largest_lam = 1e-9 * lam, 1e9 * lam
        self._stride, self._miss = 1.0, 0.0

    def stretch(self, most: float) -> None:
        """Let steps of log(lam) be up to ``most`` times as long as a length ~ lam asks for.

        That is right where a part that no weight moves makes up most of the length. How much the
        rest answers varies then: with each turn steps become shorter, down to 1 / ``most``.
        """
        self._most_stride, self._calmest = most, 1.0 / most

    @property
    def unit(self) -> float:
        """The unit of multipliers and penalties, as a squared norm."""
        return 1.0 if self.radius is None else self.lam

    def sweep(
        self,
        rows: AnyFloatArray,
        items: IndexArray,
        order: IndexArray,
        is_over: Callable[[], bool],
    ) -> int:
        """Visit examples in an order, until ``is_over`` says so; count the weights that moved.

        Parameters
        ----------
        rows : ndarray of shape (k, d)
            Some rows of S.
        items : ndarray of shape (k,), int64
            Which examples they are.
        order : ndarray of int64
            Positions in ``rows``.
        is_over : callable
            Asked between two compiled calls.
        """
        from subsetsel.bounds._descent_kernels import sweep

        self.num_visits += order.size
        num_changed, step = 0, max(256, _CALL_ENTRIES // max(1, rows.shape[1]))
        for start in range(0, order.size, step):
            if start and is_over():
                break
            num_changed += sweep(
                rows,
                items,
                order[start : start + step],
                self.weights,
                self.total,
                self.lam,
                self.squared_norms,
                self.diagonal,
                self.limits,
                self.columns,
                self.multipliers * self.unit,
                self.penalties * self.unit,
            )
        return num_changed

    def steer(self, share: float = 1.0) -> None:
        """Move lam towards ||S^T w|| = radius.

        ``share`` shortens the step where few weights can answer to it.
        """
        if self.radius is None:
            return
        length = self.length()
        miss = float(np.log(self.radius / length)) if length > 0 else _LONGEST_STEP
        # Steps shrink when the length was too large and too small in turn, and grow otherwise.
        has_turned = miss * self._miss < 0
        self._stride *= 0.5 if has_turned else 1.2
        if has_turned:
            self._most_stride = max(self._calmest, _CALMING * self._most_stride)
        least = _LEAST_STRIDE * self._calmest
        self._stride = min(self._most_stride, max(least, self._stride))
        self._miss = miss
        step = share * self._stride * float(np.clip(miss, -_LONGEST_STEP, _LONGEST_STEP))
        self.lam = min(self.largest_lam, max(self.least_lam, self.lam * float(np.exp(step))))

    def lift(self) -> None:
        """Move the multipliers to where their limits hold."""
        rho, columns = self.penalties, self.columns
        pull = self.multipliers + rho * columns.activity
        self.multipliers[:] = pull - np.clip(pull, rho * columns.lower, rho * columns.upper)

    def length(self) -> float:
        """Compute what is to become equal to the radius: ||S^T w||."""
        return float(norm(self.total))

"""Linear constraints on W: rows of coefficients with a lower and an upper limit.

Class balance, quotas per stratum, caps and curvature cuts are all of this one form; every
convenience ends here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from subsetsel.errors import ProblemError
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

# Relative slack in the check of a linear constraint. It is far above the rounding error of a sum
# of 10^6 terms and far below one example.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class LinearConstraint:
    """``lower <= sum_i coefficients[i] * W[i] <= upper``.

    Parameters
    ----------
    coefficients : array_like of shape (n,)
        One finite number per example.
    lower, upper : float
        Limits; None where there is none.
    name : str
        Shown in messages.
    """

    coefficients: ArrayLike
    lower: float | None = None
    upper: float | None = None
    name: str = ""


class Columns(NamedTuple):
    """Linear constraints by column, as compiled code takes them, with left-hand sides to update.

    Attributes
    ----------
    starts : ndarray of shape (k + 1,), int64
        What example i adds stands at ``starts[i]`` to ``starts[i + 1]`` of the next two.
    members : ndarray of int64
        To which constraint.
    coefficients : ndarray of float64
        How much.
    activity, lower, upper : ndarray of shape (c,), float64
        Left-hand sides and their limits.
    """

    starts: IndexArray
    members: IndexArray
    coefficients: FloatArray
    activity: FloatArray
    lower: FloatArray
    upper: FloatArray


class Constraints:
    """All linear constraints of a problem, as one sparse matrix.

    Attributes
    ----------
    matrix : scipy.sparse.csc_array of shape (c, n)
        Column i lists what example i adds to each constraint, so a solver that flips one example
        touches one column.
    lower, upper : ndarray of shape (c,)
    names : tuple of str
    """

    def __init__(
        self,
        matrix: sparse.csc_array,
        lower: FloatArray,
        upper: FloatArray,
        names: tuple[str, ...],
    ) -> None:
        self.matrix = matrix
        self.lower = lower
        self.upper = upper
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All numbers of the constraints: equal constraints have equal arrays."""
        matrix = self.matrix
        return matrix.data, matrix.indices, matrix.indptr, self.lower, self.upper

    @classmethod
    def build(cls, n: int, constraints: Sequence[Any]) -> Constraints:
        """Stack single constraints.

        Parameters
        ----------
        n : int
            Number of examples.

        Raises
        ------
        ProblemError
            If a row has not n finite coefficients, or its limits are NaN or crossed.
        """
        rows, lower, upper, names = [], [], [], []
        for position, item in enumerate(constraints):
            one = item if isinstance(item, LinearConstraint) else _from_tuple(item, position)
            name = one.name or f"constraint {position}"
            try:
                row = np.asarray(one.coefficients, dtype=np.float64)
                low = -np.inf if one.lower is None else float(one.lower)
                high = np.inf if one.upper is None else float(one.upper)
            except (TypeError, ValueError) as error:
                raise ProblemError(
                    f"{name}: coefficients and limits must be numbers ({error}); None stands for "
                    "no limit."
                ) from error
            if row.shape != (n,):
                raise ProblemError(
                    f"{name}: coefficients must have one number per example, shape ({n},), "
                    f"got shape {row.shape}."
                )
            if not np.isfinite(row).all():
                raise ProblemError(f"{name}: coefficients must be finite.")
            if not (low <= high and low < np.inf and high > -np.inf):
                raise ProblemError(
                    f"{name}: lower must not exceed upper, neither may be NaN, and no limit is "
                    f"-inf below and inf above; got {low} and {high}."
                )
            rows.append(sparse.csr_array(row[None, :]))
            lower.append(low)
            upper.append(high)
            names.append(name)
        stacked = sparse.vstack(rows) if rows else sparse.csr_array((0, n))
        return cls(
            sparse.csc_array(stacked, dtype=np.float64),
            np.array(lower, dtype=np.float64),
            np.array(upper, dtype=np.float64),
            tuple(names),
        )

    def join(self, other: Constraints) -> Constraints:
        """Both sets of constraints together."""
        if not len(other):
            return self
        if not len(self):
            return other
        return Constraints(
            sparse.csc_array(sparse.vstack([self.matrix, other.matrix])),
            np.concatenate([self.lower, other.lower]),
            np.concatenate([self.upper, other.upper]),
            self.names + other.names,
        )

    def activity(self, weights: FloatArray | BoolArray) -> FloatArray:
        """Left-hand sides.

        Returns
        -------
        ndarray of shape (c,)
        """
        values: FloatArray = self.matrix @ np.asarray(weights, dtype=np.float64)
        return values

    def columns(
        self,
        weights: FloatArray | BoolArray,
        items: IndexArray | None = None,
        *,
        slack: float = 0.0,
    ) -> Columns:
        """Pack them by column; nothing in the result is shared with the constraints.

        Parameters
        ----------
        weights : ndarray of shape (n,)
            Whose left-hand sides to start from.
        items : ndarray of shape (k,), int64, optional
            Give the columns of these examples only.
        slack : float
            Widen the limits by so many times `slack`.
        """
        matrix = self.matrix if items is None else self.matrix[:, items]
        margin = slack * self.slack
        return Columns(
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int64),
            matrix.data.astype(np.float64),
            self.activity(weights),
            self.lower - margin,
            self.upper + margin,
        )

    @cached_property
    def slack(self) -> FloatArray:
        """Absolute tolerance of each constraint, shape (c,)."""
        scale = np.zeros(len(self))
        np.maximum.at(scale, self.matrix.indices, np.abs(self.matrix.data))
        # Beside a coefficient of 10^9, which forbids its example, those of 1 still count in full.
        scale = np.minimum(scale, 1.0)
        for limits in (self.lower, self.upper):
            finite = np.isfinite(limits)
            scale[finite] = np.maximum(scale[finite], np.abs(limits[finite]))
        return TOLERANCE * scale

    def violations(self, mask: BoolArray) -> list[str]:
        """Say which constraints a subset breaks.

        Returns
        -------
        list of str
            One readable sentence per broken constraint; empty if all hold.
        """
        values = self.activity(mask)
        broken = (values < self.lower - self.slack) | (values > self.upper + self.slack)
        return [
            f"{self.names[c]} is {values[c]:g}, outside [{self.lower[c]:g}, {self.upper[c]:g}]"
            for c in np.flatnonzero(broken)
        ]


def _from_tuple(item: Any, position: int) -> LinearConstraint:
    try:
        coefficients, lower, upper = item
    except (TypeError, ValueError) as error:
        raise ProblemError(
            f"constraints[{position}] must be a LinearConstraint or a tuple "
            f"(coefficients, lower, upper), got {type(item).__name__}."
        ) from error
    return LinearConstraint(coefficients, lower, upper)

"""A problem in which most examples are decided: a small one of the others, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray, Rows
from subsetsel.rows.dense import DenseRows


@dataclass(frozen=True, eq=False)
class Folded:
    """What `fold` makes.

    Attributes
    ----------
    problem : Problem
        Of the open examples alone. What the others add to S^T W is in its offset, and what they add
        to the size and to each constraint is taken off the limits: but for their rounding, a subset
        is feasible here where `unfold` makes a feasible one of it, and has the same norm.
    items : ndarray of int64, sorted
        Which examples are open.
    decided : ndarray of shape (n,), bool
        Who is pruned among the others; False for the open ones.
    """

    problem: Problem
    items: IndexArray
    decided: BoolArray

    def unfold(self, mask: BoolArray) -> BoolArray:
        """Give the subset of all examples that belongs to one of the open ones."""
        whole = self.decided.copy()
        whole[self.items] = mask
        return whole


def fold(
    problem: Problem,
    items: IndexArray,
    mask: BoolArray,
    *,
    total: FloatArray | None = None,
    rows: Rows | None = None,
) -> Folded:
    """Leave some examples open, and let all others be as they are in a subset.

    Parameters
    ----------
    problem : Problem
        With normalization "full", or of the form "min_norm".
    items : ndarray of int64
        The open examples.
    mask : ndarray of shape (n,), bool
        Decides the others; what it says of the open ones does not matter.
    total : ndarray of shape (d,), optional
        v0 + S^T W of the others, where it is known.
    rows : Rows, optional
        Those of the open examples, where they are here already.

    Raises
    ------
    ProblemError
        With normalization "kept", whose radius depends on how many are pruned of all n; where no
        example is open; or where the others contradict the size, ``max_size``, ``must_prune`` or
        ``must_keep``.
    """
    items = np.unique(np.asarray(items, dtype=np.int64))
    if not items.size:
        raise ProblemError("no example is open, so that there is nothing to fold; leave some open.")
    decided = mask.copy()
    decided[items] = False
    is_open = np.zeros(problem.n, dtype=np.bool_)
    is_open[items] = True
    if (~is_open & ((problem.must_prune & ~decided) | (problem.must_keep & decided))).any():
        raise ProblemError("the examples that are decided contradict must_prune or must_keep.")
    if problem.epsilon is not None and problem.normalization == "kept":
        raise ProblemError(
            "a problem with epsilon and normalization 'kept' cannot be folded; ask it with a size."
        )
    num = int(np.count_nonzero(decided))
    size = None if problem.size is None else problem.size - num
    most = problem.max_size - num
    if most < 0 or (size is not None and not 0 <= size <= items.size):
        raise ProblemError(
            f"{num} of the examples that are decided are pruned and {items.size} are open, which "
            "the size that is asked for does not allow."
        )
    constraints = problem.constraints
    taken = constraints.activity(decided)
    small = Problem(
        # A part of rows that were looked at: all of its entries may be small.
        DenseRows(problem.rows.take(items), is_checked=True) if rows is None else rows,
        epsilon=problem.epsilon,
        size=size,
        max_size=min(most, items.size) if problem.is_capped else None,
        must_prune=problem.must_prune[items],
        must_keep=problem.must_keep[items],
        offset=problem.sum(decided) if total is None else total,
    )
    small.constraints = Constraints(
        constraints.matrix[:, items],
        constraints.lower - taken,
        constraints.upper - taken,
        constraints.names,
    )
    # What is left of a limit may be its rounding alone, and no measure of what is allowed.
    small.constraints.slack = constraints.slack
    return Folded(small, items, decided)

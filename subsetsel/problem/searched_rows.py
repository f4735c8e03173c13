"""The rows that are searched: those of the problem, or an expansion around a refitted head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, Rows, euclidean
from subsetsel.support.clock import Clock

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head


class SearchedRows:
    """One S at a time, beside that of the problem: two fit the memory that is planned with.

    Parameters
    ----------
    problem : Problem
        With a head.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.rows: Rows = problem.rows
        self._made_for: tuple[BoolArray, int] | None = None

    def go_back(self) -> None:
        """Search the problem's own rows, an expansion around the empty set."""
        self.rows, self._made_for = self._problem.rows, None

    def expand(self, pruned: BoolArray, theta: FloatArray, size: int, clock: Clock) -> None:
        """Search, at a size, an expansion around a pruned set (n,) and its refit (C, q).

        The array ``pruned`` stands for the set: the same array asks for the same expansion.
        """
        from subsetsel.influence.head.expansion import Expansion
        from subsetsel.influence.head.rows import influence_rows

        made = self._made_for
        if made is not None and made[0] is pruned and made[1] == size:
            return
        own = self._problem.rows
        # The rows of before go first.
        self.go_back()
        expansion = Expansion.around(self._head.kept(~pruned, clock=clock), pruned, theta)
        self.rows = influence_rows(
            self._head,
            dtype=own.dtype,
            storage="factored" if own.dense() is None else "dense",
            around=(expansion, size),
            clock=clock,
        )
        self._made_for = (pruned, size)

    def predict(self, mask: BoolArray) -> float:
        """Say how far these rows let the head move without the pruned examples (n,)."""
        objective = self._head.objective_function
        weight = float(mask.sum())
        if objective.weights is not None:
            weight = float(objective.weights.cpu().numpy()[mask].sum())
        return euclidean(self.rows.sum(mask)) / (1.0 - weight / objective.total)

    @property
    def _head(self) -> Head:
        assert self._problem.head is not None
        return self._problem.head

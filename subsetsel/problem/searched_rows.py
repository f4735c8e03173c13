"""The rows that are searched: an expansion of the refitted head around no set, or around one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.problem.arguments import Metric, Storage
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, Rows, euclidean
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.memory import most_held

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head


@dataclass(frozen=True)
class Move:
    """How far the head moves without a pruned set, in the metric that is searched.

    In the metric ``"loss"`` that is the root of twice the rise of the training objective on all
    examples, to second order.

    Attributes
    ----------
    refitted : float
        By the refit.
    first_order : float
        By the rows of Eq. 2.
    searched : float
        By the rows that were searched.
    """

    refitted: float
    first_order: float
    searched: float


class SearchedRows:
    """One expansion at a time, beside the S of the problem.

    Parameters
    ----------
    problem : Problem
        With a head.
    metric : {"parameter", "loss"}
        What is searched. The norms of the problem stay changes of parameters.
    """

    def __init__(self, problem: Problem, metric: Metric = "parameter") -> None:
        self._problem = problem
        self.metric: Metric = metric
        # Those of Eq. 2; in the metric "loss" they are made when they are asked for.
        self._first: Rows | None = problem.rows if metric == "parameter" else None
        self._expanded: Rows | None = None
        self._made_for: tuple[BoolArray, int] | None = None

    @property
    def rows(self) -> Rows:
        """What is searched now."""
        if self._expanded is not None:
            return self._expanded
        return self._formula if self._first is None else self._first

    def go_back(self, clock: Clock = NO_CLOCK) -> None:
        """Search the rows of Eq. 2, an expansion around the empty set."""
        self._expanded = self._made_for = None
        if self._first is None:
            self._first = self._make(clock)

    def expand(self, pruned: BoolArray, theta: FloatArray, size: int, clock: Clock) -> None:
        """Search, at a size, an expansion around a pruned set (n,) and its refit (C, q).

        The array ``pruned`` stands for the set: the same array asks for the same expansion.
        """
        from subsetsel.influence.head.expansion import Expansion

        made, own = self._made_for, self._problem.rows
        if made is not None and made[0] is pruned and made[1] == size:
            return
        # The rows of before go first. Two S fit the memory that is planned with, three may not.
        self._expanded = self._made_for = None
        if self.metric == "loss" and 3 * own.n * own.d * own.dtype.itemsize > most_held():
            self._first = None
        expansion = Expansion.around(self._head.kept(~pruned, clock=clock), pruned, theta)
        self._expanded = self._make(clock, around=(expansion, size))
        self._made_for = (pruned, size)

    def _make(self, clock: Clock, **more: Any) -> Rows:
        from subsetsel.influence.head.rows import influence_rows

        own = self._problem.rows
        storage: Storage = "factored" if own.dense() is None else "dense"
        return influence_rows(
            self._head, metric=self.metric, dtype=own.dtype, storage=storage, clock=clock, **more
        )

    def predict(self, mask: BoolArray) -> float:
        """Say how far the rows that are searched let the head move without examples (n,)."""
        return self._predict(self.rows, mask)

    def move(self, mask: BoolArray, theta: FloatArray) -> Move:
        """Say how far the head moves without the pruned examples (n,), refitted to (C, q)."""
        return Move(
            refitted=self._length(theta),
            first_order=self._predict(self._formula, mask),
            searched=self._predict(self.rows, mask),
        )

    @cached_property
    def _formula(self) -> Rows:
        """The rows of Eq. 2 for sums alone, which take no n x d numbers."""
        from subsetsel.influence.head.rows import influence_rows

        if self.metric == "parameter":
            return self._problem.rows
        return influence_rows(self._head, metric=self.metric, storage="factored")

    def _length(self, theta: FloatArray) -> float:
        """Length of the way from the head to other parameters (C, q)."""
        head = self._head
        if self.metric == "parameter":
            return float(np.linalg.norm(theta - head.theta))
        objective, start = head.objective_function, head.to_scaled(head.theta)
        moved = (objective.basis.T @ (head.to_scaled(theta) - start)).reshape(-1, 1)
        return math.sqrt(float((moved * objective.multiply(start, moved)).sum()))

    def _predict(self, rows: Rows, mask: BoolArray) -> float:
        """Say how far rows let the head move without the pruned examples (n,)."""
        return euclidean(rows.sum(mask)) / self._problem.kept_share(mask)

    @property
    def _head(self) -> Head:
        assert self._problem.head is not None
        return self._problem.head

"""Where a search begins: the relaxed optimum, and the subset that a continuation leads it to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.bounds.descent import Descent
from subsetsel.bounds.dual import BALANCED, CANCELLING, drift_of, is_drifting, norm_along
from subsetsel.bounds.relaxation import Relaxation
from subsetsel.engine.run import Run
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

from ._continuation import settle
from ._margin import Margin

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

# Rows near the margin that take part in the continuation of Eq. 3: so many for each weight between
# 0 and 1, but at least _FEWEST; their copy takes at most _COPY_BYTES.
_PER_OPEN, _FEWEST, _COPY_BYTES = 10, 1000, 256 * 2**20
# First weights of Eq. 4 differ by this share, so that equal rows do not move together.
_JITTER = 0.2
# The relaxed minimum of Eq. 4 is reached where a sweep of all rows lowers the norm by less than
# _STEADY of it, and misses the limits by less than _MISSED a row. Every fifth sweep takes all rows.
_STEADY, _MISSED, _MOST_SWEEPS, _FULL_EVERY = 1e-4, 1e-5, 200, 5


def no_margin(problem: Problem) -> Margin:
    """Where the rows cancel, or nothing is known, a flip costs no more than its row."""
    zeros = np.zeros(problem.n)
    return Margin(zeros, zeros, 0.0)


def margin_of(problem: Problem, relaxation: Relaxation) -> Margin:
    """Describe the relaxation of Eq. 3."""
    assert problem.epsilon is not None
    rows, dual = problem.rows, relaxation.dual
    typical = float(np.sqrt(rows.squared_norms.mean())) or 1.0
    slope = float(np.linalg.norm(dual.u))
    # With epsilon = 0 the energy still needs a scale.
    radius = max(problem.epsilon, 1e-6 * typical)
    # Radii and slopes may lie hundreds of decades apart.
    lam = max(radius / slope if slope > 0 else radius * typical, 1e-280)
    worth = np.ones(problem.n)
    if len(problem.constraints):
        worth -= problem.constraints.matrix.T @ dual.y
    prices, costs = 2.0 * lam * worth, 2.0 * lam * np.abs(dual.reduced_costs)
    least = min(radius, problem.epsilon) ** 2 - float(prices @ relaxation.weights)
    costs[(relaxation.weights > 0) & (relaxation.weights < 1)] = 0.0
    return Margin(prices, costs, least, lam)


class Start:
    """Leads weights to a subset.

    Parameters
    ----------
    problem : Problem
    options : AnnealOptions
    run : Run
    """

    def __init__(self, problem: Problem, options: AnnealOptions, run: Run) -> None:
        self.problem, self.options, self.run = problem, options, run
        self.rows, self.free = problem.rows, np.flatnonzero(problem.free)
        self.scale = float(np.median(self.rows.squared_norms[self.free]))
        self.relaxed: Descent | None = None

    # --- Eq. 3 ----------------------------------------------------------------------------------

    def near_margin(
        self, margin: Margin, relaxation: Relaxation, rng: np.random.Generator, seconds: float
    ) -> BoolArray | None:
        """Settle the rows nearest to the margin of Eq. 3; all others are as the margin has them."""
        problem = self.problem
        num_open = int(np.count_nonzero((relaxation.weights > 0) & (relaxation.weights < 1)))
        most = max(_COPY_BYTES // (self.rows.d * self.rows.dtype.itemsize), 1)
        num = min(max(_FEWEST, _PER_OPEN * num_open), self.free.size, most)
        costs = margin.costs[self.free]
        core = np.sort(self.free[np.argsort(costs, kind="stable")[:num]])
        mask = (relaxation.dual.reduced_costs > 0) & problem.free | problem.must_prune
        values = mask.astype(np.float64)
        values[core] = relaxation.weights[core]
        mask[core] = False
        rows, part = self.rows.take(core), values[core].copy()
        total = self.run.sum_of(mask) + part @ rows.astype(np.float64)
        columns, penalties = self._limits(values, core)
        weights = Descent(
            self.rows.squared_norms[core],
            part,
            total,
            columns,
            penalties=penalties / margin.lam,
            lam=margin.lam,
            radius=problem.epsilon,
        )
        num_stages = max(2, round(self.options.num_stages * self.run.effort))
        inside = np.arange(core.size)
        chosen = settle(
            weights, rows, inside, self.run, rng, num_stages=num_stages, seconds=seconds
        )
        if chosen is None:
            return None
        mask[core] = chosen
        return self._within_limits(mask, rng)

    # --- Eq. 4 ----------------------------------------------------------------------------------

    def relax(self, rng: np.random.Generator, seconds: float) -> Margin:
        """Find the relaxed minimum of Eq. 4, where the rows share a direction; its prices."""
        problem, started = self.problem, time.perf_counter()
        if not is_drifting(problem):
            return no_margin(problem)
        weights = self._equal_weights(rng)
        rows, everyone, items = self.rows.search_matrix(), np.arange(problem.n), self.free
        before = np.inf
        for number in range(_MOST_SWEEPS):
            is_full = number % _FULL_EVERY == 0
            swept = rng.permutation(self.free if is_full else items)
            weights.sweep(rows, everyone, swept, self.run.should_stop)
            self.run.add_iterations(swept.size)
            now = weights.weights[swept]
            items = swept[(now > 0) & (now < 1)]
            if self.run.should_stop() or time.perf_counter() - started > seconds:
                break
            if is_full:
                weights.lift()
                columns = weights.columns
                outside = columns.activity - np.clip(columns.activity, columns.lower, columns.upper)
                length = weights.length()
                is_met = float(np.abs(outside).max()) <= _MISSED * self.free.size
                if is_met and length > (1.0 - _STEADY) * before:
                    break
                before = length
        length = weights.length()
        if length <= CANCELLING * float(np.linalg.norm(self.rows.total)):
            return no_margin(problem)
        self.relaxed = weights
        matrix = self._all_limits().matrix
        prices = -2.0 * (matrix.T @ weights.multipliers)
        least = length if len(problem.constraints) else norm_along(problem, weights.total)
        costs = np.abs(2.0 * self.rows.dot(weights.total) - prices)
        return Margin(
            prices, costs, least**2 - float(prices @ weights.weights), 0.0, weights.total.copy()
        )

    def whole(self, rng: np.random.Generator, seconds: float) -> BoolArray | None:
        """Settle all rows for Eq. 4, from the relaxed minimum where there is one."""
        problem = self.problem
        weights = self.relaxed if self.relaxed is not None else self._mixed_weights(rng)
        num_stages = max(2, round(self.options.num_stages * self.run.effort))
        mask = settle(
            weights,
            self.rows.search_matrix(),
            self.free,
            self.run,
            rng,
            num_stages=num_stages,
            seconds=seconds,
        )
        self.relaxed = None
        if mask is None:
            return None
        return self._with_size(self._within_limits(mask, rng))

    def _equal_weights(self, rng: np.random.Generator) -> Descent:
        problem = self.problem
        assert problem.size is not None
        share = (problem.size - np.count_nonzero(problem.must_prune)) / self.free.size
        return self._descent(np.full(self.free.size, share), rng, None)

    def _mixed_weights(self, rng: np.random.Generator) -> Descent:
        """Weights that keep rows of all sizes on both sides.

        Without a limit the concave term sends most large rows to the side with more examples. The
        limit keeps the mean rank of the norms among the pruned. Where pruned and kept rows have the
        same norm, the side with fewer examples gets small rows more often, since their sum is
        easier to bring to 0.
        """
        problem = self.problem
        assert problem.size is not None
        share = (problem.size - np.count_nonzero(problem.must_prune)) / self.free.size
        fewer = min(share, 1.0 - share)
        ranks = np.empty(self.free.size)
        norms = self.rows.squared_norms[self.free]
        ranks[np.argsort(norms, kind="stable")] = np.linspace(0.0, 1.0, self.free.size)
        is_balanced = drift_of(problem) <= BALANCED
        tilt = self.options.tilt * (1.0 - 2.0 * fewer) if is_balanced else 0.0
        chances = fewer * (1.0 + tilt * (1.0 - 2.0 * ranks))
        kept = ranks if is_balanced else (ranks <= 0.25).astype(np.float64)
        return self._descent(chances if share <= 0.5 else 1.0 - chances, rng, kept)

    def _descent(
        self, chances: FloatArray, rng: np.random.Generator, ranks: FloatArray | None
    ) -> Descent:
        problem = self.problem
        side = np.where(chances <= 0.5, 1.0, -1.0)
        least = np.minimum(chances, 1.0 - chances)
        least *= 1.0 + _JITTER * (rng.random(chances.size) - 0.5)
        values = problem.must_prune.astype(np.float64)
        values[self.free] = np.where(side > 0, least, 1.0 - least)
        kept = None
        if ranks is not None:
            kept = np.zeros(problem.n)
            kept[self.free] = ranks
        columns, penalties = self._limits(values, None, kept)
        total = self.rows.sum(values)
        return Descent(self.rows.squared_norms, values, total, columns, penalties=penalties)

    def _with_size(self, mask: BoolArray | None) -> BoolArray | None:
        """Flip the smallest rows until the size is right."""
        problem = self.problem
        if mask is None or len(problem.constraints):
            return mask
        assert problem.size is not None
        surplus = int(np.count_nonzero(mask)) - problem.size
        candidates = self.free[mask[self.free] == (surplus > 0)]
        order = np.argsort(self.rows.squared_norms[candidates], kind="stable")
        mask[candidates[order[: abs(surplus)]]] = surplus < 0
        return mask

    # --- limits ---------------------------------------------------------------------------------

    def _all_limits(self) -> Constraints:
        """The linear limits, the size among them."""
        problem = self.problem
        limits = problem.constraints
        if problem.form == "max_size" and not problem.is_capped:
            return limits
        size = float(problem.size if problem.size is not None else problem.max_size)
        least = size if problem.form == "min_norm" else -np.inf
        return Constraints.build(problem.n, [(np.ones(problem.n), least, size)]).join(limits)

    def _limits(
        self, weights: FloatArray, items: IndexArray | None, kept: FloatArray | None = None
    ) -> tuple[object, FloatArray]:
        """Columns and penalties; an example too many costs as much as a typical row."""
        limits = self._all_limits()
        if kept is not None:
            wanted = float(kept @ weights)
            limits = limits.join(Constraints.build(self.problem.n, [(kept, wanted, wanted)]))
        largest = np.ones(len(limits))
        np.maximum.at(largest, limits.matrix.indices, np.abs(limits.matrix.data))
        return limits.columns(weights, items), self.scale / largest**2

    def _within_limits(self, mask: BoolArray, rng: np.random.Generator) -> BoolArray | None:
        if not len(self.problem.constraints):
            return mask
        return find_mask(self.problem, wanted=mask, seed=int(rng.integers(2**31)))

"""Where a search begins: the subset that a continuation leads to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.bounds.descent import Descent
from subsetsel.bounds.dual import (
    BALANCED,
    CANCELLING,
    drift_of,
    is_drifting,
    norm_along,
    shared_by,
)
from subsetsel.bounds.relaxation import Relaxation
from subsetsel.engine.run import Run
from subsetsel.problem.constraints import Columns, Constraints
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

from ._continuation import settle
from ._core import MOST_PASSES, RESIDUAL, draw_core, has_core
from ._margin import Margin

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

# Eq. 3 settles the rows nearest to the margin: so many for each weight between 0 and 1, but at
# least _FEWEST; their copy takes at most _COPY_BYTES.
_PER_OPEN, _FEWEST, _COPY_BYTES = 10, 1000, 256 * 2**20
# First weights of Eq. 4 differ by this share, so that equal rows do not move together.
_JITTER = 0.2
# Where the rows do not share a direction, the smallest quarter keeps its share of the pruned.
_SMALLEST = 0.25
# The relaxed minimum of Eq. 4 is reached where a sweep of all rows lowers the norm by less than
# _STEADY of it, and misses the limits by less than _MISSED a row. Every fifth sweep takes all rows.
_STEADY, _MISSED, _MOST_SWEEPS, _FULL_EVERY = 1e-4, 1e-5, 200, 5
# Iterations for each row from which on a core is worth its sweeps.
_MOVES = 30
# Shares of the time and the iterations: for the relaxed minimum, and for the continuation.
_RELAXING_SHARE, _SETTLING_SHARE = 0.4, {"max_size": 0.5, "min_norm": 0.8}


@dataclass(frozen=True)
class Begun:
    """A start: the subset (n,), who may be walked from there, and the visits it took."""

    mask: BoolArray
    items: IndexArray
    num_visits: int = 0


class Start:
    """Leads weights to a subset.

    Parameters
    ----------
    problem : Problem
        Its rows can be read one by one.
    options : AnnealOptions
    run : Run
    """

    def __init__(self, problem: Problem, options: AnnealOptions, run: Run) -> None:
        self.problem, self.options, self.run = problem, options, run
        self.rows, self.free = problem.rows, np.flatnonzero(problem.free)
        norms = self.rows.squared_norms[self.free]
        self.scale = float(np.median(norms[norms > 0])) if norms.any() else 1.0
        self.num_stages = round(options.num_stages * run.effort)
        share = options.start_share
        self.share = _SETTLING_SHARE[problem.form] if share is None else share
        self._relaxed: tuple[FloatArray, FloatArray] | None = None

    # --- Eq. 3 ----------------------------------------------------------------------------------

    def near_margin(
        self, margin: Margin, relaxation: Relaxation, rng: np.random.Generator, moves: float
    ) -> Begun | None:
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
            radius=margin.radius,
        )
        chosen = settle(
            weights,
            rows,
            np.arange(core.size),
            self.run,
            rng,
            num_stages=self.num_stages,
            share=self.share,
            moves=moves,
        )
        if chosen is None:
            return None
        mask[core] = chosen
        found = self._within_limits(mask, rng)
        return None if found is None else Begun(found, self.free, weights.num_visits)

    # --- Eq. 4 ----------------------------------------------------------------------------------

    def relax(self, rng: np.random.Generator) -> Margin:
        """Find the relaxed minimum of Eq. 4, where the rows share a direction; its prices."""
        problem, run, started = self.problem, self.run, time.perf_counter()
        seconds, moves = _RELAXING_SHARE * run.remaining, run.iterations_left
        most = np.inf if moves is None else _RELAXING_SHARE * moves
        if not is_drifting(problem) or most < self.free.size:
            return Margin.without(problem)
        weights = self._descent(np.full(self.free.size, self._pruned_share()), rng, None)
        rows, everyone, items = self.rows.search_matrix(), np.arange(problem.n), self.free
        before, visited = np.inf, 0
        for number in range(_MOST_SWEEPS):
            is_full = number % _FULL_EVERY == 0
            swept = rng.permutation(self.free if is_full else items)
            weights.sweep(rows, everyone, swept, run.should_stop)
            run.add_iterations(swept.size)
            visited += swept.size
            now = weights.weights[swept]
            items = swept[(now > 0) & (now < 1)]
            is_late = time.perf_counter() - started > seconds or visited > most
            if run.should_stop() or is_late:
                break
            if is_full:
                weights.lift()
                length = weights.length()
                if _is_met(weights, self.free.size) and length > (1.0 - _STEADY) * before:
                    break
                before = length
        return self._margin_at(weights)

    def _margin_at(self, weights: Descent) -> Margin:
        """Describe the relaxed minimum; nothing where the rows cancel after all."""
        problem, length = self.problem, weights.length()
        if length <= CANCELLING * float(np.linalg.norm(shared_by(problem))):
            return Margin.without(problem)
        self._relaxed = weights.weights, weights.multipliers
        prices = -2.0 * (self._all_limits().matrix.T @ weights.multipliers)
        # The weights may be some examples short; the bound along their sum is not.
        least = length if len(problem.constraints) else norm_along(problem, weights.total)
        costs = np.abs(2.0 * self.rows.dot(weights.total) - prices)
        least_energy = least**2 - float(prices @ weights.weights)
        return Margin(prices, costs, least_energy, total=weights.total.copy())

    def whole(self, margin: Margin, rng: np.random.Generator, moves: float) -> Begun | None:
        """Settle all rows for Eq. 4, from the relaxed minimum where there is one.

        Where the rows cancel and are far more than their dimension, a core of them is enough.
        """
        if self._relaxed is None and has_core(self.problem) and moves >= _MOVES * self.free.size:
            items, weights = self._balanced(rng)
        else:
            items, weights = self.free, self._weights(rng)
        mask = settle(
            weights,
            self.rows.search_matrix(),
            items,
            self.run,
            rng,
            num_stages=self.num_stages,
            share=self.share,
            moves=moves - weights.num_visits,
        )
        if mask is None:
            if margin.total is None:
                return None
            # There is no time for more, and the slopes decide most examples.
            mask = self._steepest(margin, margin.total)
        found = self._within_limits(mask, rng)
        return None if found is None else Begun(self._with_size(found), items, weights.num_visits)

    def _balanced(self, rng: np.random.Generator) -> tuple[IndexArray, Descent]:
        """Round all weights but a core's; none, where the core could not take what that leaves."""
        problem, free = self.problem, self.free
        norms = self.rows.squared_norms
        core, others = draw_core(free[np.argsort(norms[free], kind="stable")], problem.d, rng)
        values = problem.must_prune.astype(np.float64)
        num = (problem.size or 0) - int(np.count_nonzero(problem.must_prune))
        inside = min(max(core.size // 2, num - others.size), num)
        values[rng.choice(others, num - inside, replace=False)] = 1.0
        values[core] = inside / core.size
        weights = self._descent_at(values, None)
        weights.diagonal[others] = np.inf
        lengths = np.sqrt(norms[core])
        goal = RESIDUAL * float(lengths.sum()) / np.sqrt(problem.d)
        matrix, everyone = self.rows.search_matrix(), np.arange(problem.n)
        for _ in range(MOST_PASSES):
            weights.sweep(matrix, everyone, rng.permutation(others), self.run.should_stop)
            self.run.add_iterations(others.size)
            if weights.length() <= goal:
                return core, weights
        whole = self._weights(rng)
        whole.num_visits = weights.num_visits
        return free, whole

    def _pruned_share(self) -> float:
        """Share of the free examples that is to be pruned."""
        problem = self.problem
        assert problem.size is not None
        return (problem.size - np.count_nonzero(problem.must_prune)) / self.free.size

    def _weights(self, rng: np.random.Generator) -> Descent:
        """Give weights to settle: the relaxed minimum, or rows of all sizes on both sides.

        Without a limit the concave term sends most large rows to the side with more examples. The
        limit keeps the mean rank of the norms among the pruned. Where pruned and kept rows have the
        same norm, the side with fewer examples gets small rows more often, since their sum is
        easier to bring to 0.
        """
        if self._relaxed is not None:
            values, multipliers = self._relaxed
            weights = self._descent_at(values.copy(), None)
            weights.multipliers[:] = multipliers
            return weights
        share = self._pruned_share()
        fewer = min(share, 1.0 - share)
        ranks = np.empty(self.free.size)
        norms = self.rows.squared_norms[self.free]
        ranks[np.argsort(norms, kind="stable")] = np.linspace(0.0, 1.0, self.free.size)
        is_balanced = drift_of(self.problem) <= BALANCED
        tilt = self.options.tilt * (1.0 - 2.0 * fewer) if is_balanced else 0.0
        chances = fewer * (1.0 + tilt * (1.0 - 2.0 * ranks))
        kept = ranks if is_balanced else (ranks <= _SMALLEST).astype(np.float64)
        return self._descent(chances if share <= 0.5 else 1.0 - chances, rng, kept)

    def _descent(
        self, chances: FloatArray, rng: np.random.Generator, kept: FloatArray | None
    ) -> Descent:
        """Weights about these chances (of the free examples); ``kept`` is what a limit keeps."""
        side = np.where(chances <= 0.5, 1.0, -1.0)
        least = np.minimum(chances, 1.0 - chances)
        least *= 1.0 + _JITTER * (rng.random(chances.size) - 0.5)
        values = self.problem.must_prune.astype(np.float64)
        values[self.free] = np.where(side > 0, least, 1.0 - least)
        return self._descent_at(values, kept)

    def _descent_at(self, values: FloatArray, kept: FloatArray | None) -> Descent:
        of_all = None
        if kept is not None:
            of_all = np.zeros(self.problem.n)
            of_all[self.free] = kept
        columns, penalties = self._limits(values, None, of_all)
        total = self.problem.sum(values)
        return Descent(self.rows.squared_norms, values, total, columns, penalties=penalties)

    def _steepest(self, margin: Margin, total: FloatArray) -> BoolArray:
        """Prune the examples that lower the norm most at the relaxed minimum."""
        problem = self.problem
        assert problem.size is not None
        slopes = 2.0 * self.rows.dot(total) - margin.prices
        slopes = np.where(problem.must_prune, -np.inf, slopes)
        slopes[problem.must_keep] = np.inf
        mask = np.zeros(problem.n, dtype=np.bool_)
        mask[np.argsort(slopes, kind="stable")[: problem.size]] = True
        return mask

    def _with_size(self, mask: BoolArray) -> BoolArray:
        """Flip the smallest rows until the size is right."""
        problem = self.problem
        if len(problem.constraints):
            return mask
        assert problem.size is not None
        surplus = int(np.count_nonzero(mask)) - problem.size
        candidates = self.free[mask[self.free] == (surplus > 0)]
        order = np.argsort(self.rows.squared_norms[candidates], kind="stable")
        mask[candidates[order[: abs(surplus)]]] = surplus < 0
        return mask

    # --- limits ---------------------------------------------------------------------------------

    def _all_limits(self) -> Constraints:
        """Give the linear limits, the size among them."""
        problem = self.problem
        limits = problem.constraints
        if problem.form == "max_size" and not problem.is_capped:
            return limits
        size = float(problem.size if problem.size is not None else problem.max_size)
        least = size if problem.form == "min_norm" else -np.inf
        return Constraints.build(problem.n, [(np.ones(problem.n), least, size)]).join(limits)

    def _limits(
        self, weights: FloatArray, items: IndexArray | None, kept: FloatArray | None = None
    ) -> tuple[Columns, FloatArray]:
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
        seed = int(rng.integers(2**31))
        return find_mask(self.problem, wanted=mask, seed=seed, clock=self.run.clock)


def _is_met(weights: Descent, num_rows: int) -> bool:
    """Whether the weights meet the limits closely."""
    columns = weights.columns
    outside = columns.activity - np.clip(columns.activity, columns.lower, columns.upper)
    return float(np.abs(outside).max()) <= _MISSED * num_rows

"""A start for Eq. 4: weights between 0 and 1, led to a subset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from subsetsel.bounds.dual import is_drifting, norm_along
from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

from ._chains import search_rows
from ._continuation import Weights, relax_weights, settle, springs_of

# Shares of the remaining time, for the relaxed minimum and for the way to a subset.
_RELAXING_SHARE, _SETTLING_SHARE = 0.4, 0.8
Balance = Literal["norms", "small", "free"]
# Giants are rows above _GIANT times a typical squared norm; small are the smallest rows, up to this
# share of all.
_GIANT, _SMALL = 20.0, 0.25
# Where few are pruned or kept, the first weights fall with this power of the squared norm, and less
# the nearer their share is to a half. Squared norms count as at most _WIDEST times larger or
# smaller than a typical one, and no first weight is above _MOST_CHANCE. All measured.
_TILT, _WIDEST, _MOST_CHANCE = 0.3, 30.0, 0.9
# Below this ||S^T 1|| counts as 0, in units of what independent rows of these lengths would give.
_BALANCED = 0.1
# Equal weights differ by this share, so that equal rows do not move together.
_JITTER = 0.2
# Examples whose flip costs more than _REACH temperatures stay where they are, as long as _FEWEST
# examples may move.
_REACH, _FEWEST = 5.0, 1000
# Below this share of ||S^T 1|| the relaxed minimum says nothing: the rows cancel.
_CANCELS = 1e-3
_NUM_HALVINGS = 60


@dataclass(frozen=True)
class Margin:
    """What flips cost at the relaxed minimum of Eq. 4, where the rows' sum is far from zero.

    No subset comes near 0 then, and a search can only gain from the few examples whose flip costs
    little, as under Eq. 3. ``total`` is S^T w (d,) there, ``least`` the least norm of weights of
    the size asked for, ``costs`` (n,) what each flip adds to the squared norm, to first order.
    """

    total: FloatArray
    least: float
    costs: FloatArray
    num_dimensions: int

    @classmethod
    def at(cls, problem: Problem, total: FloatArray, slopes: FloatArray) -> Margin | None:
        """Describe the relaxed minimum S^T w (d,); None where the rows cancel after all.

        ``slopes`` (n,) are those of half the squared norm in each weight, linear limits included.
        """
        least = float(np.linalg.norm(total))
        if least <= _CANCELS * float(np.linalg.norm(problem.rows.total)):
            return None
        if not len(problem.constraints):
            # The weights may be some examples short.
            least = norm_along(problem, total)
        return cls(total, least, 2.0 * np.abs(slopes), min(problem.d, problem.n))

    def temperature(self, norm: float) -> float:
        """Temperature whose equilibrium is as far above the relaxed minimum as a subset's norm."""
        excess = max(float(norm) ** 2 - self.least**2, 0.0)
        low, high = 0.0, 2.0 * excess / self.num_dimensions
        for _ in range(_NUM_HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if self._energy(middle) > excess else (middle, high)
        return high

    def _energy(self, temperature: float) -> float:
        """Above the least norm: half a temperature a dimension, and flips that happen at a cost."""
        if temperature <= 0.0:
            return 0.0
        flips = self.costs / (1.0 + np.exp(np.minimum(self.costs / temperature, 700.0)))
        return 0.5 * self.num_dimensions * temperature + float(flips.sum())

    def core(self, free: IndexArray, temperature: float) -> IndexArray:
        """Those of the free examples that a temperature can move."""
        costs = self.costs[free]
        if free.size <= _FEWEST:
            return free
        least = float(np.partition(costs, _FEWEST)[_FEWEST])
        return free[costs <= max(_REACH * temperature, least)]


def settled_start(
    problem: Problem, run: Run, rng: np.random.Generator, quota: int | None
) -> tuple[BoolArray, Margin | None] | None:
    """Lead weights to a subset of the size asked for, in at most about ``quota`` row updates.

    Gives the subset, and the relaxed minimum if no subset comes near 0; None where there is no
    time for it, or the rows are not exact.
    """
    rows, _, is_exact = search_rows(problem, problem.must_prune)
    if not is_exact:
        return None
    items, margin, is_there = np.flatnonzero(problem.free), None, False
    few = None if quota is None else quota // 4
    if is_drifting(problem) and (few is None or few >= items.size):
        weights = _first_weights(problem, rows, items, rng, "free")
        slopes, is_there = relax_weights(weights, run, rng, share=_RELAXING_SHARE, quota=few)
        if run.should_stop():
            return None
        margin = Margin.at(problem, weights.total.astype(np.float64), slopes)
    if margin is None:
        balance: Balance = "norms" if sums_to_zero(problem) else "small"
        weights = _first_weights(problem, rows, items, rng, balance)
    mask = None
    if margin is None or is_there:
        few = None if quota is None else quota // 2
        mask = settle(weights, run, rng, share=_SETTLING_SHARE, quota=few)
    if mask is None and margin is not None:
        # There is no time for more, and the slopes decide most examples.
        mask = _steepest(problem, slopes)
    if mask is None:
        return None
    if len(problem.constraints):
        mask = find_mask(problem, wanted=mask, seed=int(rng.integers(2**31)))
        return None if mask is None else (mask, margin)
    # The size may be a few examples off: flip those that cost least.
    costs = problem.rows.squared_norms if margin is None else margin.costs
    assert problem.size is not None
    surplus = int(np.count_nonzero(mask)) - problem.size
    candidates = items[mask[items] == (surplus > 0)]
    cheapest = candidates[np.argsort(costs[candidates], kind="stable")[: abs(surplus)]]
    mask[cheapest] = surplus < 0
    return mask, margin


def _steepest(problem: Problem, slopes: FloatArray) -> BoolArray:
    """Prune the examples that lower the norm most, as many as asked for."""
    assert problem.size is not None
    order = np.where(problem.must_prune, -np.inf, np.where(problem.must_keep, np.inf, slopes))
    mask = np.zeros(problem.n, dtype=np.bool_)
    mask[np.argpartition(order, problem.size)[: problem.size]] = True
    return mask


def sums_to_zero(problem: Problem) -> bool:
    """Whether pruned and kept rows sum to the same norm, as for a head whose ridge is included."""
    total = float(np.linalg.norm(problem.rows.total))
    return total <= _BALANCED * float(np.sqrt(problem.rows.squared_norms.sum()))


def _first_weights(
    problem: Problem,
    rows: AnyFloatArray,
    items: IndexArray,
    rng: np.random.Generator,
    balance: Balance,
) -> Weights:
    """Give all examples that may move about the same weight, and preserve what ``balance`` names.

    Without a spring the concave term sends most rows to the nearer side. "norms" preserves the
    pruned share of all squared norms, with giants counted as large rows; the side with fewer
    examples gets small rows more often, since their sum is easier to bring to 0. "small" preserves
    how many small rows are pruned, so that swaps find some on both sides. "free" preserves nothing.
    """
    assert problem.size is not None
    norms = problem.rows.squared_norms
    wanted = (problem.size - np.count_nonzero(problem.must_prune)) / items.size
    fewer, scale = min(wanted, 1.0 - wanted), float(np.median(norms[items]))
    chances = np.full(items.size, fewer)
    if balance == "norms" and scale > 0:
        relative = np.clip(norms[items] / scale, 1.0 / _WIDEST, _WIDEST)
        relative **= -_TILT * (1.0 - 2.0 * fewer)
        chances = np.minimum(fewer * relative / relative.mean(), _MOST_CHANCE)
    chances *= 1.0 + _JITTER * (rng.random(items.size) - 0.5)
    values = problem.must_prune.astype(np.float64)
    values[items] = chances if wanted <= 0.5 else 1.0 - chances
    preserved = None
    if balance == "norms":
        counted = np.minimum(norms, _GIANT * scale) if scale > 0 else norms
        largest = float(counted.max()) or 1.0
        preserved = counted / largest, largest
    elif balance == "small":
        preserved = (norms <= np.quantile(norms[items], _SMALL)).astype(np.float64), scale
    springs = springs_of(problem, values, scale, preserved=preserved)
    return Weights(rows, norms, values, values.astype(rows.dtype) @ rows, items, springs)

"""The continuous relaxation of Eq. 3: start point, reduced costs, bound.

Coordinate descent (`subsetsel.bounds.descent`) on all of S and, between two full passes, on the
examples near the margin, with lam led to where ||v0 + S^T w|| = epsilon; then w solves the
relaxation, and u = (v0 + S^T w) / lam its dual. An offset v0 and the examples that must be pruned
are a part that no weight moves. The bound of `subsetsel.bounds.dual` holds at every point (u, y),
so that the search may be cut off at any time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.linalg import norm

from subsetsel.bounds.descent import Descent
from subsetsel.bounds.dual import Dual, evaluate_dual
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

# The ascent ends when the bound is at most this far above the relaxed value: as a share of it, or
# in examples. COARSE is enough for a search to start from; SHARP can prove an incumbent optimal.
COARSE = (5e-5, 0.05)
SHARP = (2e-7, 0.02)
_MAX_ROUNDS = 60
# Rows that are copied for passes over the active examples take at most so many bytes.
_ACTIVE_BYTES = 256 * 2**20
_MIN_ACTIVE = 1000
_MAX_DRIFT = 0.2
_MOST_STRIDE = 30.0
# Until a point within the ball is known where scaling leads to none, a smaller ball is the goal.
_WITHIN = 1.0 - 1e-3


@dataclass(frozen=True)
class Relaxation:
    """The relaxed optimum, as far as the search got.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        Between 0 and 1, or their limits; all but a few are at an end.
    value : float
        Sum of the weights after the free ones are scaled into the ball and under the cap: what the
        relaxation can reach for sure (without linear constraints). 0 where no scaling does it.
    dual : Dual
        u, y, the proven bound and the reduced costs.
    num_passes : float
        Passes over S, or their equivalent.
    solve_time : float
        Seconds.
    """

    weights: FloatArray
    value: float
    dual: Dual
    num_passes: float
    solve_time: float

    @property
    def bound(self) -> float:
        """Proven upper bound on the size."""
        return self.dual.bound


class Shares(NamedTuple):
    """The shares of the free weights with which a point lies within the ball.

    Where none does, both ends are the share that comes closest.
    """

    least: float
    most: float
    is_within: bool


def shares_within(
    moving: FloatArray, fixed: FloatArray, ball: float, extra: tuple[float, float] = (0.0, 0.0)
) -> Shares:
    """Find all t in [0, 1] with ||fixed + t moving||^2 + extra[0] t - extra[1] t^2 <= ball^2."""
    lengths = norm(moving), norm(fixed)
    if lengths[1] == 0.0 and not any(extra):
        return Shares(0.0, min(1.0, ball / float(lengths[0])) if lengths[0] > 0 else 1.0, True)
    unit = max(ball, *map(float, lengths))
    moving, fixed, ball = moving / unit, fixed / unit, ball / unit
    square = float(moving @ moving) - extra[1] / unit**2
    half = float(fixed @ moving) + 0.5 * extra[0] / unit**2
    excess = float(fixed @ fixed) - ball**2
    if square <= 0.0:
        return Shares(0.0, 1.0, max(excess, square + 2.0 * half + excess) <= 0.0)
    under = half**2 - square * excess
    if under < 0.0:
        closest = min(1.0, max(0.0, -half / square))
        return Shares(closest, closest, False)
    # The root of the larger size first; the other without cancellation.
    far = -half - float(np.copysign(np.sqrt(under), half))
    ends = sorted((far / square, excess / far)) if far else (0.0, 0.0)
    least, most = max(0.0, ends[0]), min(1.0, ends[1])
    if least > most:
        closest = 0.0 if ends[1] < 0.0 else 1.0
        return Shares(closest, closest, False)
    return Shares(least, most, True)


class Ascent(Descent):
    """State of one coordinate ascent; it can be run again to a smaller gap.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size" with normalization "full".
    seed : int
        Of the random order of the visits.
    limits : ndarray of shape (n,), optional
        c: the free weights go up to c_i instead of 1, for rows that stand for several.
    lam : float, optional
        The multiplier to begin with, where it is known about.
    """

    def __init__(
        self,
        problem: Problem,
        seed: int = 0,
        *,
        limits: FloatArray | None = None,
        lam: float | None = None,
    ) -> None:
        self.problem = problem
        self.rows = problem.rows
        self.deadline = float("inf")
        self.solve_time = 0.0
        self.num_rounds = 0
        self.rng = np.random.default_rng(seed)
        self.num_passes = 0.0
        self.free = problem.free
        assert problem.epsilon is not None
        squared_norms, constraints = self.rows.squared_norms, problem.constraints
        rms = float(np.sqrt(squared_norms.mean()))
        # epsilon = 0 would need an infinite u. The bound holds with any radius: take a tiny one.
        self.ball = radius = max(problem.epsilon, 1e-6 * rms, 1e-300)
        # What no weight moves: v0 and the examples that must be pruned.
        self.num_fixed = int(problem.must_prune.sum())
        self.fixed = problem.sum(problem.must_prune)
        # Sum of the free weights and total of the longest point within the ball.
        self._inner: tuple[float, FloatArray] | None = None
        # Every free example has the same weight: feasible, and near optimal in direction.
        most = np.ones(problem.n) if limits is None else limits
        is_plain = limits is None and bool(self.free.all())
        pull = self.rows.total if is_plain else self.rows.sum(np.where(self.free, most, 0.0))
        share = shares_within(pull, self.fixed, radius).most
        weights = np.where(self.free, share * most, problem.must_prune.astype(np.float64))
        total = self.fixed + share * pull
        self._given_limits = limits
        self.best = evaluate_dual(problem, total if total.any() else pull, limits=limits)
        slope = float(norm(self.best.u))
        typical = float(np.sqrt(np.median(squared_norms))) or 1.0
        if lam is None:
            lam = radius / slope if slope > 0 else radius * typical
        spread = np.sqrt(np.asarray((constraints.matrix**2).sum(axis=1)).ravel())
        super().__init__(
            squared_norms,
            weights,
            total,
            constraints.columns(weights),
            penalties=1.0 / np.maximum(spread, 1.0),
            lam=lam,
            radius=radius,
            limits=most,
        )
        # The nearer the fixed part is to the ball, the less its length answers to lam.
        left = 1.0 - min(1.0, float(norm(self.fixed)) / radius) ** 2
        self.stretch(1.0 / max(left, 1.0 / _MOST_STRIDE))

    # --- passes ---------------------------------------------------------------------------------

    def is_late(self) -> bool:
        """Whether the time of this run is up."""
        return time.perf_counter() > self.deadline

    def _full_pass(self) -> None:
        """Visit every free example once, block by block, in random order within a block."""
        size = max(self.rows.block_size, 1024)
        starts = np.arange(0, self.rows.n, size)
        for start in self.rng.permutation(starts):
            stop = min(start + size, self.rows.n)
            order = self.rng.permutation(np.flatnonzero(self.free[start:stop]))
            items = np.arange(start, stop)
            self.sweep(self.rows.block(start, stop), items, order, self.is_late)
            if self.is_late():
                break
        self.num_passes += 1
        self.steer()
        self.lift()

    def _active_passes(self, active: IndexArray, max_passes: int, tolerance: float) -> None:
        """Visit only examples whose weight may still move, until they hardly do."""
        rows = self.rows.take(active)
        at_start = self.lam
        for _ in range(max_passes):
            before, lam = self.weights[active], self.lam
            self.sweep(rows, active, self.rng.permutation(len(active)), self.is_late)
            self.num_passes += len(active) / self.rows.n
            self.steer()
            self.lift()
            moved = float(np.abs(self.weights[active] - before).sum())
            is_steady = abs(self.lam / lam - 1.0) * self.best.bound < 0.01 * tolerance
            # After a larger change of lam the other weights must move too: in a full pass.
            has_drifted = abs(np.log(self.lam / at_start)) > _MAX_DRIFT
            if has_drifted or (is_steady and moved < 0.01 * tolerance) or self.is_late():
                break

    # --- outer loop -----------------------------------------------------------------------------

    def _dual(self) -> Dual:
        """Evaluate the bound at this point."""
        u = self.total / self.lam
        return evaluate_dual(self.problem, u, self.multipliers, limits=self._given_limits)

    def _evaluate(self) -> float:
        """Evaluate the bound here, and return the value of weights that are surely feasible."""
        here = self._dual()
        if here.bound <= self.best.bound:
            self.best = here
        self.last = here
        return self._value()

    def _value(self) -> float:
        """Sum of the weights, the free ones scaled into the ball and under the cap.

        -inf where no scaling does it.
        """
        inside = float(self.weights[self.free].sum())
        room = float(self.problem.max_size - self.num_fixed)
        if self._given_limits is not None:
            room = np.inf
        shares = self._shares()
        share = min(shares.most, room / inside) if inside > max(room, 0.0) else shares.most
        value = -float("inf")
        if shares.is_within and share >= shares.least and room >= 0:
            value = share * inside
        elif self._inner is not None and self._inner[0] <= room:
            # Near the fixed part scaling may lead out of the ball: go towards a point within.
            at, total = self._inner
            step = shares_within(self.total - total, total, self.ball)
            value = min(room, at + step.most * max(0.0, inside - at))
        if self.fixed.any() and not self.diagonal.any():
            self._keep_inner(inside, is_needed=value == -float("inf"))
        value += self.num_fixed
        # With epsilon = 0 the ball is a little larger than what is allowed.
        return min(value, self.best.bound) if self.ball > self.problem.radius(0) else value

    def _keep_inner(self, inside: float, *, is_needed: bool) -> None:
        """Remember a point within the ball; where there is none, lead lam to a smaller ball."""
        length = self.length()
        if length <= self.ball and (self._inner is None or length > norm(self._inner[1])):
            self._inner = inside, self.total.copy()
        self.radius = _WITHIN * self.ball if is_needed and self._inner is None else self.ball

    def _shares(self) -> Shares:
        """Say by how much the free weights may be scaled within the ball."""
        return shares_within(self.total - self.fixed, self.fixed, self.ball)

    def run(self, gaps: tuple[float, float], time_limit: float = float("inf")) -> Relaxation:
        """Ascend until the gap between bound and relaxed value is small enough or time is up.

        Parameters
        ----------
        gaps : (float, float)
            Relative, and in examples: `COARSE` or `SHARP`.
        time_limit : float
            Seconds.
        """
        started = time.perf_counter()
        self.deadline = started + time_limit
        value = self._evaluate()
        for _ in range(_MAX_ROUNDS):
            tolerance = max(gaps[0] * self.best.bound, gaps[1])
            is_excluded = self.best.bound < self.num_fixed
            if self.best.bound - value <= tolerance or is_excluded or self.is_late():
                break
            # The first rounds find the examples near the margin; later ones check the others.
            for _ in range(4 if self.num_rounds == 0 else 1):
                if not self.is_late():
                    self._full_pass()
            self.num_rounds += 1
            active = self._active()
            if active.size and not self.is_late():
                self._active_passes(active, 40, tolerance)
            value = max(value, self._evaluate())
        self.solve_time += time.perf_counter() - started
        value = max(value, 0.0)
        return Relaxation(self.weights.copy(), value, self.best, self.num_passes, self.solve_time)

    def _active(self) -> IndexArray:
        """Free examples with a fractional weight or a small reduced cost."""
        fractional: BoolArray = (self.weights > 0) & (self.weights < self.limits)
        distance = np.where(self.free, np.abs(self.last.reduced_costs), np.inf)
        distance[fractional] = 0.0
        bytes_per_row = self.rows.d * self.rows.dtype.itemsize
        most = max(_MIN_ACTIVE, min(_ACTIVE_BYTES // bytes_per_row, self.rows.n // 8))
        candidates = np.flatnonzero(distance < 0.1)
        if candidates.size > most:
            nearest = np.argpartition(distance[candidates], most - 1)[:most]
            candidates = np.sort(candidates[nearest])
        return candidates.astype(np.int64)

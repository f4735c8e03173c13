"""From weights between 0 and 1 to a subset: large rows first, small ones absorb the error.

Rounding an open example to 0 or 1 costs up to ||s_i||^2 / 4. So the weights are led to the corners
of the cube by a concave term D_i w_i (1 - w_i) / 2 that grows from the largest rows down: while
large rows settle, small ones are still free and keep S^T w where it should be. What cannot be
absorbed in the end is as small as the smallest rows.

References
----------
Graduated non-convexity: Blake and Zisserman, Visual Reconstruction, MIT Press (1987). Rounding that
keeps linear functions while it can: Lovett and Meka, arXiv:1203.5747.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from subsetsel.bounds.descent import Descent
from subsetsel.engine.run import Run
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

# D reaches down from _TOP times the largest squared norm (_TOP_AIMED with a radius) to _BOTTOM
# times a small one, the quantile _SMALL. Below it D falls with this power of the squared norm. From
# the share 1 of the curvature on a weight is 0 or 1. Measured: with 1.0 for both, Eq. 4 on the
# ridge rows of Fashion-MNIST ends at 1.26 % of random instead of 1.09 %; with 0.3 for both, Eq. 3
# on those without it, at 2 %, loses 9 of 8,040 examples.
_TOP, _TOP_AIMED, _BOTTOM, _SMALL, _POWER = 0.3, 1.0, 0.5, 0.02, 2
# Sweeps of all rows that a stage is worth; as the open rows get fewer they are swept more often, up
# to _MOST_SWEEPS times. Every second stage looks at all rows, since one that is at 0 or 1 may be
# wrong by now.
_SWEEPS_PER_STAGE, _MOST_SWEEPS = 2, 60
# Fewer stages or visits of each row are not worth beginning, more do not lower the norm (measured).
_FEWEST_STAGES, _FEWEST_VISITS, _MOST_STAGES = 6, 24, 2000
# No step is longer than this, even when the time is over.
_LONGEST_STEP = 0.25
# lam takes this share of its full step when all rows were swept, and less when fewer were: they
# cannot answer to more.
_PULL = 0.3
# Weight of the last stage in the moving average of what a stage takes.
_PACE = 0.3
# Eq. 3 is missed where the norm ends above _NEAR epsilon. Then the weights go back to the share
# _BACK of the way, up to _NUM_RETURNS times, and aim _LOWER times below what the miss suggests.
_NEAR, _NUM_RETURNS, _BACK, _LOWER = 1.005, 2, 0.6, 0.98
# So much longer is the way with one return.
_RETURN = 1.0 + (1.0 - _BACK)


def settle(
    weights: Descent,
    rows: AnyFloatArray,
    items: IndexArray,
    run: Run,
    rng: np.random.Generator,
    *,
    num_stages: int,
    share: float,
    moves: float = np.inf,
) -> BoolArray | None:
    """Lead the weights of some items to 0 and 1, and tell who is at 1.

    Parameters
    ----------
    weights : Descent
        Of n examples; it is left at the end of the way.
    rows : ndarray of shape (n, d)
        Of all of them.
    items : ndarray of int64
        Who may move.
    num_stages : int
        Where no time limit sets their number.
    share : float
        Of the remaining time and of the moves, with one return where the radius is missed.
    moves : float
        Visits that may be made, about.

    Returns
    -------
    ndarray of shape (n,), bool, or None
        None where there is no time for it, or there are too few moves.
    """
    norms, goal = weights.squared_norms[items], weights.radius
    positive = norms[norms > 0]
    if not positive.size:
        return weights.weights > rng.random(weights.weights.size)
    curvature = norms + _held_curvature(weights)[items]
    top = (_TOP if goal is None else _TOP_AIMED) * float(positive.max())
    bottom = min(_BOTTOM * float(np.quantile(positive, _SMALL)), top)
    plan = _Plan(
        run, max(_FEWEST_STAGES, num_stages), share if goal is None else share / _RETURN, moves
    )
    if plan.moves < _FEWEST_VISITS * items.size:
        return None
    way, is_full = _Way(weights, rows, items, run, rng), True
    done, num_returns = 0.0, 0 if goal is None else _NUM_RETURNS
    # Before any is rounded, giants that nothing can cancel go to the side where they do no harm.
    way.stage(np.ones(items.size, dtype=np.bool_), 1)
    while True:
        convexity_lost = (norms / (top * (bottom / top) ** done)) ** _POWER
        weights.diagonal[items] = np.where(convexity_lost < 1.0, convexity_lost * curvature, np.inf)
        values = weights.weights[items]
        is_open = (values > 0) & (values < 1)
        if goal is not None:
            # The margin's rows are few. All swept, they end inside the ball: of 40 small instances
            # none ended above 1.005 epsilon, and 19 otherwise.
            is_swept = np.ones(items.size, dtype=np.bool_)
        else:
            is_swept = is_open | (convexity_lost < 1) if is_full else is_open
        num_sweeps = _SWEEPS_PER_STAGE * items.size // max(int(np.count_nonzero(is_open)), 1)
        visited = way.stage(is_swept, 1 + min(_MOST_SWEEPS, num_sweeps))
        left = plan.left(visited)
        if run.should_stop():
            break
        if done >= 1.0:
            if not num_returns or goal is None or weights.length() <= _NEAR * goal:
                break
            assert weights.radius is not None
            weights.radius *= _LOWER * goal / weights.length()
            done, num_returns = _BACK, num_returns - 1
            left = plan.extend(_RETURN - 1.0)
        if left is None:
            return None
        # When the time is over, a few long steps still lead to the end.
        step = min(max((1.0 - done) / max(left, 1.0), 1.0 / _MOST_STAGES), _LONGEST_STEP)
        done, is_full = min(1.0, done + step), not is_full
    return weights.weights > rng.random(weights.weights.size)


@dataclass
class _Way:
    """What the weights of some items are swept with."""

    weights: Descent
    rows: AnyFloatArray
    items: IndexArray
    run: Run
    rng: np.random.Generator

    def stage(self, is_swept: BoolArray, num_sweeps: int) -> int:
        """Sweep some items, then those of them that stay open; count the visits."""
        everyone, swept, visited = np.arange(len(self.rows)), self.items[is_swept], 0
        for _ in range(num_sweeps):
            order = self.rng.permutation(swept)
            self.weights.sweep(self.rows, everyone, order, self.run.should_stop)
            self.run.add_iterations(swept.size)
            visited += swept.size
            self.weights.steer(_PULL * float(np.sqrt(swept.size / self.items.size)))
            now = self.weights.weights[swept]
            swept = swept[(now > 0) & (now < 1)]
            if not swept.size or self.run.should_stop():
                break
        return visited


class _Plan:
    """How many stages are left: by the clock, by the iterations, and by number without a clock."""

    def __init__(self, run: Run, num_stages: int, share: float, moves: float) -> None:
        self.seconds, self.moves = share * run.remaining, share * moves
        self.stages = np.inf if run.fills_time else float(num_stages)
        self.started = self.last = time.perf_counter()
        self.number, self.visited = 0, 0
        self.each_time, self.each_visits = 0.0, 0.0

    def left(self, visited: int) -> float | None:
        """Count a stage; None where it was the first and too few could follow."""
        now, weight = time.perf_counter(), _PACE if self.number else 1.0
        self.each_time += weight * (now - self.last - self.each_time)
        self.each_visits += weight * (visited - self.each_visits)
        self.last, self.number, self.visited = now, self.number + 1, self.visited + visited
        in_time = (self.seconds - (now - self.started)) / max(self.each_time, 1e-9)
        in_moves = (self.moves - self.visited) / max(self.each_visits, 1.0)
        affordable = min(in_time, in_moves)
        if self.number == 1 and affordable < _FEWEST_STAGES:
            return None
        return min(affordable, self.stages - self.number)

    def extend(self, share: float) -> float:
        """Allow for this share of the way once more, as far as it has come; count what is left."""
        self.seconds += share * (self.last - self.started)
        self.moves += share * self.visited
        self.stages += share * self.number
        return share * self.number


def _held_curvature(weights: Descent) -> FloatArray:
    """Curvature (n,) that the limits add to each weight where they hold with equality."""
    columns = weights.columns
    is_equal = columns.lower == columns.upper
    stiffness = np.where(is_equal, weights.penalties * weights.unit, 0.0)
    of_entries = stiffness[columns.members] * columns.coefficients**2
    num = len(columns.starts) - 1
    owners = np.repeat(np.arange(num), np.diff(columns.starts))
    return np.bincount(owners, weights=of_entries, minlength=num).astype(np.float64)

"""From weights between 0 and 1 to a subset: large rows first, small ones absorb the error.

Rounding an open example to 0 or 1 costs up to ||s_i||^2 / 4. So the weights are led to the corners
of the cube by a concave term that grows from the largest rows down: while large rows settle, small
ones are still free and keep S^T w where it should be. What cannot be absorbed in the end is as
small as the smallest rows. Coordinate descent at each stage, as in the relaxation itself.

References
----------
Graduated non-convexity: Blake and Zisserman, Visual Reconstruction, MIT Press (1987). Rounding that
keeps linear functions while it can: Lovett and Meka, arXiv:1203.5747.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count

import numpy as np
from scipy import sparse

from subsetsel.engine.run import Run
from subsetsel.problem.constraints import Columns, Constraints
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

from ._continuation_kernels import Springs, sweep

# Stages, and row updates per row and stage: more stages help, slowly.
_NUM_STAGES, _NUM_SWEEPS = 48, 2
_FEWEST_STAGES = 6
# More stages than this do not lower the norm of Eq. 4, or are not needed for Eq. 3, whose subset is
# annealed afterwards.
_MOST_STAGES, _MOST_AIMED = 2000, 400
# What a stage costs on average, in sweeps of all rows (measured).
_SWEEPS_PER_STAGE = 2.0
# Eq. 4: every second stage also sweeps the rows that are at 0 or 1 and may still leave it.
_EVERY = 2
# Length of a stage, as a share of the way, when the time is over.
_LATE_STEP = 0.25
# The weight of the last stage in the expected time of the next.
_PACE = 0.3
# A stage sweeps at most so many times, however few rows are open.
_MOST_SWEEPS = 60
# Stages after which the sum of the rows is computed again.
_REFRESH_EVERY = 16
# After a missed aim: where on the way to go on from, and how much of the time so far is added.
_BACK, _RETURN_SHARE = 0.6, 0.4
# The concave term reaches down from _TOP times the largest squared norm to _BOTTOM times a small
# one, which is the quantile _SMALL.
_TOP, _BOTTOM, _SMALL = 0.3, 0.5, 0.02
# How sharply it tells large rows from small ones, in powers of the squared norm.
_POWER = 2
# At and above 1 the term outweighs an example's own curvature.
_MOST_CONCAVITY = 1.05
# To the relaxed minimum: at most _MOST_RELAXING sweeps, and one in _OPEN_SWEEPS takes all rows.
# It is reached where such a sweep lowers the norm by less than the share _STEADY, and the limits
# are missed by less than _MISSED times the number of rows.
_MOST_RELAXING, _OPEN_SWEEPS, _STEADY, _MISSED = 200, 5, 1e-4, 1e-5
# A call into compiled code reads at most about this many entries of S, a few hundredths of a
# second, so that Ctrl-C and clocks work.
_CALL_ENTRIES = 2**24
# How much of a deviation a sweep of all rows corrects.
_PULL = 0.3
# The multiplier never falls below this share of the first: there nothing but the norm counts.
_LEAST = 1e-6
# A norm above _NEAR times epsilon is led back, at most _NUM_RETURNS times. The goal of a return is
# epsilon times _LOWER, less the share by which the end was missed.
_NEAR, _NUM_RETURNS, _LOWER = 1.005, 2, 0.98


@dataclass
class Weights:
    """Weights on their way to a subset, with what they add up to.

    The rows (k, d) may be some of S only; ``total`` is S^T w (d,), of these rows and of whatever
    else is pruned. ``values`` (k,) are between 0 and 1, and those of ``items`` may move. ``lam`` is
    the multiplier of Eq. 3 that they ended with.
    """

    rows: AnyFloatArray
    squared_norms: FloatArray
    values: FloatArray
    total: FloatArray
    items: IndexArray
    springs: Springs
    lam: float = 0.0

    def is_open(self) -> BoolArray:
        """Which of the items are strictly between 0 and 1."""
        values = self.values[self.items]
        return (values > 0) & (values < 1)

    def row_sum(self) -> FloatArray:
        """Sum of the weighted rows, computed anew."""
        return self.values.astype(self.rows.dtype) @ self.rows


@dataclass(frozen=True)
class Aim:
    """What Eq. 3 asks for: sum w - ||S^T w||^2 / (2 lam), with lam led by ||S^T w|| = epsilon."""

    lam: float
    epsilon: float


class Pursuit:
    """The multiplier ``lam`` of Eq. 3, led by the norm; 0 without an aim."""

    def __init__(self, aim: Aim | None) -> None:
        self.lam, self._epsilon = (0.0, 0.0) if aim is None else (aim.lam, aim.epsilon)
        self._least, self._goal, self._norm = _LEAST * self.lam, self._epsilon, 0.0
        self._num_returns = _NUM_RETURNS

    def follow(self, total: FloatArray, swept: float) -> None:
        """Lower it outside the ball of S^T w and raise it inside.

        The change grows with the share ``swept`` of all rows that the last sweep moved, since no
        other rows can answer to it.
        """
        if self._goal > 0:
            self._norm = float(np.linalg.norm(total))
            pull = _PULL * np.sqrt(swept)
            self.lam *= (self._goal / max(self._norm, 1e-3 * self._goal)) ** pull
            self.lam = max(self.lam, self._least)

    def must_return(self) -> bool:
        """Whether the ball was missed by so much that a return is worth it; it then aims lower."""
        if self._goal == 0 or self._num_returns == 0 or self._norm <= _NEAR * self._epsilon:
            return False
        self._num_returns -= 1
        self._goal *= _LOWER * self._epsilon / self._norm
        return True


def springs_of(
    problem: Problem,
    weights: FloatArray,
    scale: float,
    items: IndexArray | None = None,
    *,
    preserved: tuple[FloatArray, float] | None = None,
) -> Springs:
    """Describe the size and the linear constraints as springs on weights (n,) of all examples.

    One example too many costs ``scale``, as a squared norm. ``items`` gives the columns of these
    examples only. ``preserved`` is one more function, which is to stay as the weights give it:
    coefficients (n,) and the stiffness of its spring.
    """
    limits = problem.constraints
    if problem.form == "min_norm" or problem.is_capped:
        size = float(problem.size if problem.size is not None else problem.max_size)
        least = size if problem.form == "min_norm" else -np.inf
        limits = Constraints.build(problem.n, [(np.ones(problem.n), least, size)]).join(limits)
    largest = np.ones(len(limits))
    np.maximum.at(largest, limits.matrix.indices, np.abs(limits.matrix.data))
    stiffness = scale / largest**2
    if preserved is not None:
        wanted = float(preserved[0] @ weights)
        limits = limits.join(Constraints.build(problem.n, [(preserved[0], wanted, wanted)]))
        stiffness = np.append(stiffness, preserved[1])
    return Springs(limits.columns(weights, items), stiffness)


def relax_weights(
    weights: Weights, run: Run, rng: np.random.Generator, *, share: float, quota: int | None
) -> tuple[FloatArray, bool]:
    """Lead the weights to the relaxed minimum of the norm, where the springs hold the limits.

    A spring alone gives way to a norm that another size would lower. So its rest position is moved
    by as much as it gave way, until nothing is missed (the method of multipliers).

    At most the ``share`` of the remaining time and about ``quota`` row updates are spent. Gives the
    slopes (k,) of ||S^T w||^2 / 2 and of the springs in each weight, which are about 0 where it is
    between 0 and 1, and whether the minimum was reached before time or quota ended.

    References
    ----------
    Hestenes, J. Optim. Theory Appl. 4 (1969); Powell (1969).
    """
    started, left = time.perf_counter(), run.remaining
    columns, items = weights.springs.columns, weights.items
    lower, upper = columns.lower.copy(), columns.upper.copy()
    none = np.zeros_like(weights.squared_norms)
    most = _MOST_RELAXING if quota is None else min(_MOST_RELAXING, quota // items.size)
    before, is_there = np.inf, False
    for number in range(most):
        is_full = number % _OPEN_SWEEPS == 0
        items = _sweep(weights, weights.items if is_full else items, none, 0.0, run, rng)
        is_late = time.perf_counter() - started > share * left
        if is_late or run.should_stop():
            break
        if is_full:
            given = _excess(columns, columns.lower, columns.upper)
            columns.lower[:], columns.upper[:] = lower - given, upper - given
            missed = _excess(columns, lower, upper)
            norm = float(np.linalg.norm(weights.total))
            is_met = float(np.abs(missed).max()) <= _MISSED * weights.items.size
            is_there = is_met and norm > (1.0 - _STEADY) * before
            if is_there:
                break
            before = norm
    excess = _excess(columns, columns.lower, columns.upper)
    shape = (columns.activity.size, weights.values.size)
    matrix = sparse.csc_array((columns.coefficients, columns.members, columns.starts), shape=shape)
    forces = matrix.T @ (weights.springs.stiffness * excess)
    slopes: FloatArray = weights.rows @ weights.total + forces
    return slopes, is_there


def _excess(columns: Columns, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """By how much left-hand sides are above (or, negative, below) their limits."""
    excess: FloatArray = columns.activity - np.clip(columns.activity, lower, upper)
    return excess


def settle(
    weights: Weights,
    run: Run,
    rng: np.random.Generator,
    *,
    share: float,
    num_stages: int = _NUM_STAGES,
    aim: Aim | None = None,
    quota: int | None = None,
) -> BoolArray | None:
    """Lead the weights to 0 and 1; who is at 1 (k,), or None where there is no time for it.

    At most the ``share`` of the remaining time and about ``quota`` row updates are spent; without
    clock and quota there are ``num_stages``. ``aim`` is for Eq. 3; without it S^T w is led to 0.
    """
    norms = weights.squared_norms[weights.items]
    if not norms.size or not norms.max() > 0:
        return None
    started, left = time.perf_counter(), run.remaining
    concavity = np.zeros_like(weights.squared_norms)
    pursuit = Pursuit(aim)
    fixed = weights.total - weights.row_sum()
    items = _sweep(weights, weights.items, concavity, pursuit.lam, run, rng)
    seconds = time.perf_counter() - started
    most = num_stages = _most_stages(norms.size, run, num_stages, aim, quota)
    if left < np.inf:
        num_stages = min(most, int(share * left / max(seconds, 1e-6) / _SWEEPS_PER_STAGE))
    if num_stages < _FEWEST_STAGES:
        return None
    top = (_TOP if aim is None else 1.0) * float(norms.max())
    bottom = min(_BOTTOM * max(float(np.quantile(norms, _SMALL)), 1e-12 * top), 0.5 * top)
    allowed = share * left
    done, stage_time = 0.0, _SWEEPS_PER_STAGE * seconds
    for number in count():
        reach, stage_started = top * (bottom / top) ** done, time.perf_counter()
        concavity = np.minimum(_MOST_CONCAVITY, (weights.squared_norms / reach) ** _POWER)
        num_sweeps = 1 + min(_MOST_SWEEPS, round(_NUM_SWEEPS * norms.size / max(items.size, 1)))
        # A weight that reached 0 or 1 early may be wrong by now, and open ones make up for it.
        if aim is not None:
            items = weights.items
        elif number % _EVERY == 0:
            items = weights.items[weights.is_open() | (concavity[weights.items] < 1)]
        if done >= 1.0 or number % _REFRESH_EVERY == 0:
            # A float32 sum is wrong by up to a hundredth after millions of steps.
            weights.total[:] = fixed + weights.row_sum()
        for _ in range(num_sweeps):
            swept = items.size / norms.size
            items = _sweep(weights, items, concavity, pursuit.lam, run, rng)
            pursuit.follow(weights.total, swept)
        if run.should_stop() or (done >= 1.0 and not pursuit.must_return()):
            break
        if done >= 1.0:
            # The weights missed the aim: open the small rows again.
            done = _BACK
            allowed += _RETURN_SHARE * (time.perf_counter() - started)
        step = 1.0 / (num_stages - 1)
        if left < np.inf:
            # The first sweep says little about the pace of later ones: plan the rest anew.
            now = time.perf_counter()
            stage_time += _PACE * (now - stage_started - stage_time)
            num_left = max(allowed - (now - started), 0.0) / max(stage_time, 1e-9)
            step = max((1.0 - done) / max(num_left, 1.0), 1.0 / (most - 1))
            # When the time is over, a few long steps still lead to the end.
            step = min(step, _LATE_STEP)
        done = min(1.0, done + step)
    weights.lam = pursuit.lam
    return weights.values > rng.random(weights.values.size)


def _most_stages(num_items: int, run: Run, usual: int, aim: Aim | None, quota: int | None) -> int:
    """How many stages the budget allows; where a clock runs, how many are worth their time."""
    most = round(usual * run.effort)
    if run.fills_time or quota is not None:
        most = _MOST_STAGES if aim is None else _MOST_AIMED
    if quota is not None:
        most = min(most, int(quota / num_items / _SWEEPS_PER_STAGE))
    return most


def _sweep(
    weights: Weights,
    items: IndexArray,
    concavity: FloatArray,
    lam: float,
    run: Run,
    rng: np.random.Generator,
) -> IndexArray:
    """Sweep the items once, in a random order; give those that are still open."""
    order = rng.permutation(items)
    step = max(256, _CALL_ENTRIES // weights.rows.shape[1])
    for start in range(0, order.size, step):
        if run.should_stop():
            break
        part = order[start : start + step]
        sweep(
            weights.rows,
            part,
            weights.values,
            weights.total,
            weights.squared_norms,
            concavity,
            weights.springs,
            lam,
        )
        run.add_iterations(part.size)
    values = weights.values[items]
    return items[(values > 0) & (values < 1)]

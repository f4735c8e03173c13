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
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

from ._continuation_kernels import LinearSide, sweep
from ._pursuit import Aim, Pursuit

# Stages, and row updates per row and stage: more stages help, slowly.
_NUM_STAGES, _NUM_SWEEPS = 48, 2
_FEWEST_STAGES = 6
# For Eq. 4 the norm falls up to about as many; what Eq. 3 leads to its aim is then annealed.
_MOST_STAGES, _MOST_AIMED = 2000, 400
# What a stage costs on average, in sweeps of all rows (measured).
_SWEEPS_PER_STAGE = 2.0
# Of Eq. 4, in one stage of so many all rows that need not be whole yet are looked at again.
_EVERY = 2
# Of the way, a stage when the time for it is over.
_LATE_STEP = 0.25
# The weight of the last stage in the expected time of the next.
_PACE = 0.3
# So few open rows are swept at most so many times in one stage.
_MOST_SWEEPS = 60
# Stages between two looks at the sum itself.
_REFRESH_EVERY = 16
# Back on the way where the aim was missed: how far, and how much more time that may take.
_BACK, _RETURN_SHARE = 0.6, 0.4
# The concave term reaches down from this share of the largest squared norm to half of a small one.
_TOP, _BOTTOM, _SMALL = 0.3, 0.5, 0.02
# How sharply it tells large rows from small ones, in powers of the squared norm.
_POWER = 2
# At and above 1 the term outweighs an example's own curvature.
_MOST_CONCAVITY = 1.05
# To the relaxed minimum: at most so many sweeps, one of all items in so many, until those lower the
# norm by less than this share and miss the limits by less than this share of the items.
_MOST_RELAXING, _OPEN_SWEEPS, _STEADY, _MISSED = 200, 5, 1e-4, 1e-5
# A call into compiled code reads at most about this many entries of S, a few hundredths of a
# second, so that Ctrl-C and clocks work.
_CALL_ENTRIES = 2**24


@dataclass
class Weights:
    """Weights on their way to a subset, with what they add up to.

    Attributes
    ----------
    rows : ndarray of shape (k, d)
    squared_norms : ndarray of shape (k,)
    values : ndarray of shape (k,)
        Between 0 and 1.
    total : ndarray of shape (d,)
        S^T w, of these rows and of whatever else is pruned.
    items : ndarray of int64
        Those that may move.
    side : LinearSide
    lam : float
        The multiplier of Eq. 3 that they ended with.
    """

    rows: AnyFloatArray
    squared_norms: FloatArray
    values: FloatArray
    total: FloatArray
    items: IndexArray
    side: LinearSide
    lam: float = 0.0


def linear_side(
    problem: Problem,
    weights: FloatArray,
    scale: float,
    items: IndexArray | None = None,
    *,
    held: tuple[FloatArray, float] | None = None,
) -> LinearSide:
    """Describe the size and the linear constraints as springs.

    Parameters
    ----------
    problem : Problem
    weights : ndarray of shape (n,)
        Of all examples.
    scale : float
        What one example too many costs, as a squared norm.
    items : ndarray of int64, optional
        Give the columns of these only.
    held : (ndarray of shape (n,), float), optional
        Coefficients of one more function that is to stay what it is, and the stiffness of its
        spring.

    Returns
    -------
    LinearSide
    """
    constraints = problem.constraints
    matrix = sparse.csc_array(constraints.matrix)
    lower, upper = constraints.lower, constraints.upper
    if problem.form == "min_norm" or problem.is_capped:
        matrix = sparse.csc_array(sparse.vstack([np.ones((1, problem.n)), matrix]))
        exact = problem.form == "min_norm"
        size = float(problem.size if problem.size is not None else problem.max_size)
        lower = np.concatenate([[size if exact else -np.inf], lower])
        upper = np.concatenate([[size], upper])
    largest = np.ones(len(lower))
    np.maximum.at(largest, matrix.indices, np.abs(matrix.data))
    stiffness = scale / largest**2
    if held is not None:
        coefficients, hold = held
        matrix = sparse.csc_array(sparse.vstack([matrix, coefficients[None, :]]))
        wanted = float(coefficients @ weights)
        lower, upper = np.append(lower, wanted), np.append(upper, wanted)
        stiffness = np.append(stiffness, hold)
    activity = np.asarray(matrix @ weights, dtype=np.float64)
    if items is not None:
        matrix = matrix[:, items]
    return LinearSide(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int64),
        matrix.data.astype(np.float64),
        activity,
        lower.astype(np.float64),
        upper.astype(np.float64),
        stiffness,
    )


def relax_weights(
    weights: Weights, run: Run, rng: np.random.Generator, *, share: float, quota: int | None
) -> tuple[FloatArray, bool]:
    """Lead the weights to the relaxed minimum of the norm, where the springs hold the limits.

    A spring alone gives way to a norm that another size would lower. So its rest position is moved
    by as much as it gave way, until nothing is missed (the method of multipliers).

    Parameters
    ----------
    weights : Weights
        Modified in place, with the limits of its linear side.
    run : Run
    rng : numpy.random.Generator
    share : float
        Of the time that is left.
    quota : int or None
        Most row updates, about.

    Returns
    -------
    slopes : ndarray of shape (k,)
        Of ||S^T w||^2 / 2 and of the springs in each weight: about 0 where it is between 0 and 1.
    is_there : bool
        False where time or quota ended before.

    References
    ----------
    Hestenes, J. Optim. Theory Appl. 4 (1969); Powell (1969).
    """
    started, left = time.perf_counter(), run.remaining
    side, items = weights.side, weights.items
    lower, upper = side.lower.copy(), side.upper.copy()
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
            given = side.activity - np.clip(side.activity, side.lower, side.upper)
            side.lower[:], side.upper[:] = lower - given, upper - given
            missed = side.activity - np.clip(side.activity, lower, upper)
            norm = float(np.linalg.norm(weights.total))
            is_met = float(np.abs(missed).max()) <= _MISSED * weights.items.size
            is_there = is_met and norm > (1.0 - _STEADY) * before
            if is_there:
                break
            before = norm
    excess = side.activity - np.clip(side.activity, side.lower, side.upper)
    shape = (side.activity.size, weights.values.size)
    matrix = sparse.csc_array((side.coefficients, side.members, side.starts), shape=shape)
    slopes: FloatArray = weights.rows @ weights.total + matrix.T @ (side.stiffness * excess)
    return slopes, is_there


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
    """Lead the weights to 0 and 1.

    Parameters
    ----------
    weights : Weights
        Modified in place.
    run : Run
    rng : numpy.random.Generator
    share : float
        Of the time that is left; without a limit the work is set by the number of rows.
    num_stages : int
        Where neither clock nor quota sets it.
    aim : Aim, optional
        For Eq. 3; without it S^T w is led to 0.
    quota : int, optional
        Most row updates, about.

    Returns
    -------
    ndarray of shape (k,), bool, or None
        The subset; None where there is no time for it.
    """
    norms = weights.squared_norms[weights.items]
    if not norms.size or not norms.max() > 0:
        return None
    started, left = time.perf_counter(), run.remaining
    concavity = np.zeros_like(weights.squared_norms)
    pursuit = Pursuit(aim)
    others = weights.total - weights.values.astype(weights.rows.dtype) @ weights.rows
    items = _sweep(weights, weights.items, concavity, pursuit.lam, run, rng)
    seconds = time.perf_counter() - started
    most = num_stages = round(num_stages * run.effort)
    if run.fills_time or quota is not None:
        most = _MOST_STAGES if aim is None else _MOST_AIMED
    if quota is not None:
        most = num_stages = min(most, int(quota / norms.size / _SWEEPS_PER_STAGE))
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
        # A weight that settled early may be wrong by now, and others have to make up for it.
        if aim is not None:
            items = weights.items
        elif number % _EVERY == 0:
            held = weights.values[weights.items]
            is_open = (held > 0) & (held < 1) | (concavity[weights.items] < 1)
            items = weights.items[is_open]
        if done >= 1.0 or number % _REFRESH_EVERY == 0:
            # Steps by the million leave a float32 sum up to a hundredth beside what it sums.
            weights.total[:] = others + weights.values.astype(weights.rows.dtype) @ weights.rows
        for _ in range(num_sweeps):
            swept = items.size / norms.size
            items = _sweep(weights, items, concavity, pursuit.lam, run, rng)
            pursuit.follow(weights.total, swept)
        if run.should_stop() or (done >= 1.0 and not pursuit.must_return()):
            break
        if done >= 1.0:
            # What is left missed the aim: open the small rows again.
            done = _BACK
            allowed += _RETURN_SHARE * (time.perf_counter() - started)
        step = 1.0 / (num_stages - 1)
        if left < np.inf:
            # The first sweep says little about the pace of later ones: plan the rest anew.
            now = time.perf_counter()
            stage_time += _PACE * (now - stage_started - stage_time)
            num_left = max(allowed - (now - started), 0.0) / max(stage_time, 1e-9)
            step = max((1.0 - done) / max(num_left, 1.0), 1.0 / (most - 1))
            # Behind the clock the way is finished in a few steps, instead of left where it is.
            step = min(step, _LATE_STEP)
        done = min(1.0, done + step)
    weights.lam = pursuit.lam
    return weights.values > rng.random(weights.values.size)


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
            weights.side,
            lam,
        )
        run.add_iterations(part.size)
    values = weights.values[items]
    return items[(values > 0) & (values < 1)]

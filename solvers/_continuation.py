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

import numpy as np

from subsetsel.bounds.descent import Descent
from subsetsel.engine.run import Run
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

# D reaches down from _TOP times the largest squared norm to _BOTTOM times a small one, the quantile
# _SMALL. Below it D falls with this power of the squared norm. From the share 1 of the curvature on
# a weight is 0 or 1.
_TOP, _BOTTOM, _SMALL, _POWER = 0.3, 0.5, 0.02, 2
# Sweeps of all rows that a stage is worth; as the open rows get fewer they are swept more often, up
# to _MOST_SWEEPS times. Every second stage looks at all rows, since one that is at 0 or 1 may be
# wrong by now.
_SWEEPS_PER_STAGE, _MOST_SWEEPS = 2, 60
# Fewer stages than this are not worth beginning, more do not lower the norm (measured).
_FEWEST_STAGES, _MOST_STAGES = 6, 2000


def settle(
    weights: Descent,
    rows: AnyFloatArray,
    items: IndexArray,
    run: Run,
    rng: np.random.Generator,
    *,
    num_stages: int,
    seconds: float = np.inf,
) -> BoolArray | None:
    """Lead the weights of some items to 0 and 1; who is at 1 (n,), None where time is too short.

    ``rows`` (n, d) are those of all weights. Where ``seconds`` are given they decide how many
    stages there are, and else ``num_stages`` does.
    """
    norms = weights.squared_norms[items]
    positive = norms[norms > 0]
    if not positive.size:
        return weights.weights > rng.random(weights.weights.size)
    curvature = weights.squared_norms + _held_curvature(weights)
    top = _TOP * float(positive.max())
    bottom = min(_BOTTOM * float(np.quantile(positive, _SMALL)), top)
    everyone = np.arange(len(rows))
    started, done, number, step = time.perf_counter(), 0.0, 0, 1.0 / max(num_stages - 1, 1)
    before, each = started, 0.0
    radius, num_returns = weights.radius, _NUM_RETURNS
    while True:
        share = (weights.squared_norms / (top * (bottom / top) ** done)) ** _POWER
        weights.diagonal = np.where(share < 1.0, share * curvature, np.inf)
        is_open = (weights.weights[items] > 0) & (weights.weights[items] < 1)
        swept = items[is_open | (share[items] < 1)] if number % 2 == 0 else items[is_open]
        num_open = max(int(np.count_nonzero(is_open)), 1)
        for _ in range(1 + min(_MOST_SWEEPS, _SWEEPS_PER_STAGE * items.size // num_open)):
            weights.sweep(rows, everyone, rng.permutation(swept), run.should_stop)
            run.add_iterations(swept.size)
            weights.steer(PULL * float(np.sqrt(swept.size / items.size)))
            now = weights.weights[swept]
            swept = swept[(now > 0) & (now < 1)]
        if run.should_stop() or (done >= 1.0 and not (radius and num_returns and weights.length() > _NEAR * radius)):
            break
        if done >= 1.0:
            # The ball was missed: open the small rows again, and aim lower by as much.
            assert weights.radius is not None and radius is not None
            done, num_returns = _BACK, num_returns - 1
            weights.radius *= _LOWER * radius / weights.length()
            seconds += _BACK_SHARE * (time.perf_counter() - started)
        number += 1
        if seconds < np.inf:
            now_time = time.perf_counter()
            each += (1.0 if number == 1 else _PACE) * (now_time - before - each)
            before = now_time
            left = max(seconds - (now_time - started), 0.0) / max(each, 1e-9)
            if number == 1 and left < _FEWEST_STAGES:
                return None
            # When the time is over, a few long steps still lead to the end.
            step = min(max((1.0 - done) / max(left, 1.0), 1.0 / _MOST_STAGES), 0.25)
        done = min(1.0, done + step)
    return weights.weights > rng.random(weights.weights.size)

PULL = 0.3
_PACE = 0.3
_NEAR, _NUM_RETURNS, _LOWER, _BACK, _BACK_SHARE = 1.005, 2, 0.98, 0.6, 0.4

def _held_curvature(weights: Descent) -> FloatArray:
    """Curvature (n,) that the limits add to each weight where they hold with equality."""
    columns = weights.columns
    is_equal = columns.lower == columns.upper
    stiffness = np.where(is_equal, weights.penalties * weights.unit, 0.0)
    of_entries = stiffness[columns.members] * columns.coefficients**2
    return np.bincount(
        np.repeat(np.arange(len(columns.starts) - 1), np.diff(columns.starts)),
        weights=of_entries,
        minlength=len(columns.starts) - 1,
    )

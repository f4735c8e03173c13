"""The paper's own annealing for Eq. 3: uniform flips, with a penalty outside the ball.

It is there to be compared with. Its penalty is set above a dual norm: a fixed penalty below that
norm lets the chain cool down outside the ball and come back with next to nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.bounds.dual import evaluate_dual
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem

from ._chains import budget, columns_of, quota_of, search_rows, walk
from ._first_subset import smallest_subset
from ._row_kernels import penalty_flips

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

_PENALTY_FACTOR = 1.5


def search_plainly(problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
    """Maximize the size, with normalization "full", by flips on the rows themselves."""
    start = smallest_subset(problem, run)
    if start is None:
        return Candidate(is_infeasible=True)
    free = np.flatnonzero(problem.free)
    if not free.size:
        return Candidate(limit=run.limit)
    penalty = options.penalty or _penalty(problem)
    mask, best_mask = start.copy(), start.copy()
    rows, total, _ = search_rows(problem, mask)
    assert problem.epsilon is not None
    state = np.array([float(total @ total), float(mask.sum()), penalty, problem.epsilon, -1.0])
    columns, rng = columns_of(problem, mask), run.generator(0)

    def after(share: float) -> bool:
        if state[4] > run.size and (share == 1.0 or state[4] > 1.01 * run.size):
            run.submit(best_mask)
        return False

    usual = int(np.clip(60 * free.size, 300_000, 20_000_000))
    walk(
        partial(penalty_flips, rows, mask, total, free, state, columns, rng, best_mask),
        (1.0, 0.01),
        options.num_proposals or budget(run, usual),
        run,
        quota=quota_of(run, 1),
        entries=rows.shape[1],
        after=after,
    )
    if state[4] > 0:
        run.submit(best_mask)
    return Candidate(limit=run.limit, stats={"penalty": penalty})


def _penalty(problem: Problem) -> float:
    """Items per unit of norm: above the norm of the dual in the direction of S^T 1."""
    slope = float(np.linalg.norm(evaluate_dual(problem, problem.rows.total).u))
    typical = float(np.sqrt(np.median(problem.rows.squared_norms)))
    return float(_PENALTY_FACTOR * max(slope, 1.0 / max(typical, 1e-300) / np.sqrt(problem.n)))

"""The paper's own annealing for Eq. 3: uniform flips from a random start, with a penalty.

Kept so that it can be compared with. Its penalty is set above a dual norm; the naive fixed choice
below it lets the chain settle outside the ball and come back with next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from subsetsel.bounds.dual import evaluate_dual
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem

from ._anneal_kernels import penalty_flips
from ._chains import Schedule, budget, columns_of, quota_of, search_rows, walk

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

_PENALTY_FACTOR = 1.5


def search_plainly(problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
    """Maximize the size by flips on the rows themselves.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size" with normalization "full".
    options : AnnealOptions
    run : Run

    Returns
    -------
    Candidate
    """
    assert problem.epsilon is not None
    start = find_mask(problem)
    if start is None:
        return Candidate(is_infeasible=True)
    run.submit(start)
    guess = run.initial_mask()
    if guess is not None and run.submit(guess):
        start = guess
    free = np.flatnonzero(problem.free)
    if not free.size:
        return Candidate(limit=run.limit)
    penalty = options.penalty or _penalty(problem)
    rng = run.generator(0)
    mask, best_mask = start.copy(), start.copy()
    rows, total, _ = search_rows(problem, mask)
    state = np.array(
        [float(total @ total), float(mask.sum()), penalty, problem.epsilon, -1.0],
    )
    columns = columns_of(problem, mask)

    def call(schedule: Schedule, count: int) -> int:
        return int(
            penalty_flips(rows, mask, total, free, state, columns, schedule, count, rng, best_mask)
        )

    def after(share: float) -> bool:
        if state[4] > run.size and (share == 1.0 or state[4] > 1.01 * run.size):
            run.submit(best_mask)
        return False

    usual = int(np.clip(60 * free.size, 300_000, 20_000_000))
    num_proposals = options.num_proposals or budget(run, usual)
    walk(
        call,
        (1.0, 0.01),
        num_proposals,
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

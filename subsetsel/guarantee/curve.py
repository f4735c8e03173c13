"""Points of the trade-off: more and less pruned, refitted, with random subsets beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from subsetsel.engine.solve import solve
from subsetsel.guarantee.verification import Verification, verify
from subsetsel.problem.problem import Problem
from subsetsel.problem.solution import Solution
from subsetsel.problem.tradeoff import Point
from subsetsel.rows.base import BoolArray

SHARES = (0.2, 0.4, 0.6, 0.8)
NUM_RANDOM = 3


def measure_points(
    problem: Problem,
    solution: Solution,
    check: Verification,
    *,
    shares: Sequence[float] = SHARES,
    num_random: int = NUM_RANDOM,
    solver: str = "anneal",
    seed: int = 0,
    random_checks: Sequence[Verification] = (),
) -> list[Point]:
    """Prune other shares too, refit, and draw random subsets of each size.

    Parameters
    ----------
    problem : Problem
        With a head.
    solution, check
        The subset that was chosen and its check; its share is one of the points.
    num_random : int
        Random subsets of each size.
    random_checks : sequence of Verification, optional
        Of random subsets as large as the chosen one, where they are known already.

    Returns
    -------
    list of Point
        By share.
    """
    points = []
    for size in sorted({round(share * problem.n) for share in shares} | {solution.size}):
        is_chosen = size == solution.size
        found = check
        if not is_chosen:
            other = problem.replace(size=size)
            subset = solve(other, solver=solver, seed=seed, bound=False)
            if not subset.is_feasible:
                continue
            found = verify(other, subset)
        known = [one.change for one in random_checks] if is_chosen else []
        at_random = known or [
            _change(problem, mask) for mask in random_masks(problem.n, size, num_random, seed)
        ]
        share = size / problem.n
        points.append(Point(share, found.predicted_kept, found.change, tuple(at_random), is_chosen))
    return points


def random_masks(n: int, size: int, count: int, seed: int) -> list[BoolArray]:
    """Draw ``count`` masks of shape (n,) with ``size`` examples each, uniformly."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(count):
        mask = np.zeros(n, dtype=np.bool_)
        mask[rng.choice(n, size=size, replace=False)] = True
        masks.append(mask)
    return masks


def _change(problem: Problem, mask: BoolArray) -> float:
    """Refit without the pruned examples and say how far the head moves."""
    head = problem.head
    assert head is not None
    return float(np.linalg.norm(head.refit(~mask).theta - head.theta))

"""Which sizes everything but the norm allows, for a search and for who asked for another."""

from __future__ import annotations

import math

import numpy as np

from subsetsel.problem.linear import find_mask, minimize_linear
from subsetsel.problem.problem import Problem
from subsetsel.support.clock import NO_CLOCK, Clock, TimeIsUp

# A norm that excludes nothing.
_ANY_NORM = 1e300
_LOOSEN = "loosen must_prune, must_keep, group_limits or constraints"


def size_range(problem: Problem, clock: Clock = NO_CLOCK) -> tuple[int, int] | None:
    """About the fewest and the most examples that everything but the norm lets one prune.

    The first is the size of a subset that was found, about 1 % above the smallest at most unless
    the clock ends first; the second is a proven upper bound. None means that no subset is allowed.
    `TimeIsUp` is raised where the clock ends before a subset is found.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size".
    """
    forced = problem.must_prune
    if not problem.constraints.violations(forced):
        least = int(forced.sum())
    else:
        smallest = find_mask(problem, clock=clock)
        if smallest is None:
            return None
        least = int(smallest.sum())
    _, value = minimize_linear(problem, np.full(problem.n, -1.0), clock=clock)
    if value == math.inf:
        return None
    most = problem.max_size if value == -math.inf else math.floor(-value)
    return least, min(most, problem.max_size)


def why_no_size(problem: Problem, clock: Clock = NO_CLOCK) -> str:
    """Say of a size that was proved infeasible which sizes are not; nothing without a size."""
    if problem.size is None:
        return ""
    try:
        # `with_rows` asks for first order: a radius does not go with hessian="kept".
        found = size_range(problem.with_rows(problem.rows).replace(epsilon=_ANY_NORM), clock)
    except TimeIsUp:
        return ""
    what = f"proved: no subset of size = {problem.size:,} satisfies the limits"
    if found is None:
        return f"{what}, nor does one of any other size; {_LOOSEN}"
    low, high = found
    return (
        f"{what}, which allow {low:,} and at most {high:,} of n = {problem.n:,}; ask for a size "
        f"between these, or {_LOOSEN}"
    )

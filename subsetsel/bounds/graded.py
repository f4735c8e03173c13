"""The relaxation of Eq. 3 where S lies in shards: by a graded sample of its rows.

Minimized is the bound of `subsetsel.bounds.dual`, which is convex in u and the multipliers y. A
step from a point draws each row with the probability

    pi_i = min(1, kappa g_i),   g_i = ||s_i||^2 / (|r_i| + h ||s_i||),

where r_i = 1 - s_i . u - a_i . y is the reduced cost, and h how far prices moved last time, per
unit of length: rows near the margin are surely drawn, others the more seldom the less a step can
change what they do. What was drawn is a small relaxation with weights up to 1 / pi_i and an offset
that makes its gradient at the point the exact one, so that an error comes only from rows that
change sides. On the line to its optimum the best point is found without another look at S. A step
asks S for a sum, a few rows and a product: three rounds over the shards.

At the end the rows nearest to the margin alone are open, all others as the prices say. That
relaxation is solved for good: it gives weights within the ball, and a better u.

The bound holds at every point, whatever was drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from subsetsel.bounds.point import Point, Steps
from subsetsel.bounds.relaxation import Relaxation
from subsetsel.bounds.sample import LEAST_PER_PARAMETER
from subsetsel.errors import ProblemError
from subsetsel.problem.problem import Problem
from subsetsel.support.clock import Clock

FINE = (1e-6, 0.05)
"""As `COARSE` and `SHARP`: a step costs little beside what its u is worth."""
MOST_PARAMETERS = 20_000
"""Beyond, neither the rows of a step nor the factor of a Hessian fit into one machine."""
_MOST_STEPS = 30
# Products and sums of all rows in a step.
_PASSES = 2.0
# The end is tried where the last step gained at most so many times the gap that is wanted, and its
# own relaxation is solved to this share of that gap.
_HOPEFUL, _SHARPER = 8.0, 0.1
# After so many steps in a row that gained less, no weights within the ball will be found.
_MOST_IDLE = 4


@dataclass(frozen=True)
class GradedRelaxation(Relaxation):
    """What the graded sample found.

    Attributes
    ----------
    lam : float
        The multiplier of the norm: u is about (v0 + S^T w) / lam.
    records : list of dict
        For each step: ``bound``; ``gain``, what it took off the bound; ``moved``, by how much
        prices changed, per unit of length; ``num_rows`` drawn; ``bytes_sent`` by then; ``gap``
        between bound and weights, relative, NaN where it was not computed.
    """

    lam: float = 0.0
    records: list[dict[str, float]] = field(default_factory=list)


def graded_relaxation(
    problem: Problem,
    gaps: tuple[float, float] = FINE,
    *,
    time_limit: float = float("inf"),
    steps: Steps | None = None,
    follow: Callable[[float], bool] | None = None,
) -> GradedRelaxation:
    """Solve the relaxation of Eq. 3 by products with S, sums of its rows, and few rows at a time.

    Linear constraints, an offset and fixed examples are honoured; ``max_size`` limits the bound and
    the value alone.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size" with normalization "full".
    gaps : (float, float)
        Relative, and in examples, as in `Ascent.run`.
    time_limit : float
        Seconds; what has been found by then is given.
    steps : Steps, optional
        Goes on from what is kept there, and keeps the state after each step.
    follow : callable, optional
        Called after each step with the best bound so far; True ends the search.

    Raises
    ------
    ProblemError
        If S has more than 20,000 columns.
    """
    require_few_columns(problem)
    clock = Clock(time_limit)
    point = Point(problem, clock, steps)
    # Rows of zeros move nothing, whatever they are multiplied by.
    while problem.rows.squared_norms[problem.free].any():
        tolerance = max(gaps[0] * point.height, gaps[1])
        if (follow is not None and follow(point.best.bound)) or clock.remaining <= 0:
            break
        is_last = len(point.records) == _MOST_STEPS or _is_idle(point, tolerance)
        if is_last or point.gain <= _HOPEFUL * tolerance:
            point.close(_SHARPER * tolerance)
            is_excluded = point.best.bound < problem.must_prune.sum()
            if is_last or is_excluded or point.height - point.value <= tolerance:
                break
        point.step()
    most = float(problem.max_size)
    weights = point.mask().astype(np.float64) if point.weights is None else point.weights
    return GradedRelaxation(
        weights=weights,
        value=max(0.0, min(point.value, most)),
        dual=replace(point.best, bound=min(point.best.bound, most)),
        num_passes=_PASSES * len(point.records),
        solve_time=clock.elapsed,
        lam=point.lam,
        records=point.records,
    )


def _is_idle(point: Point, tolerance: float) -> bool:
    """Whether the last steps gained nothing, so that no weights within the ball will be found."""
    gains = [record["gain"] for record in point.records[-_MOST_IDLE:]]
    return len(gains) == _MOST_IDLE and max(gains) <= tolerance


def require_few_columns(problem: Problem) -> None:
    """Refuse more columns of S than the rows of a step may have.

    Raises
    ------
    ProblemError
        With the number.
    """
    if problem.d > MOST_PARAMETERS:
        raise ProblemError(
            f"S in shards has d = {problem.d:,} columns, and Eq. 3 on shards takes at most "
            f"{MOST_PARAMETERS:,}: each of its steps brings {LEAST_PER_PARAMETER} rows for each "
            "parameter to one machine. Ask with size=..., or reduce the features first."
        )

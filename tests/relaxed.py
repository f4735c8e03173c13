"""The relaxation solved to its end, for tests that compare with it."""

from __future__ import annotations

from subsetsel.bounds.relaxation import SHARP, Ascent, Relaxation
from subsetsel.problem.problem import Problem


def relax(problem: Problem, *, time_limit: float = float("inf")) -> Relaxation:
    """Solve the relaxation until its own gap is closed or time is up."""
    return Ascent(problem).run(SHARP, time_limit)

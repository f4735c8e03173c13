"""From answers about an enlarged model to a proof for the true problem.

A solver that rounds, to integers or within a tolerance, is asked about an outer model: every truly
feasible subset is feasible in it, so what it excludes is excluded. Subsets that only rounding lets
in are told apart in float64 and forbidden one by one until nothing is left that could be better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray

# Subsets inside the rounding margin that are forbidden before the proof is given up.
_MAX_EXCLUDED = 50


@dataclass(frozen=True)
class Question:
    """Which subsets are searched.

    Attributes
    ----------
    is_outer : bool
        Enlarged, so that nothing feasible is lost; else shrunk, so that all it holds is feasible.
    least : int
        Fewest pruned (Eq. 3).
    cutoff : float
        Largest norm of interest (Eq. 4).
    excluded : list of ndarray of shape (n,), bool
    hint : ndarray of shape (n,), bool, or None
    """

    is_outer: bool
    least: int
    cutoff: float
    excluded: list[BoolArray] = field(default_factory=list)
    hint: BoolArray | None = None


@dataclass(frozen=True)
class Answer:
    """What a model solver says about a `Question`.

    Attributes
    ----------
    status : {"optimal", "infeasible", "stopped"}
    mask : ndarray of shape (n,), bool, or None
        The best subset of the model.
    bound : float or None
        For the true problem, excluded subsets aside: size from above or norm from below.
    """

    status: Literal["optimal", "infeasible", "stopped"]
    mask: BoolArray | None = None
    bound: float | None = None


def largest_size(problem: Problem) -> int:
    """Size that no subset can exceed, whatever its norm.

    Returns
    -------
    int
    """
    return min(problem.max_size, problem.n - int(problem.must_keep.sum()))


def prove(ask: Callable[[Question], Answer], problem: Problem, run: Run) -> Candidate:
    """Ask until the incumbent is proved optimal, time is up, or rounding hides the answer.

    Parameters
    ----------
    ask : callable
        Solves the model of a `Question`, submitting to ``run`` what it finds.
    problem : Problem
    run : Run

    Returns
    -------
    Candidate
    """
    excluded: list[BoolArray] = []
    is_sizing = problem.form == "max_size"

    def question(is_outer: bool) -> Question:
        least = run.size + 1 if run.mask is not None and is_sizing else 0
        return Question(is_outer, least, run.norm, list(excluded), run.mask)

    def finish(bound: float | None, *, is_optimal: bool = False) -> Candidate:
        stats = {"num_excluded": len(excluded)}
        if bound is not None and run.mask is not None:
            bound = max(bound, float(run.size)) if is_sizing else min(bound, run.norm)
        is_infeasible = is_optimal and run.mask is None
        return Candidate(
            run.limit, is_optimal and not is_infeasible, is_infeasible, bound, stats=stats
        )

    bound: float | None = None
    while len(excluded) < _MAX_EXCLUDED and not run.should_stop():
        if is_sizing and run.mask is not None and run.size >= largest_size(problem):
            return finish(None, is_optimal=True)
        answer = ask(question(is_outer=True))
        if answer.status == "infeasible":
            return finish(None, is_optimal=True)
        # The first bound is over all subsets; later ones leave out what was looked at already.
        bound = answer.bound if is_sizing or not excluded else bound
        if answer.status == "stopped" or answer.mask is None:
            _note_limit(run)
            return finish(bound)
        if is_sizing and run.mask is not None and bound is not None and run.size >= np.floor(bound):
            return finish(bound, is_optimal=True)
        excluded.append(answer.mask)
    if is_sizing and not run.should_stop() and ask(question(is_outer=False)).status == "stopped":
        _note_limit(run)
    return finish(bound)


def _note_limit(run: Run) -> None:
    """Say which limit a model solver stopped at, a moment before `Run` would see it."""
    if run.should_stop():
        return
    if np.isfinite(run.remaining):
        run.limit = "time"
    elif run.limits.max_iterations is not None:
        run.limit = "iterations"

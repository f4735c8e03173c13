"""What is proved of a problem while it is searched: its relaxation and the best bound so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.bounds.dual import (
    can_bound_norm,
    evaluate_dual,
    lower_bound_on_norm,
    norm_along,
    uniform_norm,
)
from subsetsel.engine.result import Candidate
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.rows.base import FloatArray
from subsetsel.support.clock import Clock, TimeIsUp

if TYPE_CHECKING:
    from subsetsel.bounds.point import Steps
    from subsetsel.bounds.relaxation import Ascent, Relaxation

# Shares of the time that is left for the relaxation, and for the semidefinite bound.
_RELAXATION_SHARE, _STRENGTHENING_SHARE = 0.5, 0.2
# Rows whose squares lie so low that nothing can be divided by them.
_VANISHING = 1e-140
# The semidefinite bound is not asked where the gap is below so many examples, or below this share
# of the size, nor for more parameters than these: it would gain nothing, or take too long.
_LEAST_GAP, _LEAST_RELATIVE_GAP = 2.0, 5e-4
_MOST_PARAMETERS = 4096
# A relaxed point with this share of the norm found leaves no bound worth the passes over S.
_HOPELESS = 1e-2
# A lower bound with this share of the norm found needs no more steps.
_ENOUGH = 0.9
# Seconds for which it is asked whether anything is feasible at all, even where no time is left.
_TO_EXCLUDE = 0.1


def _go_on() -> bool:
    """Follow nothing, and end nothing."""
    return False


class Proof:
    """The proven bound of one problem, and the relaxation that it comes from.

    Parameters
    ----------
    problem : Problem
    remaining : callable
        Gives the seconds that are left; inf without a limit.
    is_tight : bool
        Whether the semidefinite bound is wanted.

    Attributes
    ----------
    bound : float or None
        Proven upper bound on the size (Eq. 3), or lower bound on the norm (Eq. 4).
    lam : float or None
        The multiplier of the norm that the relaxation begins with, where one is known.
    steps : Steps or None
        Where the relaxation of rows in shards keeps its state.
    follow : callable
        Called after each step of that relaxation; True ends it.
    """

    def __init__(
        self, problem: Problem, remaining: Callable[[], float], *, is_tight: bool = False
    ) -> None:
        self.problem = problem
        self.bound: float | None = None
        self._remaining, self._is_tight = remaining, is_tight
        self._ascent: Ascent | None = None
        self._relaxation: Relaxation | None = None
        self._is_sharp = False
        self.lam: float | None = None
        self.steps: Steps | None = None
        self.follow: Callable[[], bool] = _go_on

    def tighten(self, bound: float | None) -> None:
        """Take a proven bound if it is better than the one there is."""
        if bound is None or np.isnan(bound):
            return
        if self.bound is None:
            self.bound = bound
        else:
            better = min if self.problem.form == "max_size" else max
            self.bound = better(self.bound, bound)

    def _tighten_exact(self, bound: float) -> None:
        """Take a bound that rests on norms, if the rows are exact: else it says nothing."""
        if self.problem.rows.is_exact:
            self.tighten(bound)

    def gap(self, size: int) -> float | None:
        """Relative distance of a size to the bound; None without a bound on the size."""
        if self.problem.form != "max_size" or self.bound is None:
            return None
        most = int(np.floor(self.bound))
        return (most - size) / most if most > 0 else 0.0

    def is_reached(self, size: int, norm: float) -> bool:
        """Whether a subset of this size and norm is proved optimal."""
        return self.gap(size) == 0.0 if self.problem.form == "max_size" else norm == 0.0

    # --- Eq. 3 ----------------------------------------------------------------------------------

    def solve_relaxation(self) -> Relaxation | None:
        """Solve the relaxation at the first call, and hand out the same one after that.

        None unless the problem is Eq. 3 with normalization "full" (elsewhere the relaxation says
        nothing), S can be read row by row, and its rows are not all next to nothing.
        """
        problem = self.problem
        if problem.form != "max_size" or problem.normalization != "full":
            return None
        if problem.rows.proxy is not problem.rows:
            return None
        if self._relaxation is None and not self._is_vanishing():
            seconds = _RELAXATION_SHARE * self._remaining()
            self._relaxation = self._relax(seconds)
            self._tighten_exact(self._relaxation.bound)
        return self._relaxation

    def _relax(self, seconds: float) -> Relaxation:
        if self.problem.rows.shards is not None:
            from subsetsel.bounds.graded import graded_relaxation

            return graded_relaxation(
                self.problem, time_limit=seconds, steps=self.steps, follow=self._take_step
            )
        from subsetsel.bounds.relaxation import COARSE, Ascent

        self._ascent = Ascent(self.problem, lam=self.lam)
        return self._ascent.run(COARSE, seconds)

    def _take_step(self, bound: float) -> bool:
        self._tighten_exact(bound)
        return self.follow()

    def _is_vanishing(self) -> bool:
        """Whether the squares of all rows that may be chosen are next to nothing."""
        rows, free = self.problem.rows, self.problem.free
        largest = float(np.sqrt(rows.squared_norms[free].max(initial=0.0)))
        if largest > _VANISHING:
            return False
        # Squares may be exactly 0 where the rows are not.
        return bool(rows.sum(free).any()) or largest > 0

    def sharpen(self) -> None:
        """Close the relaxation's own gap as far as it goes, which pays near a proof."""
        if self._ascent is not None and not self._is_sharp:
            from subsetsel.bounds.relaxation import SHARP

            self._is_sharp = True
            self._relaxation = self._ascent.run(SHARP, _RELAXATION_SHARE * self._remaining())
            self._tighten_exact(self._relaxation.bound)

    def strengthen(self, size: int) -> None:
        """Ask the semidefinite bound once, where it is wanted and the gap is worth the work."""
        relaxation, gap = self._relaxation, self.gap(size)
        if not self._is_tight or relaxation is None or gap is None or self.bound is None:
            return
        is_near = self.bound - size < _LEAST_GAP or gap < _LEAST_RELATIVE_GAP
        if is_near or self.problem.d > _MOST_PARAMETERS:
            return
        from subsetsel.bounds.semidefinite import strengthen

        self._is_tight = False
        limit = _STRENGTHENING_SHARE * self._remaining()
        self.tighten(strengthen(self.problem, relaxation, size, limit))

    # --- after a search -------------------------------------------------------------------------

    def excludes_all(self) -> bool:
        """Whether the linear constraints alone, or with them the norm, exclude every subset."""
        problem, clock = self.problem, Clock(max(_TO_EXCLUDE, self._remaining()))
        try:
            if find_mask(problem, clock=clock) is None:
                return True
        except TimeIsUp:
            return False
        if problem.epsilon is None or not problem.rows.is_exact:
            return False
        allowed = problem.epsilon * (1 + FEASIBILITY)
        if self.is_out_of_reach():
            return True
        least = lower_bound_on_norm(problem, num_steps=200, at_least=allowed, clock=clock)
        return least > allowed

    def is_out_of_reach(self) -> bool:
        """Whether the relaxation of Eq. 3 proves in one pass that every norm is above epsilon.

        Where nothing fits, its ascent leads to the least norm there is.
        """
        problem, relaxation = self.problem, self._relaxation
        if relaxation is None or not problem.rows.is_exact or self._remaining() <= 0:
            return False
        assert problem.epsilon is not None
        allowed = problem.epsilon * (1 + FEASIBILITY)
        return norm_along(problem, relaxation.dual.u, clock=Clock(self._remaining())) > allowed

    def conclude(self, candidate: Candidate, size: int, norm: float, total: FloatArray) -> None:
        """Prove what can be proved of the best subset, which has this size, norm and S^T W."""
        if self.problem.form == "min_norm":
            self.tighten(min(self._least_norm(candidate, norm, total), norm))
        else:
            if candidate.is_optimal and not candidate.tolerance:
                self.tighten(float(size))
            self.conclude_without_subset(candidate)
            if self._remaining() > 0:
                self.strengthen(size)

    def conclude_without_subset(self, candidate: Candidate) -> None:
        """Prove what can be proved of Eq. 3 where no subset is known."""
        if self.problem.form == "max_size" and self.problem.normalization == "full":
            if not candidate.tolerance:
                self.tighten(candidate.bound)
            if candidate.dual is not None:
                self._tighten_exact(evaluate_dual(self.problem, candidate.dual).bound)
            self.solve_relaxation()

    def _least_norm(self, candidate: Candidate, norm: float, total: FloatArray) -> float:
        """Proven lower bound on the norm at the size asked for; 0 holds always."""
        known = 0.0
        if not candidate.tolerance:
            if candidate.is_optimal:
                return norm
            known = max(known, candidate.bound or 0.0)
        if not self.problem.rows.is_exact:
            return known
        relaxed = uniform_norm(self.problem)
        if relaxed is not None and relaxed <= _HOPELESS * norm:
            return known
        for u in (candidate.dual, total):
            # Time for these passes was set aside.
            if u is not None and (self._remaining() > 0 or can_bound_norm(self.problem)):
                known = max(known, norm_along(self.problem, u, clock=Clock(self._remaining())))
        if self._remaining() <= 0 or known >= _ENOUGH * norm:
            return known
        clock = Clock(self._remaining())
        return max(known, lower_bound_on_norm(self.problem, num_steps=5, clock=clock))

"""What is proved while a problem is searched: its relaxation and the best bound so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from subsetsel.problem.problem import Problem

if TYPE_CHECKING:
    from subsetsel.bounds.relaxation import Ascent, Relaxation

# Rows whose squares lie so low that nothing can be divided by them.
_VANISHING = 1e-140
# The semidefinite bound is not asked where the gap is below so many examples, or below this share
# of the size, nor for more parameters than these: it would gain nothing, or take too long.
_LEAST_GAP, _LEAST_RELATIVE_GAP = 2.0, 5e-4
_MOST_PARAMETERS = 4096


class Proof:
    """The proven bound of one problem, and the relaxation that it comes from.

    Parameters
    ----------
    problem : Problem

    Attributes
    ----------
    bound : float or None
        Proven upper bound on the size (Eq. 3), or lower bound on the norm (Eq. 4).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.bound: float | None = None
        self._ascent: Ascent | None = None
        self._relaxation: Relaxation | None = None
        self._is_sharp = self._is_strong = False

    def tighten(self, bound: float | None) -> None:
        """Take a proven bound if it is better than the one there is."""
        if bound is None or np.isnan(bound):
            return
        if self.bound is None:
            self.bound = bound
        else:
            better = min if self.problem.form == "max_size" else max
            self.bound = better(self.bound, bound)

    def gap(self, size: int) -> float | None:
        """Relative distance of a size to the bound; None without a bound on the size."""
        if self.problem.form != "max_size" or self.bound is None:
            return None
        most = int(np.floor(self.bound))
        return (most - size) / most if most > 0 else 0.0

    def solve_relaxation(self, time_limit: float) -> Relaxation | None:
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
            from subsetsel.bounds.relaxation import COARSE, Ascent

            self._ascent = Ascent(problem)
            self._relaxation = self._ascent.run(COARSE, time_limit)
            self.tighten(self._relaxation.bound)
        return self._relaxation

    def _is_vanishing(self) -> bool:
        """Whether the squares of all rows that may be chosen are next to nothing."""
        rows, free = self.problem.rows, self.problem.free
        largest = float(np.sqrt(rows.squared_norms[free].max(initial=0.0)))
        if largest > _VANISHING:
            return False
        # Squares may be exactly 0 where the rows are not.
        return bool(rows.sum(free).any()) or largest > 0

    def sharpen(self, time_limit: float) -> None:
        """Close the relaxation's own gap as far as it goes, which pays near a proof."""
        if self._ascent is not None and not self._is_sharp:
            from subsetsel.bounds.relaxation import SHARP

            self._is_sharp = True
            self._relaxation = self._ascent.run(SHARP, time_limit)
            self.tighten(self._relaxation.bound)

    def strengthen(self, size: int, time_limit: float) -> None:
        """Tighten the bound once by the semidefinite relaxation, where a gap is worth the work."""
        relaxation, gap = self._relaxation, self.gap(size)
        if self._is_strong or relaxation is None or gap is None or self.bound is None:
            return
        is_near = self.bound - size < _LEAST_GAP or gap < _LEAST_RELATIVE_GAP
        if is_near or self.problem.d > _MOST_PARAMETERS:
            return
        from subsetsel.bounds.semidefinite import strengthen

        self._is_strong = True
        self.tighten(strengthen(self.problem, relaxation, size, time_limit))

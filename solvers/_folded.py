"""Eq. 4 where many examples are fixed: search the others alone, beside an offset.

What is fixed then takes no part in the start, in the temperature and in the passes. Measured at
equal work (three seeds, what is fixed drawn at random and set as a good subset has it): with nine
tenths fixed the norm on heavytail1-20000x256/size=40% is 3 to 6 % smaller, with half of them fixed
between 8 % smaller and 9 % larger; digits-ridge/size=40% and powerlaw-20000x256/size=40% give the
same. Under Eq. 3 (powerlaw 2 %, digits 1.0) size and time are the same, so that it is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.fold import Folded, fold
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray
from subsetsel.support.memory import most_held

# Share of the examples from which on it is worth a copy of the rows of the others.
_FIXED = 0.5


def can_fold(problem: Problem) -> bool:
    """Whether enough is fixed, and the rows of the others can be held."""
    rows, num = problem.rows, int(np.count_nonzero(problem.free))
    if problem.form != "min_norm" or not 0 < num <= (1.0 - _FIXED) * problem.n:
        return False
    is_here = rows.proxy is rows and rows.shards is None
    return is_here and num * rows.d * rows.dtype.itemsize <= most_held()


def search_folded(
    engine: Callable[[Problem, Run], Candidate], problem: Problem, run: Run
) -> Candidate:
    """Search the free examples, and submit what is found with the fixed ones."""
    folded = fold(problem, np.flatnonzero(problem.free), problem.must_prune)
    return engine(folded.problem, _Within(folded, run))


class _Within(Run):
    """A run on the free examples whose work and subsets are those of another run."""

    def __init__(self, folded: Folded, run: Run) -> None:
        guess = run.initial_mask()
        limits = replace(
            run.limits,
            max_iterations=run.iterations_left,
            initial_guess=None if guess is None else guess[folded.items],
            callback=None,
            progress=None,
            trace=False,
        )
        super().__init__(folded.problem, limits, parent=run, effort=run.effort)
        self.start_time, self._folded, self._outer = run.start_time, folded, run

    def add_iterations(self, count: int) -> None:
        """Count work for both, and call back."""
        super().add_iterations(count)
        self._outer.add_iterations(count)

    def submit(self, mask: BoolArray) -> bool:
        """Offer a subset to both."""
        is_better = super().submit(mask)
        if is_better:
            self._outer.submit(self._folded.unfold(mask))
        return is_better

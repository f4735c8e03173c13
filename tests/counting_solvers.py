"""Solvers for tests: exact by counting, in several degrees of knowledge and honesty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import OptionError
from subsetsel.problem.problem import Problem
from subsetsel.testing import feasible_subsets


@dataclass(frozen=True)
class CountingOptions:
    """One option, so that validation can be tested."""

    max_n: int = 16

    def __post_init__(self) -> None:
        if self.max_n < 1:
            raise OptionError(f"max_n must be an integer >= 1, got {self.max_n!r}.")


class CountingSolver:
    """Look at every subset; hand in each that improves on those before it."""

    Options: ClassVar[type[CountingOptions]] = CountingOptions

    def warm_up(self, problem: Problem, options: CountingOptions) -> None:
        """Compile nothing."""

    def solve(self, problem: Problem, options: CountingOptions, run: Run) -> Candidate:
        """Search for a subset."""
        masks, norms = feasible_subsets(problem)
        sizes = masks.sum(axis=1) if problem.form == "max_size" else np.zeros(len(masks))
        best = (-1.0, -np.inf)
        for mask, size, norm in zip(masks, sizes, norms, strict=True):
            if (size, -norm) <= best:
                continue
            best = (size, -norm)
            if run.should_stop():
                return Candidate(limit=run.limit)
            run.add_iterations(1)
            run.submit(mask)
        run.should_stop()
        return Candidate(is_optimal=len(masks) > 0, is_infeasible=not len(masks))


class MinNormSolver(CountingSolver):
    """Knows Eq. 4 alone and says so by failing on anything else."""

    def solve(self, problem: Problem, options: CountingOptions, run: Run) -> Candidate:
        """Search for a subset."""
        assert problem.form == "min_norm", "asked for a form it does not know"
        return super().solve(problem, options, run)


class MaxSizeSolver(CountingSolver):
    """Knows Eq. 3 with normalization "full" alone and says so by failing on anything else."""

    def solve(self, problem: Problem, options: CountingOptions, run: Run) -> Candidate:
        """Search for a subset."""
        assert problem.form == "max_size", "asked for a form it does not know"
        assert problem.normalization == "full", "asked for a normalization it does not know"
        return super().solve(problem, options, run)


class LyingSolver(CountingSolver):
    """Stops at the first subset and calls it optimal."""

    def solve(self, problem: Problem, options: CountingOptions, run: Run) -> Candidate:
        """Search for a subset."""
        masks, _ = feasible_subsets(problem)
        if len(masks):
            run.submit(masks[0])
        return Candidate(is_optimal=len(masks) > 0)


class DeafSolver(CountingSolver):
    """Listens to no seed: two runs end at different subsets."""

    num_runs: ClassVar[int] = 0

    def solve(self, problem: Problem, options: CountingOptions, run: Run) -> Candidate:
        """Search for a subset."""
        masks, _ = feasible_subsets(problem)
        DeafSolver.num_runs += 1
        if len(masks):
            run.submit(masks[DeafSolver.num_runs % len(masks)])
        return Candidate()


class IdleSolver(CountingSolver):
    """Finds nothing and proves nothing."""

    def solve(self, problem: Problem, options: CountingOptions, run: Run) -> Candidate:
        """Search for a subset."""
        return Candidate()


class BrokenSolver(CountingSolver):
    """Hands in nothing and reports a limit that does not exist."""

    def solve(self, problem: Problem, options: CountingOptions, run: Run) -> Candidate:
        """Search for a subset."""
        return Candidate(limit="boredom")  # type: ignore[arg-type]

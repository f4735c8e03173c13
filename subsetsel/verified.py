"""The search for the largest set that an exact refit verifies.

At a size m the solver minimizes the joint influence (Eq. 4), and the head is refitted on what is
kept. How much of the limits the refit uses up grows like a power of 1 / (number kept), so that the
next size comes from a secant in logarithms, held inside a bracket. Sizes are first located with a
share of the solver's work, then settled with all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.bridge import Engine
from subsetsel.criteria import Criteria, accuracy_drop
from subsetsel.polytope import find_mask, minimize_linear
from subsetsel.problem import Problem
from subsetsel.rows.base import BoolArray
from subsetsel.run import Progress, Run
from subsetsel.verify import Verification, verify

if TYPE_CHECKING:
    from subsetsel.influence.head import Head

# Share of a solver's own work budget while the size is still being located.
COARSE_EFFORT = 0.1
FULL_EFFORT = 1.0
# A set whose norm cannot matter: what counts is the refit.
NO_LIMIT = 1e300

# How the change grows with the number kept where nothing is known yet, and between which slopes
# two measurements are believed.
_SLOPE, _LEAST_SLOPE, _MOST_SLOPE = -1.1, -6.0, -0.25
# Load aimed at: a little within the limit.
_AIM = 0.985
_MAX_PROBES = 24


@dataclass(frozen=True, eq=False)
class Step:
    """One size that was tried: the subset, its refit, and how much of the limits it uses up."""

    mask: BoolArray
    check: Verification
    load: float
    effort: float
    is_met: bool

    @property
    def size(self) -> int:
        """How many are pruned."""
        return self.check.num_pruned

    def record(self) -> dict[str, Any]:
        """Give the point of the curve, in types that JSON knows.

        Returns
        -------
        dict
        """
        check = self.check
        point: dict[str, Any] = {
            "m": self.size,
            "predicted_kept": check.predicted_kept,
            "predicted_newton": check.predicted_newton,
            "change": check.change,
            "change_error": check.change_error,
            "curvature": check.curvature,
            "effort": self.effort,
            "is_verified": self.is_met,
        }
        if check.loss_gap is not None:
            point |= {"loss_gap": check.loss_gap, "accuracy_drop": accuracy_drop(check)}
        return point


Chooser = Callable[[int, float, BoolArray | None], BoolArray | None]


class VerifiedSearch:
    """Walk over sizes; see the module's text.

    Parameters
    ----------
    problem : Problem
        With a head. Its goal is replaced; everything else holds.
    criteria : Criteria
    run : Run
        Clock, budget and callbacks of the whole; what is verified is submitted to it.
    engine : callable
        Solves the form "min_norm".
    validation : (X, y), optional
    """

    def __init__(
        self,
        problem: Problem,
        criteria: Criteria,
        run: Run,
        engine: Engine,
        validation: tuple[Any, Any] | None,
    ) -> None:
        self.problem = problem
        self.criteria = criteria
        self.run = run
        self.engine = engine
        self.validation = validation
        self.steps: list[Step] = []
        self.best: Step | None = None
        self.least, self.most = 1, problem.n - 1

    @property
    def head(self) -> Head:
        """The head that is refitted."""
        assert self.problem.head is not None
        return self.problem.head

    @property
    def is_largest(self) -> bool:
        """Whether the other constraints allow no larger set than the one that was verified."""
        return self.best is not None and self.best.size >= self.most

    def find(self, guess: BoolArray | None) -> bool:
        """Search; the result is `best`.

        Parameters
        ----------
        guess : ndarray of shape (n,), bool, optional
            Where to start.

        Returns
        -------
        bool
            False if it is proved that the constraints leave no non-empty set.
        """
        sizes = allowed_sizes(self.run.problem)
        if sizes is None:
            return False
        self.least, self.most = sizes
        start = self._first_size()
        if guess is not None and guess.any():
            start = int(np.clip(guess.sum(), self.least, self.most))
            self._close_in(start, COARSE_EFFORT, 0.01, guess)
        else:
            self._close_in(start, COARSE_EFFORT, 0.05, None)
        if self.best is None:
            self._climb()
        if self.best is not None:
            self._settle()
        return True

    # --- sizes ----------------------------------------------------------------------------------

    def _first_size(self) -> int:
        """Between the fewest and the most that may be kept, in logarithms: cheap to refit."""
        middle = math.sqrt((self.problem.n - self.most) * (self.problem.n - self.least))
        return int(np.clip(self.problem.n - round(middle), self.least, self.most))

    def _close_in(
        self, start: int, effort: float, tolerance: float, guess: BoolArray | None
    ) -> None:
        """Bracket the largest size that is verified at one effort."""
        n = self.problem.n
        low = self.least - 1 if self.best is None else self.best.size
        high = self.most + 1
        tried: list[Step] = [] if self.best is None else [self.best]
        m, width = start, math.inf
        for _ in range(_MAX_PROBES):
            step = self.probe(m, effort, guess)
            if self.run.should_stop():
                return
            if step is not None:
                tried.append(step)
            if step is not None and step.is_met:
                low = max(low, step.size)
            else:
                high = min(high, m)
            if high - low <= max(1, round(tolerance * (n - low))):
                return
            is_slow = math.log((n - low) / (n - high + 1)) > 0.5 * width
            m = self._next_size(tried, low, high, bisect=is_slow and high <= self.most)
            width = math.log((n - low) / (n - high + 1))

    def _next_size(self, tried: list[Step], low: int, high: int, *, bisect: bool) -> int:
        """Secant in log(load) over log(number kept), strictly inside the bracket."""
        n = self.problem.n
        middle = n - round(math.sqrt(max(1, n - low) * max(1, n - high)))
        if not bisect:
            usable = [s for s in tried if 0 < s.load < math.inf][-2:]
            if usable:
                shift = math.log(_AIM / usable[-1].load) / _slope(usable, n)
                kept = (n - usable[-1].size) * math.exp(float(np.clip(shift, -3.0, 3.0)))
                if low < n - math.ceil(kept) < high:
                    return n - math.ceil(kept)
        return int(np.clip(middle, low + 1, high - 1))

    def _climb(self) -> None:
        """Nothing was verified: try the smallest sizes, and from them upwards."""
        m, step_width = self.least, 1
        tried = min((s.size for s in self.steps), default=self.most + 1)
        while self.best is None and m < tried and not self.run.should_stop():
            self.probe(m, FULL_EFFORT, None)
            m, step_width = m + step_width, 2 * step_width

    def _settle(self) -> None:
        """Spend the solver's whole budget near the largest size found so far."""
        assert self.best is not None
        if self.best.size >= self.most or self.run.should_stop():
            return
        n = self.problem.n
        failed = [s.size for s in self.steps if s.size > self.best.size]
        start = min(failed, default=self.best.size + max(1, (n - self.best.size) // 20))
        self._close_in(min(start, self.most), FULL_EFFORT, 0.005, None)

    # --- one size -------------------------------------------------------------------------------

    def probe(self, m: int, effort: float, guess: BoolArray | None) -> Step | None:
        """Choose m examples, refit, and keep the result if it is the largest verified.

        Parameters
        ----------
        m : int
        effort : float
        guess : ndarray of shape (n,), bool, optional
            Where to start; the best so far otherwise.

        Returns
        -------
        Step or None
            None if no subset of that size was found.
        """
        if guess is None and self.best is not None:
            guess = self.best.mask
        if guess is None and self.steps:
            guess = self.steps[-1].mask
        mask = self.choose(m, effort, guess)
        if mask is None:
            return None
        return self.examine(mask, effort)

    def examine(self, mask: BoolArray, effort: float) -> Step:
        """Refit on what is kept and compare with the limits.

        Returns
        -------
        Step
        """
        check = verify(self.question(mask), mask, test=self.validation)
        step = Step(mask, check, self.criteria.load(check), effort, self.criteria.is_met(check))
        self.steps.append(step)
        if step.is_met and (self.best is None or step.size > self.best.size):
            self.best = step
            self.run.submit(mask)
        return step

    def question(self, mask: BoolArray) -> Problem:
        """Make the problem that the refit of a subset answers: with epsilon where there is one.

        Returns
        -------
        Problem
        """
        if self.criteria.epsilon is None:
            return self.problem.replace(size=int(mask.sum()))
        return self.problem.replace(epsilon=self.criteria.epsilon)

    def choose(self, m: int, effort: float, guess: BoolArray | None) -> BoolArray | None:
        """Let the solver choose m examples of small joint influence.

        Returns
        -------
        ndarray of shape (n,), bool, or None
        """
        sub = self.problem.replace(size=m)
        counted = 0

        def follow(record: Progress) -> bool:
            nonlocal counted
            self.run.add_iterations(record.num_iterations - counted)
            counted = record.num_iterations
            return self.run.should_stop()

        limits = replace(
            self.run.limits,
            time_limit=None,
            max_iterations=self.run.iterations_left,
            target=None,
            initial_guess=guess,
            callback=follow,
            progress=None,
            bound=False,
            trace=False,
        )
        # No parent: a clock would make a solver take as much of it as it can, not its usual work.
        inner = Run(sub, limits, effort=effort)
        if guess is not None and int(guess.sum()) == m:
            inner.submit(guess)
        self.engine(sub, inner)
        self.run.add_iterations(inner.num_iterations - counted)
        if inner.limit == "interrupted" and self.run.limit is None:
            self.run.limit = "interrupted"
        return inner.mask


def allowed_sizes(problem: Problem) -> tuple[int, int] | None:
    """Fewest and most examples that everything but the norm lets one prune, at least one.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size".

    Returns
    -------
    (int, int) or None
        None where no non-empty subset is allowed; the second is a proven upper bound.
    """
    forced = problem.must_prune
    if not problem.constraints.violations(forced):
        least = int(forced.sum())
    else:
        smallest = find_mask(problem)
        if smallest is None:
            return None
        least = int(smallest.sum())
    _, value = minimize_linear(problem, np.full(problem.n, -1.0))
    most = problem.max_size if value == -math.inf else math.floor(-value)
    most = min(most, problem.max_size, problem.n - 1)
    least = max(least, 1)
    return None if least > most else (least, most)


def _slope(steps: list[Step], n: int) -> float:
    """Slope of log(load) over log(number kept) through two steps."""
    if len(steps) < 2 or steps[0].size == steps[1].size:
        return _SLOPE
    rise = math.log(steps[1].load / steps[0].load)
    run = math.log((n - steps[1].size) / (n - steps[0].size))
    return float(np.clip(rise / run, _LEAST_SLOPE, _MOST_SLOPE))

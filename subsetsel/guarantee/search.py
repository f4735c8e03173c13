"""The search for the largest set that an exact refit verifies.

At a size m the solver minimizes the joint influence (Eq. 4), and the head is refitted on what is
kept. How much of the limits the refit uses up grows like a power of pruned / kept, so that the next
size comes from a secant in logarithms, held inside a bracket. Sizes are first located with a
share of the solver's work, then settled with all of it.
"""

from __future__ import annotations

import math

import numpy as np

from subsetsel.guarantee.seeds import LARGE
from subsetsel.guarantee.trial import Prober, Step
from subsetsel.problem.linear import find_mask, minimize_linear
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray

# Share of a solver's own work budget while the size is still being located.
COARSE_EFFORT = 0.2
FULL_EFFORT = 1.0
# A norm that cannot matter: what counts is the refit.
NO_LIMIT = 1e300

# How the load grows with pruned / kept where nothing is known yet; between which exponents two
# measurements are believed; and how far apart in log(pruned / kept) they must be.
_SLOPE, _LEAST_SLOPE, _MOST_SLOPE, _LEAST_RUN = 1.0, 0.25, 6.0, 0.1
# Load aimed at: a little within the limit, and a little more so after a miss.
_AIM, _AIM_AGAIN = 0.985, 0.965
_MAX_COARSE, _MAX_FULL = 24, 8
# From an earlier answer: so many, and none where it uses up this much of the limit.
_MAX_RESUMED, _NEAR = 3, 0.95
# Where examples are many a coarse probe costs almost as much as a full one.
_MAX_LARGE_COARSE, _MAX_LARGE_FULL = 2, 5


class VerifiedSearch:
    """Walk over sizes; see the module's text.

    Parameters
    ----------
    prober : Prober
        Tries one size; its `Prober.best` is the result.
    """

    def __init__(self, prober: Prober) -> None:
        self.prober = prober
        self.run = prober.run
        self.n = prober.problem.n
        self.least, self.most = 1, self.n - 1
        # The better step of each probe, in order: what the next size is learned from.
        self._tried: list[Step] = []

    @property
    def best(self) -> Step | None:
        """The largest set that was verified."""
        return self.prober.best

    @property
    def is_largest(self) -> bool:
        """Whether the other constraints allow no larger set than the one that was verified."""
        return self.best is not None and self.best.size >= self.most

    def find(self, guess: BoolArray | None, num_known: int) -> bool:
        """Search; the result is `best`.

        Parameters
        ----------
        guess : ndarray of shape (n,), bool, optional
            An earlier answer.
        num_known : int
            To how many of the examples, the first ones, it was an answer.

        Returns
        -------
        bool
            False if it is proved that the constraints leave no non-empty set.
        """
        sizes = allowed_sizes(self.run.problem)
        if sizes is None:
            return False
        self.least, self.most = sizes
        if guess is not None and guess.any():
            self._resume(guess, num_known)
            if self.best is not None or self.run.should_stop():
                return True
        is_large = self.n > LARGE
        num_probes = _MAX_LARGE_COARSE if is_large else _MAX_COARSE
        self._close_in(self._first_size(), COARSE_EFFORT, 0.05, None, num_probes)
        self._settle()
        if self.best is None and not self.run.should_stop():
            self._climb()
            if not is_large:
                self._settle()
        return True

    def _resume(self, guess: BoolArray, num_known: int) -> None:
        """Take the earlier answer if it still holds and is near the limit; else search from it."""
        n = self.n
        if num_known == n and not self.run.problem.violations(guess):
            self._tried.append(self.prober.examine(guess, 0.0))
        if self.best is None:
            start = round(int(guess.sum()) * n / num_known)
        elif self.best.load < _NEAR and self.best.size < self.most:
            start = self._next_size(self.best.size, self.most + 1)
        else:
            return
        start = int(np.clip(start, self.least, self.most))
        self._close_in(start, FULL_EFFORT, 0.02, guess, _MAX_RESUMED)

    # --- sizes ----------------------------------------------------------------------------------

    def _first_size(self) -> int:
        """Between the fewest and the most that may be kept, in logarithms: cheap to refit."""
        middle = math.sqrt((self.n - self.most) * (self.n - self.least))
        return int(np.clip(self.n - round(middle), self.least, self.most))

    def _close_in(
        self,
        start: int,
        effort: float,
        tolerance: float,
        guess: BoolArray | None,
        max_probes: int,
    ) -> None:
        """Bracket the largest size that is verified at one effort."""
        n = self.n
        low = self.least - 1 if self.best is None else self.best.size
        high = self.most + 1
        m, width = start, math.inf
        for _ in range(max_probes):
            step = self.prober.probe(m, effort, guess)
            if self.run.should_stop():
                return
            if step is not None:
                self._tried.append(step)
                guess = None if guess is None else step.mask
            if step is not None and step.is_met:
                low = max(low, step.size)
            else:
                high = min(high, m)
            is_near = step is not None and step.is_met and step.load >= 1.0 - 2.0 * tolerance
            if is_near or high - low <= max(1, round(tolerance * (n - low))):
                return
            now = _odds(high, n) - _odds(low, n)
            is_slow = now > 0.5 * width and high <= self.most and low >= self.least
            m = self._next_size(low, high, bisect=is_slow)
            width = now

    def _next_size(self, low: int, high: int, *, bisect: bool = False) -> int:
        """Secant in log(load) over log(pruned / kept), strictly inside the bracket."""
        n = self.n
        aimed = 0.5 * (_odds(low, n) + _odds(high, n))
        usable = [s for s in self._tried if 0 < s.load < math.inf]
        if usable and not bisect:
            last = usable[-1]
            aim = _AIM if last.is_met else _AIM_AGAIN
            shift = math.log(aim / last.load) / _slope(usable, n)
            secant = _odds(last.size, n) + float(np.clip(shift, -3.0, 3.0))
            if _odds(low, n) < secant < _odds(high, n):
                aimed = secant
            elif secant <= _odds(low, n) and high > self.most:
                # Less than what was verified, it says: a step beyond tells more than half the way.
                aimed = _odds(low + max(1, (n - low) // 20), n)
        return int(np.clip(math.floor(n / (1.0 + math.exp(-aimed))), low + 1, high - 1))

    def _climb(self) -> None:
        """Nothing was verified: try the smallest sizes, and from them upwards."""
        m, step_width = self.least, 1
        tried = min((s.size for s in self.prober.steps), default=self.most + 1)
        while self.best is None and m < tried and not self.run.should_stop():
            self.prober.probe(m, FULL_EFFORT, None)
            m, step_width = m + step_width, 2 * step_width

    def _settle(self) -> None:
        """Spend the solver's whole budget on each size, near the largest one found so far."""
        low = self.least - 1 if self.best is None else self.best.size
        if not self._tried or low >= self.most or self.run.should_stop():
            return
        num_probes = _MAX_LARGE_FULL if self.n > LARGE else _MAX_FULL
        start = self._next_size(low, self.most + 1)
        self._close_in(start, FULL_EFFORT, 0.01, None, num_probes)


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


def _odds(size: int, n: int) -> float:
    """log(pruned / kept), finite at both ends."""
    pruned = min(max(float(size), 0.5), n - 0.5)
    return math.log(pruned / (n - pruned))


def _slope(steps: list[Step], n: int) -> float:
    """Slope of log(load) over log(pruned / kept) through the last two steps of one effort."""
    for later in range(len(steps) - 1, 0, -1):
        for earlier in range(later - 1, -1, -1):
            one, two = steps[earlier], steps[later]
            run = _odds(two.size, n) - _odds(one.size, n)
            if one.effort == two.effort and abs(run) >= _LEAST_RUN:
                rise = math.log(two.load / one.load)
                return float(np.clip(rise / run, _LEAST_SLOPE, _MOST_SLOPE))
    return _SLOPE

"""The search for the largest set that an exact refit verifies.

At a size m the solver minimizes the joint influence (Eq. 4), and the head is refitted on the kept
examples. How much of the limits the refit uses up grows like a power of pruned / kept. The next
size therefore comes from a secant in logarithms, and lies inside a bracket.
"""

from __future__ import annotations

import math

import numpy as np

from subsetsel.guarantee.task import EarlierAnswer
from subsetsel.guarantee.trial import Trial, odds
from subsetsel.guarantee.trials import REACH, Trials
from subsetsel.problem.problem import Problem
from subsetsel.problem.size_range import size_range
from subsetsel.rows.base import BoolArray
from subsetsel.support.clock import NO_CLOCK, Clock

# The exponent with which the usage grows with pruned / kept where nothing is known yet; between
# which exponents two trials are believed; and how far apart in log(pruned / kept) they must be.
_SLOPE, _LEAST_SLOPE, _MOST_SLOPE, _LEAST_DISTANCE = 1.0, 0.25, 6.0, 0.1
# Usage that a trial aims at: a little below the limit, and lower still after a miss.
_AIM, _AIM_AGAIN = 0.985, 0.965
# Examples for each parameter that are kept at the first size.
_PER_PARAMETER = 10
# No step is longer than this in log(pruned / kept).
_LONGEST_UP, _LONGEST_DOWN = 3.0, 1.5
# An earlier answer that uses up this share of the limits is good enough.
_NEAR = 0.95
# A walk ends where its bracket is narrower than this share of the kept examples, or what is left of
# the limits is less than twice that; and after so many sizes. From an earlier answer on both are
# smaller.
_ROUGH, _TOLERANCE, _MAX_SIZES, _MAX_FAILED = 0.05, 0.01, 20, 2
_TOLERANCE_AFTER, _MAX_SIZES_AFTER = 0.02, 3


class VerifiedSearch:
    """Walk over sizes; see the module's text.

    Parameters
    ----------
    trials : Trials
        Tries one size; its `Trials.best` is the result.
    """

    def __init__(self, trials: Trials) -> None:
        self.trials = trials
        self.run = trials.run
        self.n = trials.problem.n
        self.least, self.most = 1, self.n - 1
        # The best trial of each size, in order: what the next size is learned from.
        self._seen: list[Trial] = []

    @property
    def best(self) -> Trial | None:
        """The largest set that was verified."""
        return self.trials.best

    @property
    def is_largest(self) -> bool:
        """Whether the other constraints allow no larger set than the one that was verified."""
        return self.best is not None and self.best.size >= self.most

    def find(self, earlier: EarlierAnswer | None) -> bool:
        """Search; the result is `best`. False: proved that no non-empty set is allowed."""
        sizes = allowed_sizes(self.run.problem, self.run.clock)
        if sizes is None:
            return False
        self.least, self.most = sizes
        if earlier is not None and earlier.mask.any():
            self._resume(earlier)
            if self.best is not None or self.run.should_stop():
                return True
        self._close_in(self._first_size(), _ROUGH, _MAX_SIZES, is_rough=True)
        if self.best is None and not self.run.should_stop():
            self._climb()
        self._step_up()
        return True

    def _resume(self, earlier: EarlierAnswer) -> None:
        """Take the earlier answer if it still holds and is near the limit; else search from it."""
        n, guess = self.n, earlier.mask
        if earlier.num_examples == n and not self.run.problem.violations(guess):
            self._seen.append(self.trials.examine(guess))
        if self.best is None:
            start = round(int(guess.sum()) * n / earlier.num_examples)
        elif self.best.usage < _NEAR and self.best.size < self.most:
            start = self._next_size(self.best.size, self.most + 1)
        else:
            return
        start = int(np.clip(start, self.least, self.most))
        self._close_in(start, _TOLERANCE_AFTER, _MAX_SIZES_AFTER, guess)

    # --- sizes ----------------------------------------------------------------------------------

    def _first_size(self) -> int:
        """Begin with half of the examples kept, or with ten for each parameter if that is less."""
        kept = min(self.n // 2, _PER_PARAMETER * self.trials.problem.d)
        return int(np.clip(self.n - kept, self.least, self.most))

    def _close_in(
        self,
        start: int,
        tolerance: float,
        max_sizes: int,
        guess: BoolArray | None = None,
        *,
        is_rough: bool = False,
    ) -> None:
        """Bracket the largest size that is verified."""
        n = self.n
        low = self.least - 1 if self.best is None else self.best.size
        high = self.most + 1
        m, width = start, math.inf
        for _ in range(max_sizes):
            trial = self.trials.try_size(m, guess, is_rough=is_rough)
            if self.run.should_stop():
                return
            if trial is not None:
                self._seen.append(trial)
                guess = None if guess is None else trial.mask
            if trial is not None and trial.is_met:
                low = max(low, trial.size)
            else:
                high = min(high, m)
            enough = 1.0 - 2.0 * tolerance
            is_near = trial is not None and trial.is_met and trial.usage >= enough
            if is_near or high - low <= max(1, round(tolerance * (n - low))):
                return
            now = odds(high, n) - odds(low, n)
            is_slow = now > 0.5 * width and high <= self.most and low >= self.least
            m = self._next_size(low, high, bisect=is_slow)
            width = now

    def _step_up(self) -> None:
        """Go on from the largest set that was verified.

        Where expansions are needed, steps lead from one set to the next by the expansion around it.
        All ways to start are tried at the first step, and where no step succeeds any more.
        """
        step, num_failed, is_first = 0, 0, True
        while self.best is not None and not self.run.should_stop():
            best, enough = self.best, 1.0 - 2.0 * _TOLERANCE
            if best.usage > enough:
                best = self.trials.descend(best, enough)
            least = max(1, round(_TOLERANCE * (self.n - best.size)))
            is_expanded = self.trials.needs_expansions(best.size)
            if not num_failed:
                step = max(least, self._foreseen(best, is_expanded) - best.size)
            # Where the rows of Eq. 2 predict the refit, what failed fails again.
            failed = [t.size for t in self.trials.done if t.size > best.size and not t.is_off]
            m = min(best.size + step, self.most, *(size - 1 for size in failed))
            if m <= best.size or num_failed > _MAX_FAILED:
                return
            if is_expanded and not is_first and num_failed < _MAX_FAILED:
                trial = self.trials.try_size_near(best, m)
            else:
                trial = self.trials.try_size(m, None)
            is_first = False
            if trial is not None:
                self._seen.append(trial)
            num_failed = 0 if trial is not None and trial.is_met else num_failed + 1
            step = max(1, step // 4) if num_failed < _MAX_FAILED else least

    def _foreseen(self, best: Trial, is_expanded: bool) -> int:
        """Size at which the limits will be used up; where expansions are needed, in their reach."""
        most = REACH if is_expanded else _LONGEST_DOWN
        shift = math.log(_AIM / best.usage) / _slope(self._seen, self.n) if best.usage else most
        return self._size_at(odds(best.size, self.n) + min(shift, most))

    def _size_at(self, aimed: float) -> int:
        """Undo `odds`."""
        return math.floor(self.n / (1.0 + math.exp(-aimed)))

    def _next_size(self, low: int, high: int, *, bisect: bool = False) -> int:
        """Secant in log(usage) over log(pruned / kept), strictly inside the bracket."""
        n = self.n
        aimed = 0.5 * (odds(low, n) + odds(high, n))
        usable = [trial for trial in self._seen if 0 < trial.usage < math.inf]
        if usable and not bisect:
            last = usable[-1]
            aim = _AIM if last.is_met else _AIM_AGAIN
            shift = math.log(aim / last.usage) / _slope(usable, n)
            secant = odds(last.size, n) + float(np.clip(shift, -_LONGEST_DOWN, _LONGEST_UP))
            if odds(low, n) < secant < odds(high, n):
                aimed = secant
            elif secant <= odds(low, n) and high > self.most:
                # The secant aims below what was verified: a step beyond tells more than the middle.
                aimed = odds(low + max(1, (n - low) // 20), n)
        return int(np.clip(self._size_at(aimed), low + 1, high - 1))

    def _climb(self) -> None:
        """Nothing was verified: try the smallest sizes, and from them upwards."""
        m, width = self.least, 1
        smallest = min((trial.size for trial in self.trials.done), default=self.most + 1)
        while self.best is None and m < smallest and not self.run.should_stop():
            self.trials.try_size(m, None)
            m, width = m + width, 2 * width


def allowed_sizes(problem: Problem, clock: Clock = NO_CLOCK) -> tuple[int, int] | None:
    """Fewest and most examples that everything but the norm lets one prune, at least one.

    The second is a proven upper bound. None means that no non-empty subset is allowed. `TimeIsUp`
    is raised where the clock ends before a subset is found.
    """
    found = size_range(problem, clock)
    if found is None:
        return None
    least, most = max(found[0], 1), min(found[1], problem.n - 1)
    return None if least > most else (least, most)


def _slope(trials: list[Trial], n: int) -> float:
    """Slope of log(usage) over log(pruned / kept) through the last two trials that have one."""
    trials = [trial for trial in trials if 0 < trial.usage < math.inf]
    for later in range(len(trials) - 1, 0, -1):
        for earlier in range(later - 1, -1, -1):
            one, two = trials[earlier], trials[later]
            distance = odds(two.size, n) - odds(one.size, n)
            if abs(distance) >= _LEAST_DISTANCE:
                rise = math.log(two.usage / one.usage)
                return float(np.clip(rise / distance, _LEAST_SLOPE, _MOST_SLOPE))
    return _SLOPE

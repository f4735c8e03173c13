"""Trials: choose a number of examples, refit the head without them, judge the result.

The rows of Eq. 2 are an expansion of the refitted head around the empty set. Where a refit differs
from what they predicted, the next choice is made on an expansion around the set that was refitted,
which is exact there. As long as that pays it is repeated at the same size.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.engine.other_form import Engine
from subsetsel.engine.run import Run
from subsetsel.engine.trust_region import TrustRegion, descend
from subsetsel.engine.within import inner_run, search_within
from subsetsel.errors import ProblemError, SolverError
from subsetsel.guarantee.checkpoint import Choice, Journal, key_of
from subsetsel.guarantee.curvature import curvature_cut, weak_directions
from subsetsel.guarantee.task import Task
from subsetsel.guarantee.trial import Trial, odds
from subsetsel.guarantee.verification import refit_and_measure
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.resize import start_near
from subsetsel.problem.searched_rows import SearchedRows
from subsetsel.rows.base import BoolArray
from subsetsel.support.clock import TimeIsUp

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head

# Rounds of cuts at one size, to keep the curvature that was asked for.
_MAX_CUT_ROUNDS, _CUTS_PER_ROUND, _MAX_CONSTRAINTS = 12, 8, 200
# Above this usage no curvature would help to keep a limit.
_HOPELESS = 1.2
# So many expansions at one size at most; and so many more like the last must reach the limits.
_MAX_EXPANSIONS, _FORESEEN = 6, 2
# A way to start that lost so many times in a row is not tried again.
_EXPANDED, _MAX_LOST = -1, 3
# An expansion serves sizes up to this distance in log(pruned / kept).
REACH = 0.1
# Above this usage a smaller size is tried before an expansion is.
_OUT_OF_REACH = 5.0
# With more examples an integer program under dense cuts takes minutes.
_LARGE = 4000
# A refit is expected to take so many times as long as the one before. One choice may take this
# share of the time that is left, since several sizes have to be tried before one is verified.
_LIKE_THE_LAST, _SHARE_OF_CHOICE = 1.2, 0.25


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of a solver.

    Attributes
    ----------
    size : int
    guess : ndarray of shape (n,), bool, or None
        Where the search starts.
    around : Trial or None
        What the rows are expanded around; None for those of Eq. 2.
    way : int
        Which engine.
    reach : int or None
        Most moves.
    """

    size: int
    guess: BoolArray | None
    around: Trial | None
    way: int
    reach: int | None


class Trials:
    """Try sizes, and remember every trial and the largest set that was verified.

    Parameters
    ----------
    task : Task
    run : Run
        Clock, budget and callbacks of the whole; what is verified is submitted to it.
    engines : tuple of callable
        Solve the form "min_norm": the user's solver in each of its ways to start, and, the last,
        best exchanges from an initial guess.
    journal : Journal
        What was chosen before the run was killed.

    Attributes
    ----------
    problem : Problem
        That of the task, with the cuts that were added.
    done : list of Trial
    best : Trial or None
    is_cut_short : bool
        Whether the clock ended a choice before the solver's usual work was done.
    """

    def __init__(self, task: Task, run: Run, engines: tuple[Engine, ...], journal: Journal) -> None:
        self.task = task
        self.run = run
        self.journal = journal
        self.problem = task.problem
        self.done: list[Trial] = []
        self.best: Trial | None = None
        self.is_cut_short = False
        self._engines = engines
        # Ways to start at a new size: an engine, or an expansion around a trial near by.
        self._num_lost = dict.fromkeys([*range(len(engines) - 1), _EXPANDED], 0)
        self._favourite = 0
        self._searched = SearchedRows(task.problem, task.metric)
        own = task.problem.rows
        # Exchanges read single rows again and again, and those in shards come over a network.
        self._region = TrustRegion(can_exchange=own.proxy is own and own.shards is None)
        # Seconds that the next refit is expected to take; nothing is known of the first.
        self._refit_time = 0.0

    @property
    def _head(self) -> Head:
        assert self.problem.head is not None
        return self.problem.head

    @property
    def _has_cuts(self) -> bool:
        return self.problem.constraints is not self.task.problem.constraints

    def try_size(self, m: int, guess: BoolArray | None, *, is_rough: bool = False) -> Trial | None:
        """Choose m examples in every way that still competes, refit, and choose again if it pays.

        None means that no subset of that size was found; else the best trial comes back. A rough
        one is content with the first choice where the rows of Eq. 2 predict the refit in the main.
        """
        base, found = self._base(m), dict[int, Trial]()
        for way in self._competing(base):
            asked = Question(m, self._guess(m) if guess is None else guess, None, way, None)
            if base is not None and way == _EXPANDED:
                asked = self._around(base, m)
            trial = self._try_between_cuts(asked)
            if trial is not None:
                found[way] = trial
            if self.run.should_stop() or (trial is None and way != _EXPANDED):
                break
            if is_rough and trial is not None and not trial.is_far_off:
                return trial
        best = max(found.values(), key=lambda trial: trial.rank, default=None)
        if best is None or self.run.should_stop():
            return best
        if len(found) > 1:
            self._compare(found, best)
        return self._improve(best)

    def needs_expansions(self, m: int) -> bool:
        """Whether the rows of Eq. 2 do not predict the refit of a set of about that size."""
        return any(trial.is_off for trial in self._near(m))

    def try_size_near(self, base: Trial, m: int) -> Trial | None:
        """Choose m examples on the expansion around a trial near that size alone."""
        trial = self._try(self._around(base, m))
        return trial if trial is None or self.run.should_stop() else self._improve(trial)

    def _improve(self, trial: Trial) -> Trial:
        """Expand around a trial that is a little above the limits."""
        if trial.is_met or trial.usage > _OUT_OF_REACH:
            return trial
        return self.descend(trial, 1.0)

    def _guess(self, m: int) -> BoolArray | None:
        """Give a subset to start from where there are cuts, since a way between them is needed."""
        if not self._has_cuts:
            return None
        return min(self.done, key=lambda trial: abs(trial.size - m)).mask

    def _competing(self, base: Trial | None) -> list[int]:
        """Ways to start at a new size, the best of the last size first."""
        if self._has_cuts:
            # Each way costs as many integer programs as there are rounds of cuts.
            return [self._favourite]
        ways = [way for way, lost in self._num_lost.items() if lost < _MAX_LOST]
        if base is None:
            ways = [way for way in ways if way != _EXPANDED] or [self._favourite]
        return sorted(ways, key=lambda way: self._num_lost[way])

    def _compare(self, found: dict[int, Trial], best: Trial) -> None:
        """Count how often in a row each way lost against another at the same size."""
        for way, trial in found.items():
            self._num_lost[way] = 0 if trial is best else self._num_lost[way] + 1
            if trial is best and way != _EXPANDED:
                self._favourite = way

    def _try_between_cuts(self, question: Question) -> Trial | None:
        """Try, and try again as long as curvature that was asked for is missing."""
        best: Trial | None = None
        for num_rounds in range(_MAX_CUT_ROUNDS):
            trial = self._try(question)
            if trial is None:
                break
            if best is None or trial.rank > best.rank:
                best = trial
            if trial.is_met or self.run.should_stop() or not self._add_cuts(trial, num_rounds):
                break
            question = replace(question, guess=trial.mask)
        return best

    def _around(self, base: Trial, m: int) -> Question:
        """Ask for m examples by the expansion around a trial, starting from its subset."""
        most = self._region.most
        way = self._favourite if most is None else len(self._engines) - 1
        return Question(m, base.mask, base, way, most)

    def _base(self, m: int) -> Trial | None:
        """Find the trial to expand around, if there is one; the rows of Eq. 2 serve elsewhere."""
        base = min(self._near(m), key=lambda trial: trial.usage, default=None)
        return base if base is not None and base.is_off else None

    def _near(self, m: int) -> list[Trial]:
        """Trials of about that size."""
        n = self.problem.n
        return [t for t in self.done if abs(odds(t.size, n) - odds(m, n)) <= REACH]

    def descend(self, trial: Trial, goal: float) -> Trial:
        """Expand around the best trial of a size again and again, as long as it pays.

        It ends below the goal, a usage, and where so many more gains as the last would not reach
        it. The solver's own choices come first. From where the refit does not confirm one, only so
        many best exchanges are made at a time as the refit confirms.
        """
        return descend(
            trial,
            self._try_around,
            self._region,
            cost=lambda trial: trial.usage,
            is_over=lambda trial: not trial.is_off or self.run.should_stop(),
            is_enough=lambda trial, gain: (
                trial.usage <= goal or trial.usage > goal * gain**_FORESEEN
            ),
            most_rounds=_MAX_EXPANSIONS,
        )

    def _try_around(self, base: Trial) -> Trial | None:
        """Choose anew at the same size; None where that leads to a set that was tried before."""
        num_done = len(self.done)
        new = self._try(self._around(base, base.size))
        return None if len(self.done) == num_done else new

    def _try(self, question: Question) -> Trial | None:
        """Choose, on an expansion where there is one, and refit what was not refitted before."""
        mask = self._choose(question)
        if mask is None:
            return None
        known = (trial for trial in self.done if np.array_equal(trial.mask, mask))
        return next(known, None) or self.examine(mask)

    def examine(self, mask: BoolArray) -> Trial:
        """Refit on the kept examples and compare with the limits."""
        criteria = self.task.criteria
        self._require_time()
        started = time.perf_counter()
        check, theta = refit_and_measure(
            self.problem,
            mask,
            epsilon=criteria.epsilon,
            test=self.task.validation,
            clock=self.run.clock,
        )
        self._refit_time = _LIKE_THE_LAST * (time.perf_counter() - started)
        move = self._searched.move(mask, theta)
        usage, is_met = criteria.usage(check), criteria.is_met(check)
        trial = Trial(mask, check, theta, usage, is_met, move)
        self.done.append(trial)
        if trial.is_met and (self.best is None or trial.rank > self.best.rank):
            self.best = trial
            self.run.submit(mask)
        return trial

    def _require_time(self) -> None:
        """Begin nothing that ends in a refit for which there is no time."""
        if self.run.remaining <= self._refit_time:
            raise TimeIsUp

    def _add_cuts(self, trial: Trial, num_rounds: int) -> bool:
        """Demand curvature where the kept examples are short of it; say whether any was demanded.

        The cuts hold for every size, and stay.
        """
        floor = self.task.criteria.min_curvature
        if floor is None or trial.check.curvature >= floor or trial.usage > _HOPELESS:
            return False
        if len(self.problem.constraints) > _MAX_CONSTRAINTS:
            return False
        share = min(1.0, floor * (1.05 + 0.02 * num_rounds))
        head, clock = self._head, self.run.clock
        short = weak_directions(head, ~trial.mask, floor, most=_CUTS_PER_ROUND, clock=clock)
        cuts = [curvature_cut(head, direction, share, clock=clock) for direction in short]
        self.problem = self.problem.replace(
            extra_constraints=Constraints.build(self.problem.n, cuts)
        )
        return bool(cuts)

    def _choose(self, asked: Question) -> BoolArray | None:
        """Let the solver choose examples of small joint influence, or look up what it chose."""
        around = asked.around
        # Cuts may have come in on the way.
        base = None if around is None else around.mask
        arrays = (asked.guess, base, *self.problem.constraints.arrays)
        key = key_of(asked.size, asked.way, asked.reach, self.run.iterations_left, *arrays)
        known = self.journal.find(key, self.problem.replace(size=asked.size))
        if known is None:
            self._require_time()
        if around is None:
            self._searched.go_back(self.run.clock)
        else:
            try:
                self._searched.expand(around.mask, around.theta, asked.size, self.run.clock)
            except ProblemError:
                # Of numbers too large to be summed: this expansion is given up, not the search.
                return None
        if known is not None:
            self.run.add_iterations(known.num_iterations)
            return known.mask
        num_before = self.run.num_iterations
        mask, is_whole = self._solve(asked)
        self.is_cut_short |= not is_whole
        # What a clock or a user cut short is not what would be chosen again.
        if self.run.limit is None and is_whole:
            self.journal.add(key, Choice(mask, self.run.num_iterations - num_before))
        return mask

    def _solve(self, asked: Question) -> tuple[BoolArray | None, bool]:
        """Let the solver choose, and say whether neither clock nor user cut it short."""
        sub = self.problem.with_rows(self._searched.rows).replace(size=asked.size)
        start = None if asked.guess is None else start_near(sub, asked.guess)
        is_repaired = start is None or not sub.constraints.violations(start)
        if self._has_cuts and sub.n > _LARGE and not is_repaired:
            return None, True
        inner = inner_run(self.run, sub, guess=start, max_iterations=asked.reach)
        left, set_aside = self.run.remaining, 0.0
        if left < math.inf:
            set_aside = max(self._refit_time, (1 - _SHARE_OF_CHOICE) * left)
        engine, is_whole = self._engines[asked.way], True
        try:
            is_whole = search_within(self.run, engine, inner, set_aside=set_aside)
        except SolverError:
            # HiGHS may neither meet nor exclude several cuts together: then this size has failed.
            if not self._has_cuts:
                raise
        return inner.mask, is_whole

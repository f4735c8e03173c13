"""One trial: choose a number of examples, refit the head without them, judge the result.

The rows of Eq. 2 are an expansion of the refitted head around the empty set. Where a refit differs
from what they predicted, the next choice is made on an expansion around the set that was refitted,
which is exact there. As long as that pays it is repeated at the same size.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from subsetsel.engine.other_form import Engine
from subsetsel.engine.run import Run
from subsetsel.errors import SolverError
from subsetsel.guarantee.checkpoint import Choice, Journal, key_of
from subsetsel.guarantee.curvature import curvature_cut, weak_directions
from subsetsel.guarantee.searched import SearchedRows
from subsetsel.guarantee.task import Task
from subsetsel.guarantee.verification import Verification, refit_and_measure
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.progress import Progress
from subsetsel.problem.resize import start_near
from subsetsel.rows.base import BoolArray, FloatArray
from subsetsel.support.clock import TimeIsUp

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head

# Rounds of cuts at one size, to keep the curvature that was asked for.
_MAX_CUT_ROUNDS, _CUTS_PER_ROUND, _MAX_CONSTRAINTS = 12, 8, 200
# Above this usage no curvature would help to keep a limit.
_HOPELESS = 1.2
# Rows are expanded anew where the refit differs from what those of Eq. 2 predict by this share.
_OFF = 0.03
# So many expansions at one size at most; and so many more like the last must reach the limits.
_MAX_EXPANSIONS, _FORESEEN = 6, 2
# Exchanges of one choice where the solver's own leave what the expansion predicts, as a share of
# the kept examples; so much more or less where the refit confirms the gain or not.
_FIRST_EXCHANGES, _MORE, _LESS = 0.03, 2.0, 0.25
# Share of a predicted gain that counts as confirmed.
_CONFIRMED = 0.75
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
class Trial:
    """One subset that was tried: its refit, and how much of the limits it uses up.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
    check : Verification
        With the validation examples as its test.
    theta : ndarray of shape (C, q), float64
        The refitted head.
    usage : float
        Largest value / limit; see `Criteria.usage`.
    is_met : bool
        Whether every limit holds.
    predicted : float
        Change of the head by the rows that were searched.
    """

    mask: BoolArray
    check: Verification
    theta: FloatArray
    usage: float
    is_met: bool
    predicted: float

    @property
    def is_off(self) -> bool:
        """Whether the refit differs from what the rows of Eq. 2 predict."""
        return abs(self.check.change - self.check.predicted_kept) > _OFF * self.check.change

    @property
    def size(self) -> int:
        """How many are pruned."""
        return self.check.num_pruned

    @property
    def rank(self) -> tuple[bool, int, float]:
        """Sorts trials: those within the limits last, the largest of them last."""
        return self.is_met, self.size if self.is_met else 0, -self.usage

    def record(self) -> dict[str, Any]:
        """Give the point of the curve, in types that JSON knows."""
        check = self.check
        point: dict[str, Any] = {
            "m": self.size,
            "predicted_kept": check.predicted_kept,
            "predicted_searched": self.predicted,
            "predicted_newton": check.predicted_newton,
            "change": check.change,
            "change_error": check.change_error,
            "curvature": check.curvature,
            "is_verified": self.is_met,
        }
        if check.loss_gap is not None:
            point |= {"loss_gap": check.loss_gap, "accuracy_drop": check.accuracy_drop}
        return point


def odds(size: int, n: int) -> float:
    """log(pruned / kept), finite at both ends."""
    pruned = min(max(float(size), 0.5), n - 0.5)
    return math.log(pruned / (n - pruned))


class Trials:
    """Try sizes, and remember every trial and the largest set that was verified.

    Parameters
    ----------
    task : Task
    run : Run
        Clock, budget and callbacks of the whole; what is verified is submitted to it.
    engine, exchanges : callable
        Solve the form "min_norm": the user's solver, and best exchanges from an initial guess.
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

    def __init__(
        self, task: Task, run: Run, engine: Engine, exchanges: Engine, journal: Journal
    ) -> None:
        self.task = task
        self.run = run
        self.journal = journal
        self.problem = task.problem
        self.done: list[Trial] = []
        self.best: Trial | None = None
        self.is_cut_short = False
        self._engines = {False: engine, True: exchanges}
        self._searched = SearchedRows(task.problem)
        # Exchanges of the next choice; None as long as the solver's own choices are confirmed.
        self._reach: int | None = None
        # Seconds that the next refit is expected to take; nothing is known of the first.
        self._refit_time = 0.0

    @property
    def _head(self) -> Head:
        assert self.problem.head is not None
        return self.problem.head

    @property
    def _has_cuts(self) -> bool:
        return self.problem.constraints is not self.task.problem.constraints

    def try_size(self, m: int, guess: BoolArray | None) -> Trial | None:
        """Choose m examples, refit, and choose again where that helps.

        None means that no subset of that size was found; else the best trial comes back.
        """
        around = self._base(m)
        if around is not None:
            guess = around.mask
        elif guess is None and self._has_cuts:
            # Between cuts a way has to be found first.
            guess = min(self.done, key=lambda trial: abs(trial.size - m)).mask
        reach = None if around is None else self._reach
        best: Trial | None = None
        for num_rounds in range(_MAX_CUT_ROUNDS):
            trial = self._try(m, guess, around, reach)
            if trial is None:
                break
            if best is None or trial.rank > best.rank:
                best = trial
            if trial.is_met or self.run.should_stop() or not self._add_cuts(trial, num_rounds):
                break
            guess = trial.mask
        if best is not None and not best.is_met and best.usage <= _OUT_OF_REACH:
            return self.descend(best, 1.0)
        return best

    def _base(self, m: int) -> Trial | None:
        """Find the trial to expand around, if there is one; the rows of Eq. 2 serve elsewhere."""
        n = self.problem.n
        near = [t for t in self.done if abs(odds(t.size, n) - odds(m, n)) <= REACH]
        base = min(near, key=lambda trial: trial.usage, default=None)
        return base if base is not None and base.is_off else None

    def descend(self, trial: Trial, goal: float) -> Trial:
        """Expand around the best trial of a size again and again, as long as it pays.

        It ends below the goal, a usage, and where so many more gains as the last would not reach
        it. The solver's own choices come first. From where the refit does not confirm one, only so
        many best exchanges are made at a time as the refit confirms.
        """
        best = trial
        for _ in range(_MAX_EXPANSIONS):
            if not best.is_off or self.run.should_stop():
                break
            reach = self._reach
            new = self._try(best.size, best.mask, best, reach)
            if new is None:
                break
            if (new.mask == best.mask).all():
                break
            gain = best.usage / max(new.usage, 1e-300)
            self._learn(best, new, reach)
            if gain <= 1.0 and self._reach == reach:
                break
            if gain > 1.0:
                best = new
                if best.usage <= goal or best.usage > goal * gain**_FORESEEN:
                    break
        return best

    def _learn(self, old: Trial, new: Trial, reach: int | None) -> None:
        """Set how many exchanges the next choice may make."""
        gained = old.check.change - new.check.change
        is_confirmed = gained >= _CONFIRMED * (old.check.change - new.predicted)
        if reach is None and not is_confirmed:
            reach = round(_FIRST_EXCHANGES * (self.problem.n - old.size))
        elif reach is not None:
            reach = round(reach * (_MORE if is_confirmed else _LESS))
        self._reach = None if reach is None else max(1, reach)

    def _try(
        self,
        m: int,
        guess: BoolArray | None,
        around: Trial | None,
        reach: int | None = None,
    ) -> Trial | None:
        """Choose, on an expansion where there is one, and refit."""
        mask = self._choose(m, guess, around, reach)
        return None if mask is None else self.examine(mask)

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
        predicted = self._searched.predict(mask)
        usage, is_met = criteria.usage(check), criteria.is_met(check)
        trial = Trial(mask, check, theta, usage, is_met, predicted)
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

    def _choose(
        self,
        m: int,
        guess: BoolArray | None,
        around: Trial | None,
        reach: int | None,
    ) -> BoolArray | None:
        """Let the solver choose m examples of small joint influence, or look up what it chose."""
        # Cuts may have come in on the way.
        arrays = self.problem.constraints.arrays
        expanded = None if around is None else around.mask
        key = key_of(m, reach, guess, expanded, self.run.iterations_left, *arrays)
        known = self.journal.find(key)
        if known is None:
            self._require_time()
        if around is None:
            self._searched.go_back()
        else:
            self._searched.expand(around.mask, around.theta, m, self.run.clock)
        if known is not None:
            self.run.add_iterations(known.num_iterations)
            return known.mask
        num_before = self.run.num_iterations
        mask, is_whole = self._solve(m, guess, reach)
        self.is_cut_short |= not is_whole
        # What a clock or a user cut short is not what would be chosen again.
        if self.run.limit is None and is_whole:
            self.journal.add(key, Choice(mask, self.run.num_iterations - num_before))
        return mask

    def _solve(
        self, m: int, guess: BoolArray | None, reach: int | None
    ) -> tuple[BoolArray | None, bool]:
        """Let the solver choose, and say whether neither clock nor user cut it short."""
        sub = self.problem.with_rows(self._searched.rows).replace(size=m)
        start = None if guess is None else start_near(sub, guess)
        is_repaired = start is None or not sub.constraints.violations(start)
        if self._has_cuts and sub.n > _LARGE and not is_repaired:
            return None, True
        counted = 0

        def follow(record: Progress) -> None:
            nonlocal counted
            self.run.add_iterations(record.num_iterations - counted)
            counted = record.num_iterations

        left = self.run.iterations_left
        most = left if reach is None else reach if left is None else min(left, reach)
        limits = replace(
            self.run.limits,
            time_limit=None,
            max_iterations=most,
            target=None,
            initial_guess=start,
            callback=follow,
            progress=None,
            bound=False,
            trace=False,
        )
        inner = Run(sub, limits, parent=self.run)
        if start is not None:
            inner.submit(start)
        is_late = False
        left = self.run.remaining
        if left < math.inf:
            self.run.set_aside = max(self._refit_time, (1 - _SHARE_OF_CHOICE) * left)
        try:
            self._engines[reach is not None](sub, inner)
        except TimeIsUp:
            is_late = True
        except SolverError:
            # HiGHS may neither meet nor exclude several cuts together: then this size has failed.
            if not self._has_cuts:
                raise
        finally:
            self.run.set_aside = 0.0
            self.run.add_iterations(inner.num_iterations - counted)
        return inner.mask, not (is_late or inner.limit in {"time", "interrupted"})

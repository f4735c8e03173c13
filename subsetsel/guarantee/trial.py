"""One trial: choose a number of examples, refit the head without them, judge the result."""

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
from subsetsel.guarantee.task import Task
from subsetsel.guarantee.verification import Verification, refit_and_measure
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.progress import Progress
from subsetsel.problem.resize import start_near
from subsetsel.rows.base import BoolArray, FloatArray
from subsetsel.support.clock import TimeIsUp

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head

# Rounds of cuts at one size: to keep the curvature asked for, or to repair a prediction that the
# refit did not confirm because less than _POOR of the curvature was left somewhere.
_MAX_ROUNDS, _MAX_REPAIRS, _CUTS_PER_ROUND, _MAX_CONSTRAINTS = 12, 3, 8, 200
_POOR = 0.45
# Above this usage even as predicted no curvature would help to keep a limit, and above the other
# a smaller size costs less than a repair.
_HOPELESS, _REPAIRABLE = 1.2, 0.87
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
    effort : float
        Share of the solver's own work that was spent on it.
    is_met : bool
        Whether every limit holds.
    """

    mask: BoolArray
    check: Verification
    theta: FloatArray
    usage: float
    effort: float
    is_met: bool

    @property
    def size(self) -> int:
        """How many are pruned."""
        return self.check.num_pruned

    def record(self) -> dict[str, Any]:
        """Give the point of the curve, in types that JSON knows."""
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
            point |= {"loss_gap": check.loss_gap, "accuracy_drop": check.accuracy_drop}
        return point


class Trials:
    """Try sizes, and remember every trial and the largest set that was verified.

    Parameters
    ----------
    task : Task
    run : Run
        Clock, budget and callbacks of the whole; what is verified is submitted to it.
    engine : callable
        Solves the form "min_norm".
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

    def __init__(self, task: Task, run: Run, engine: Engine, journal: Journal) -> None:
        self.task = task
        self.run = run
        self.journal = journal
        self.problem = task.problem
        self.done: list[Trial] = []
        self.best: Trial | None = None
        self.is_cut_short = False
        self._engine = engine
        # Seconds that the next refit is expected to take; nothing is known of the first.
        self._refit_time = 0.0

    @property
    def _head(self) -> Head:
        assert self.problem.head is not None
        return self.problem.head

    @property
    def _has_cuts(self) -> bool:
        return self.problem.constraints is not self.task.problem.constraints

    def try_size(self, m: int, effort: float, guess: BoolArray | None) -> Trial | None:
        """Choose m examples from a guess on, refit, and cut and choose again where that helps.

        None means that no subset of that size was found; else the best trial comes back.
        """
        # A start near the last set is a colder one, and ends higher than a fresh one; but between
        # cuts a way has to be found first.
        if guess is None and self._has_cuts:
            guess = min(self.done, key=lambda trial: (abs(trial.size - m), -trial.effort)).mask
        best: Trial | None = None
        for num_rounds in range(_MAX_ROUNDS):
            mask = self._choose(m, effort, guess)
            if mask is None:
                return best
            trial = self.examine(mask, effort)
            if best is None or (trial.is_met, -trial.usage) > (best.is_met, -best.usage):
                best = trial
            if trial.is_met or self.run.should_stop() or not self._add_cuts(trial, num_rounds):
                return best
            guess = mask
        return best

    def examine(self, mask: BoolArray, effort: float) -> Trial:
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
        trial = Trial(mask, check, theta, criteria.usage(check), effort, criteria.is_met(check))
        self.done.append(trial)
        if trial.is_met and (self.best is None or trial.size > self.best.size):
            self.best = trial
            self.run.submit(mask)
        return trial

    def _require_time(self) -> None:
        """Begin nothing that ends in a refit for which there is no time."""
        if self.run.remaining <= self._refit_time:
            raise TimeIsUp

    def _add_cuts(self, trial: Trial, num_rounds: int) -> bool:
        """Demand curvature where the kept examples are short of it; say whether any was demanded.

        The prediction takes the curvature for that of all examples. Where it would have allowed
        the set and the refit does not, cuts along the weakest directions let the next set do
        better. They hold for every size, and stay.
        """
        check, floor = trial.check, self.task.criteria.min_curvature
        as_predicted = trial.usage * check.predicted_kept / max(check.change, 1e-300)
        if as_predicted > _HOPELESS or len(self.problem.constraints) > _MAX_CONSTRAINTS:
            return False
        if floor is not None and check.curvature < floor:
            share = min(1.0, floor * (1.05 + 0.02 * num_rounds))
            limit = floor
        elif (
            trial.usage > 1
            and as_predicted < _REPAIRABLE
            and num_rounds < _MAX_REPAIRS
            and check.curvature < _POOR
        ):
            share, limit = 1.1 * _POOR, _POOR
        else:
            return False
        head, clock = self._head, self.run.clock
        short = weak_directions(head, ~trial.mask, limit, most=_CUTS_PER_ROUND, clock=clock)
        cuts = [curvature_cut(head, direction, share, clock=clock) for direction in short]
        self.problem = self.problem.replace(
            extra_constraints=Constraints.build(self.problem.n, cuts)
        )
        return bool(cuts)

    def _choose(self, m: int, effort: float, guess: BoolArray | None) -> BoolArray | None:
        """Let the solver choose m examples of small joint influence, or look up what it chose."""
        # Cuts may have come in on the way.
        key = key_of(m, effort, guess, self.run.iterations_left, *self.problem.constraints.arrays)
        known = self.journal.find(key)
        if known is not None:
            self.run.add_iterations(known.num_iterations)
            return known.mask
        self._require_time()
        num_before = self.run.num_iterations
        mask, is_whole = self._solve(m, effort, guess)
        self.is_cut_short |= not is_whole
        # What a clock or a user cut short is not what would be chosen again.
        if self.run.limit is None and is_whole:
            self.journal.add(key, Choice(mask, self.run.num_iterations - num_before))
        return mask

    def _solve(
        self, m: int, effort: float, guess: BoolArray | None
    ) -> tuple[BoolArray | None, bool]:
        """Let the solver choose, and say whether neither clock nor user cut it short."""
        sub = self.problem.replace(size=m)
        start = None if guess is None else start_near(sub, guess)
        is_repaired = start is None or not sub.constraints.violations(start)
        if self._has_cuts and sub.n > _LARGE and not is_repaired:
            return None, True
        counted = 0

        def follow(record: Progress) -> None:
            nonlocal counted
            self.run.add_iterations(record.num_iterations - counted)
            counted = record.num_iterations

        limits = replace(
            self.run.limits,
            time_limit=None,
            max_iterations=self.run.iterations_left,
            target=None,
            initial_guess=start,
            callback=follow,
            progress=None,
            bound=False,
            trace=False,
        )
        inner = Run(sub, limits, parent=self.run, effort=effort)
        if start is not None:
            inner.submit(start)
        is_late = False
        left = self.run.remaining
        if left < math.inf:
            self.run.set_aside = max(self._refit_time, (1 - _SHARE_OF_CHOICE) * left)
        try:
            self._engine(sub, inner)
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

"""One trial: choose a number of examples, refit the head without them, judge the result.

The change by a refit is nearly one Newton step with the Hessian H_K of the kept examples,
(1 / k) ||H_K^-1 sum_pruned g_i||. The rows that are searched therefore have the Hessian of what an
earlier trial kept, in place of that of all examples. They are computed anew where a refit differs
from what they predicted; everything else about the rows stays, the gradients and theta too.
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
from subsetsel.guarantee.task import Task
from subsetsel.guarantee.verification import Verification, refit_and_measure
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.progress import Progress
from subsetsel.problem.resize import start_near
from subsetsel.rows.base import BoolArray, FloatArray, Rows, euclidean
from subsetsel.support.clock import TimeIsUp

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head
    from subsetsel.influence.head.refit import KeptHead
    from subsetsel.problem.arguments import Storage

# Rounds of cuts at one size, to keep the curvature that was asked for.
_MAX_CUT_ROUNDS, _CUTS_PER_ROUND, _MAX_CONSTRAINTS = 12, 8, 200
# Above this usage no curvature would help to keep a limit.
_HOPELESS = 1.2
# Rows are computed anew where the refit's change differs from the predicted one by this share, and
# at one size so many times at most.
_OFF, _MAX_RENEWALS = 0.03, 2
# Other rows do not lower the usage of a size by more than about this factor.
_WITHIN_REACH = 2.0
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
        # Rows with the Hessian of what a trial kept, and who was pruned there; None for all.
        self._rows: Rows = task.problem.rows
        self._pruned_there: BoolArray | None = None
        self._kept: KeptHead | None = None
        # Seconds that the next refit is expected to take; nothing is known of the first.
        self._refit_time = 0.0

    @property
    def _head(self) -> Head:
        assert self.problem.head is not None
        return self.problem.head

    @property
    def _storage(self) -> Storage:
        return "dense" if self.task.problem.rows.dense() is not None else "factored"

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
        num_cuts = num_renewals = 0
        while True:
            mask = self._choose(m, effort, guess)
            if mask is None:
                return best
            trial = self.examine(mask, effort)
            if best is None or (trial.is_met, -trial.usage) > (best.is_met, -best.usage):
                best = trial
            if trial.is_met or self.run.should_stop():
                return best
            if num_cuts < _MAX_CUT_ROUNDS and self._add_cuts(trial, num_cuts):
                num_cuts += 1
            elif (
                self._kept is not None
                and trial.usage <= _WITHIN_REACH
                and num_renewals < _MAX_RENEWALS
            ):
                num_renewals += 1
            else:
                return best
            guess = mask

    def examine(self, mask: BoolArray, effort: float) -> Trial:
        """Refit on the kept examples and compare with the limits."""
        criteria = self.task.criteria
        self._require_time()
        started = time.perf_counter()
        check, theta, kept = refit_and_measure(
            self.problem,
            mask,
            epsilon=criteria.epsilon,
            test=self.task.validation,
            clock=self.run.clock,
        )
        self._refit_time = _LIKE_THE_LAST * (time.perf_counter() - started)
        self._compare(mask, check, kept)
        trial = Trial(mask, check, theta, criteria.usage(check), effort, criteria.is_met(check))
        self.done.append(trial)
        if trial.is_met and (self.best is None or trial.size > self.best.size):
            self.best = trial
            self.run.submit(mask)
        return trial

    def _compare(self, mask: BoolArray, check: Verification, kept: KeptHead) -> None:
        """Remember the kept head where the rows that are searched predicted something else."""
        total = self._head.objective_function.total
        predicted = euclidean(self._rows.sum(mask)) * total / kept.objective_function.total
        is_off = abs(check.change - predicted) > _OFF * predicted
        if is_off:
            self._kept, self._pruned_there = kept, mask

    def _renew(self) -> None:
        """Give the rows that are searched the Hessian of the examples kept last."""
        from subsetsel.influence import influence_rows

        if self._kept is None:
            return
        kept, self._kept = self._kept, None
        # Two arrays of this size fit the plan, three may not.
        self._rows = self.task.problem.rows
        self._rows = influence_rows(
            self._head,
            dtype=self._rows.dtype,
            storage=self._storage,
            inverse=kept.inverse,
            clock=self.run.clock,
        )

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

    def _choose(self, m: int, effort: float, guess: BoolArray | None) -> BoolArray | None:
        """Let the solver choose m examples of small joint influence, or look up what it chose."""
        self._renew()
        # Cuts may have come in on the way.
        arrays = self.problem.constraints.arrays
        key = key_of(m, effort, guess, self.run.iterations_left, self._pruned_there, *arrays)
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
        sub = self.problem.with_rows(self._rows).replace(size=m)
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

"""One size at a time: choose that many examples, refit the head without them, judge the result."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from subsetsel.engine.other_form import Engine
from subsetsel.engine.run import Run
from subsetsel.errors import SolverError
from subsetsel.guarantee.checkpoint import Choice, Journal, key_of
from subsetsel.guarantee.curvature import curvature_cut, weak_directions
from subsetsel.guarantee.limits import Criteria, accuracy_drop
from subsetsel.guarantee.seeds import LARGE
from subsetsel.guarantee.verification import Verification, verify
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.problem import Problem
from subsetsel.problem.progress import Progress
from subsetsel.problem.resize import start_near
from subsetsel.rows.base import BoolArray

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head

# Rounds of cuts at one size: to keep the curvature asked for, or to repair a prediction that the
# refit did not confirm because less than _POOR of the curvature was left somewhere.
_MAX_ROUNDS, _MAX_REPAIRS, _CUTS_PER_ROUND, _MAX_CONSTRAINTS = 12, 3, 8, 200
_POOR = 0.45
# Above this load even as predicted no curvature would help to keep a limit on it, and above the
# other a smaller size costs less than a repair.
_HOPELESS, _REPAIRABLE = 1.2, 0.87


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


class Prober:
    """Try sizes, and remember every try and the largest set that was verified.

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
    journal : Journal
        What was chosen before the run was killed.

    Attributes
    ----------
    steps : list of Step
    best : Step or None
    """

    def __init__(
        self,
        problem: Problem,
        criteria: Criteria,
        run: Run,
        engine: Engine,
        validation: tuple[Any, Any] | None,
        journal: Journal,
    ) -> None:
        self.problem = problem
        self.criteria = criteria
        self.run = run
        self.engine = engine
        self.validation = validation
        self.journal = journal
        self.steps: list[Step] = []
        self.best: Step | None = None

    @property
    def head(self) -> Head:
        """The head that is refitted."""
        assert self.problem.head is not None
        return self.problem.head

    @property
    def _is_cut(self) -> bool:
        """Whether curvature was asked for."""
        return self.run.problem.constraints is not self.problem.constraints

    def probe(self, m: int, effort: float, guess: BoolArray | None) -> Step | None:
        """Choose m examples, refit, and keep the result if it is the largest verified.

        Parameters
        ----------
        m : int
        effort : float
        guess : ndarray of shape (n,), bool, optional
            Where to start.

        Returns
        -------
        Step or None
            None if no subset of that size was found.
        """
        # A start near the last set is a colder one, and ends higher than a fresh one; but between
        # cuts a way has to be found first.
        if guess is None and self._is_cut:
            guess = min(self.steps, key=lambda step: (abs(step.size - m), -step.effort)).mask
        found: Step | None = None
        for num_rounds in range(_MAX_ROUNDS):
            mask = self.choose(m, effort, guess)
            if mask is None:
                return found
            step = self.examine(mask, effort)
            if found is None or (step.is_met, -step.load) > (found.is_met, -found.load):
                found = step
            if step.is_met or self.run.should_stop() or not self._cut(step, num_rounds):
                return found
            guess = mask
        return found

    def _cut(self, step: Step, num_rounds: int) -> bool:
        """Ask for curvature where the kept examples are short of it.

        The prediction takes the curvature for that of all examples. Where it would have allowed
        the set and the refit does not, cuts along the weakest directions let the next set do
        better. They hold for every size, and are kept.

        Returns
        -------
        bool
            Whether anything was asked.
        """
        check, floor = step.check, self.criteria.min_curvature
        as_predicted = step.load * check.predicted_kept / max(check.change, 1e-300)
        if as_predicted > _HOPELESS or len(self.problem.constraints) > _MAX_CONSTRAINTS:
            return False
        if floor is not None and check.curvature < floor:
            share = min(1.0, floor * (1.05 + 0.02 * num_rounds))
            limit = floor
        elif (
            step.load > 1
            and as_predicted < _REPAIRABLE
            and num_rounds < _MAX_REPAIRS
            and check.curvature < _POOR
        ):
            share, limit = 1.1 * _POOR, _POOR
        else:
            return False
        short = weak_directions(self.head, ~step.mask, limit, most=_CUTS_PER_ROUND)
        cuts = [curvature_cut(self.head, direction, share) for direction in short]
        self.problem = self.problem.replace(
            extra_constraints=Constraints.build(self.problem.n, cuts)
        )
        return bool(cuts)

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
        """Let the solver choose m examples of small joint influence, or look up what it chose.

        Returns
        -------
        ndarray of shape (n,), bool, or None
        """
        # Cuts may have come in on the way.
        key = key_of(m, effort, guess, self.run.iterations_left, *self.problem.constraints.arrays)
        known = self.journal.find(key)
        if known is not None:
            self.run.add_iterations(known.num_iterations)
            return known.mask
        num_before = self.run.num_iterations
        mask = self._solve(m, effort, guess)
        # What a clock or a user cut short is not what would be chosen again.
        if self.run.limit is None and not self.run.should_stop():
            self.journal.add(key, Choice(mask, self.run.num_iterations - num_before))
        return mask

    def _solve(self, m: int, effort: float, guess: BoolArray | None) -> BoolArray | None:
        sub = self.problem.replace(size=m)
        start = None if guess is None else start_near(sub, guess)
        if (
            self._is_cut
            and start is not None
            and sub.n > LARGE
            and sub.constraints.violations(start)
        ):
            # An integer program might still find one, in minutes: this size has failed.
            return None
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
            initial_guess=start,
            callback=follow,
            progress=None,
            bound=False,
            trace=False,
        )
        # No parent: a clock would make a solver take as much of it as it can, not its usual work.
        inner = Run(sub, limits, effort=effort)
        if start is not None:
            inner.submit(start)
        # HiGHS may neither meet nor exclude several cuts together: then this size has failed.
        with contextlib.suppress(*([SolverError] if self._is_cut else [])):
            self.engine(sub, inner)
        self.run.add_iterations(inner.num_iterations - counted)
        if inner.limit == "interrupted" and self.run.limit is None:
            self.run.limit = "interrupted"
        return inner.mask

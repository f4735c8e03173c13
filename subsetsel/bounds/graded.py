"""The relaxation of Eq. 3 where S lies in shards: by a graded sample of its rows.

Minimized is the bound of `subsetsel.bounds.dual`, which is convex in u and the multipliers y. A
step from a point draws each row with the probability

    pi_i = min(1, kappa g_i),   g_i = ||s_i||^2 / (|r_i| + h ||s_i||),

where r_i = 1 - s_i . u - a_i . y is the reduced cost, and h how far prices moved last time, per
unit of length: rows near the margin are surely drawn, others the more seldom the less a step can
change what they do. What was drawn is a small relaxation with weights up to 1 / pi_i and an offset
that makes its gradient at the point the exact one, so that an error comes only from rows that
change sides. On the line to its optimum the best point is found without another look at S. A step
asks S for a sum, a few rows and a product: three rounds over the shards.

At the end the rows nearest to the margin alone are open, all others as the prices say. That
relaxation is solved for good: it gives weights within the ball, and a better u.

The bound holds at every point, whatever was drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.linalg import norm
from numpy.typing import NDArray

from subsetsel.bounds.dual import Dual, evaluate_dual, limits_of
from subsetsel.bounds.relaxation import Ascent, Relaxation, shares_within
from subsetsel.bounds.sample import (
    LEAST_PER_PARAMETER,
    chances_of,
    lengths_of,
    most_rows,
    nearest,
    sample,
)
from subsetsel.errors import ProblemError
from subsetsel.problem.fold import fold
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

# As `COARSE` and `SHARP`: a step costs little beside what its u is worth.
FINE = (1e-6, 0.05)
# Beyond, the rows of a step fit into no machine that coordinates.
_MOST_PARAMETERS = 20_000
_MOST_STEPS = 30
# The end is tried where the last step gained at most so many times the gap that is wanted.
_HOPEFUL = 8.0
# A step's own relaxation is solved to this share of what the step before gained.
_SHARPER, _PRECISIONS = 0.05, (1e-7, 1e-3)
# A reach shrinks to no less than this share of the one before.
_LEAST_REACH = 0.1
# Points on the line to a step's optimum.
_LINE = np.linspace(0.0, 1.5, 13)
_KEY = "relaxation"
_RECORD = ("bound", "moved", "num_rows", "gap")


class Steps(Protocol):
    """Where the state after a step is kept, such as a journal."""

    def get(self, key: str) -> Mapping[str, NDArray[Any]] | None:
        """Give what was put under a key; None where nothing was."""

    def put(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Keep arrays and numbers under a key."""


@dataclass(frozen=True)
class GradedRelaxation(Relaxation):
    """What the graded sample found.

    Attributes
    ----------
    lam : float
        The multiplier of the norm: u is about (v0 + S^T w) / lam.
    records : list of dict
        For each step: ``bound``; ``moved``, by how much prices changed, per unit of length;
        ``num_rows`` drawn; ``gap`` between bound and weights, relative, where it was computed.
    """

    lam: float = 0.0
    records: list[dict[str, float]] = field(default_factory=list)


class NoSteps:
    """Keeps nothing."""

    def get(self, key: str) -> None:
        """Give nothing."""

    def put(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Forget it."""


def graded_relaxation(
    problem: Problem,
    gaps: tuple[float, float] = FINE,
    *,
    time_limit: float = float("inf"),
    steps: Steps | None = None,
    follow: Callable[[float], None] | None = None,
) -> GradedRelaxation:
    """Solve the relaxation of Eq. 3 by products with S, sums of its rows, and few rows at a time.

    Linear constraints, an offset and fixed examples are honoured; ``max_size`` limits the bound and
    the value alone.

    Parameters
    ----------
    problem : Problem
        Of the form "max_size" with normalization "full".
    gaps : (float, float)
        Relative, and in examples, as in `Ascent.run`.
    time_limit : float
        Seconds; a step that has begun is finished.
    steps : Steps, optional
        Goes on from what is kept there, and keeps the state after each step.
    follow : callable, optional
        Called after each step with the best bound so far.

    Raises
    ------
    ProblemError
        If S has more than 20,000 columns.
    """
    if problem.d > _MOST_PARAMETERS:
        raise ProblemError(
            f"S in shards has d = {problem.d:,} columns, and Eq. 3 on shards takes at most "
            f"{_MOST_PARAMETERS:,}: each of its steps brings {LEAST_PER_PARAMETER} rows for each "
            "parameter to one machine. Ask with size=..., or reduce the features first."
        )
    started = time.perf_counter()
    graded = Graded(problem, NoSteps() if steps is None else steps)
    while True:
        if follow is not None:
            follow(graded.best.bound)
        tolerance = max(gaps[0] * graded.best.bound, gaps[1])
        is_late = time.perf_counter() - started > time_limit
        is_last = is_late or len(graded.records) >= _MOST_STEPS
        if is_last or graded.gain <= _HOPEFUL * tolerance:
            graded.close(tolerance)
            is_excluded = graded.best.bound < problem.must_prune.sum()
            if is_last or is_excluded or graded.best.bound - graded.value <= tolerance:
                break
        graded.step()
    return graded.result(time.perf_counter() - started)


class Graded:
    """A point (u, y) on its way to the optimum.

    Parameters
    ----------
    problem : Problem
    steps : Steps

    Attributes
    ----------
    best : Dual
        The point with the best bound of those that were evaluated.
    gain : float
        What the last step took off the bound.
    value : float
        Size of the best weights within the ball; -inf before `close`.
    """

    def __init__(self, problem: Problem, steps: Steps) -> None:
        self.asked, self.steps = problem, steps
        self.problem = problem = problem.replace(max_size=problem.n)
        self.rows, self.free = problem.rows, problem.free
        self.lengths = lengths_of(problem)
        self.num_rows = most_rows(problem)
        self.value, self.weights = -float("inf"), problem.must_prune.astype(np.float64)
        self.gain, self.lam = float("inf"), 0.0
        self.records: list[dict[str, float]] = []
        if not self._resume():
            self._begin()

    def _begin(self) -> None:
        """Begin where every free example has the same weight, within the ball if that may be."""
        problem = self.problem
        fixed = problem.sum(problem.must_prune)
        pull = self.rows.total if self.free.all() else self.rows.sum(self.free)
        assert problem.epsilon is not None
        total = fixed + shares_within(pull, fixed, problem.epsilon).most * pull
        self.here = self.best = evaluate_dual(problem, total if total.any() else pull)
        self.height = self._height(self.here.u, self.here.y, self.here.reduced_costs)
        # Nothing is known yet: prices may move by as much as they are.
        self.reach = self._per_length(1.0 - self.here.reduced_costs)

    # --- one step -------------------------------------------------------------------------------

    def step(self) -> None:
        """Solve a sample, and go to the best point on the line to its optimum."""
        items, limits = self._draw()
        model = sample(self.problem, self._mask(), items, limits)
        ascent = Ascent(model, limits=limits, lam=self.lam or None)
        ascent.multipliers[:] = self.here.y
        share = float(np.clip(_SHARPER * self.gain / self.height, *_PRECISIONS))
        found = ascent.run((share, FINE[1] * _SHARPER)).dual
        self.lam = ascent.lam
        self._move(self._evaluate(found))
        self.records.append({
            "bound": self.best.bound,
            "moved": self.reach,
            "num_rows": float(items.size),
            "gap": float("nan"),
        })
        self._keep()

    def _draw(self) -> tuple[IndexArray, FloatArray]:
        """Draw rows by their number, and give what each drawn one stands for."""
        grades = np.zeros(self.rows.n)
        nearness = np.abs(self.here.reduced_costs) + self.reach * self.lengths
        np.divide(self.lengths**2, nearness, out=grades, where=self.free & (nearness > 0))
        chances = chances_of(grades, self.num_rows)
        rng = np.random.default_rng(len(self.records))
        items = np.flatnonzero(rng.random(self.rows.n) < chances)
        return items, 1.0 / chances[items]

    def _mask(self) -> BoolArray:
        """Who is pruned at the present prices."""
        return (self.free & (self.here.reduced_costs > 0)) | self.problem.must_prune

    def _evaluate(self, dual: Dual) -> Dual:
        """Evaluate a point on all rows, and keep the best."""
        found = evaluate_dual(self.problem, dual.u, dual.y)
        if found.bound <= self.best.bound:
            self.best = found
        return found

    def _move(self, goal: Dual) -> None:
        """Go to the best point on the line to another, where prices are known without S."""
        here = self.here
        heights = [self._height(*_between(here, goal, share)) for share in _LINE]
        place = int(np.argmin(heights))
        u, y, reduced = _between(here, goal, _LINE[place])
        reach = self._per_length(reduced - here.reduced_costs)
        self.reach = max(reach, _LEAST_REACH * self.reach)
        self.gain, self.height = self.height - heights[place], heights[place]
        self.here = Dual(u, y, float("inf"), reduced)

    def _height(self, u: FloatArray, y: FloatArray, reduced: FloatArray) -> float:
        """Give the bound at a point, without the rounding error."""
        problem = self.problem
        gains = float(np.maximum(reduced[self.free], 0.0).sum())
        gains += float(reduced[problem.must_prune].sum())
        assert problem.epsilon is not None
        height = problem.epsilon * float(norm(u)) + gains
        if len(y):
            height += float(limits_of(problem, y) @ y)
        return height if problem.offset is None else height - float(u @ problem.offset)

    # --- the end --------------------------------------------------------------------------------

    def close(self, tolerance: float) -> None:
        """Open the rows nearest to the margin alone, and solve what they leave for good."""
        problem, here = self.problem, self.here
        distance = np.full(self.rows.n, np.inf)
        np.divide(np.abs(here.reduced_costs), self.lengths, out=distance, where=self._may_move())
        items = nearest(distance, self.num_rows)
        folded = fold(problem, items, self._mask())
        ascent = Ascent(folded.problem, lam=self.lam or None)
        ascent.multipliers[:] = here.y
        found = ascent.run((0.0, 2.0 * _SHARPER * tolerance))
        self.lam = ascent.lam
        self._move(self._evaluate(found.dual))
        if self.height < self.best.bound - tolerance * _SHARPER:
            self._evaluate(self.here)
        value = found.value + float(np.count_nonzero(folded.decided))
        # Where no weights lie within the ball a relaxation gives the value 0.
        if found.value > 0 and value > self.value:
            self.value, self.weights = value, folded.decided.astype(np.float64)
            self.weights[items] = found.weights
        if self.records and self.best.bound > 0:
            self.records[-1]["gap"] = (self.best.bound - self.value) / self.best.bound

    def _may_move(self) -> BoolArray:
        return self.free & (self.lengths > 0)

    def result(self, solve_time: float) -> GradedRelaxation:
        """Give what was found."""
        most = float(self.asked.max_size)
        best = replace(self.best, bound=min(self.best.bound, most))
        passes = 3.0 * len(self.records)
        weights = self.weights if self.value > 0 else self._mask().astype(np.float64)
        return GradedRelaxation(
            weights,
            max(0.0, min(self.value, most)),
            best,
            passes,
            solve_time,
            self.lam,
            self.records,
        )

    # --- what is kept ---------------------------------------------------------------------------

    def _keep(self) -> None:
        """Keep the state after a step: whatever follows from it is computed again."""
        here, best = self.here, self.best
        self.steps.put(
            _KEY,
            {
                "u": here.u,
                "y": here.y,
                "reduced_costs": here.reduced_costs,
                "best_u": best.u,
                "best_y": best.y,
                "best_reduced_costs": best.reduced_costs,
                "numbers": np.array([self.lam, self.reach, self.gain, self.height, best.bound]),
                "records": np.array([list(record.values()) for record in self.records]),
            },
        )

    def _resume(self) -> bool:
        """Take up the state after the last step that was kept; False where none was."""
        kept = self.steps.get(_KEY)
        if kept is None:
            return False
        self.lam, self.reach, self.gain, self.height, bound = map(float, kept["numbers"])
        self.here = Dual(kept["u"], kept["y"], float("inf"), kept["reduced_costs"])
        self.best = Dual(kept["best_u"], kept["best_y"], bound, kept["best_reduced_costs"])
        self.records = [
            dict(zip(_RECORD, map(float, record), strict=True)) for record in kept["records"]
        ]
        return True

    def _per_length(self, prices: FloatArray) -> float:
        length = float(norm(self.lengths[self.free]))
        return float(norm(prices[self.free])) / length if length > 0 else 0.0


def _between(here: Dual, goal: Dual, share: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give u, y and the reduced costs of a point on the line from one to another."""
    return (
        here.u + share * (goal.u - here.u),
        here.y + share * (goal.y - here.y),
        here.reduced_costs + share * (goal.reduced_costs - here.reduced_costs),
    )

"""A point of the dual bound on its way to the optimum; see `subsetsel.bounds.graded`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.linalg import norm
from numpy.typing import NDArray

from subsetsel.bounds.dual import Dual, evaluate_dual, limits_of
from subsetsel.bounds.relaxation import Ascent, shares_within
from subsetsel.bounds.sample import chances_of, lengths_of, most_rows, nearest, sample
from subsetsel.problem.fold import fold
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.support.clock import Clock

# A step's own relaxation is solved to this share of what the step before gained, within limits, and
# to so many examples.
_SHARPER, _PRECISIONS, _EXAMPLES = 0.05, (1e-7, 1e-3), 0.0025
# Of what a multiplier is measured in, the radius times the length of a row.
_LEAST_LAM = 1e-9
# A reach shrinks to no less than this share of the one before.
_LEAST_REACH = 0.1
# Points on the line to a step's optimum.
_LINE = np.linspace(0.0, 1.5, 13)
_KEY = "relaxation"
_RECORD = ("bound", "gain", "moved", "num_rows", "bytes_sent", "gap")


class Steps(Protocol):
    """Where the state after a step is kept, such as a journal."""

    def get(self, key: str) -> Mapping[str, NDArray[Any]] | None:
        """Give what was put under a key; None where nothing was."""

    def put(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Keep arrays and numbers under a key."""


class Point:
    """A point (u, y) on its way to the optimum.

    Parameters
    ----------
    problem : Problem
    clock : Clock
        At its end what is solved here ends, wherever it is.
    steps : Steps, optional

    Attributes
    ----------
    best : Dual
        The point with the best bound of those that were evaluated.
    height : float
        The bound at this point, without what makes up for rounding.
    gain : float
        What the last step took off it.
    value : float
        Size of the best weights within the ball; -inf before `close`.
    weights : ndarray of shape (n,) or None
        These weights.
    """

    def __init__(self, problem: Problem, clock: Clock, steps: Steps | None = None) -> None:
        self.clock, self.steps = clock, steps
        self.problem = problem = problem.replace(max_size=problem.n)
        self.rows, self.free = problem.rows, problem.free
        self.lengths = lengths_of(problem)
        self.num_rows = most_rows(problem)
        self.value = -float("inf")
        self.weights: FloatArray | None = None
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
        model = sample(self.problem, self.mask(), items, limits)
        ascent = Ascent(model, limits=limits, lam=self._known_lam())
        ascent.multipliers[:] = self.here.y
        share = float(np.clip(_SHARPER * self.gain / max(self.height, 1.0), *_PRECISIONS))
        found = ascent.run((share, _EXAMPLES), self.clock.remaining).dual
        self.lam = ascent.lam
        self._move(self._evaluate(found))
        self.records.append({
            "bound": float(self.best.bound),
            "gain": self.gain,
            "moved": self.reach,
            "num_rows": float(items.size),
            "bytes_sent": 0.0 if self.rows.shards is None else float(self.rows.shards.bytes_sent),
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
        if not self.rows.squared_norms[items].any():
            # Rows of zeros alone have no relaxation.
            items = self._movable[:1]
            chances[items] = 1.0
        return items, 1.0 / chances[items]

    def mask(self) -> BoolArray:
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

    @property
    def _movable(self) -> IndexArray:
        """Free examples whose rows are not 0."""
        return np.flatnonzero(self.free & (self.rows.squared_norms > 0))

    def _known_lam(self) -> float | None:
        """Give the multiplier to begin with; None where nothing is feasible and it vanishes."""
        rms = float(np.sqrt(self.rows.squared_norms.mean()))
        ball = max(self.problem.radius(0), 1e-6 * rms)
        return self.lam if self.lam > _LEAST_LAM * ball * rms else None

    # --- the end --------------------------------------------------------------------------------

    def close(self, tolerance: float) -> None:
        """Open the rows nearest to the margin alone, and solve what they leave for good."""
        problem, here = self.problem, self.here
        # Rows of zeros come last: whatever the prices are, they are pruned.
        distance = np.where(self.free, np.finfo(np.float64).max, np.inf)
        can_move = self.free & (self.lengths > 0)
        np.divide(np.abs(here.reduced_costs), self.lengths, out=distance, where=can_move)
        items = nearest(distance, self.num_rows)
        if not self.rows.squared_norms[items].any():
            items = self._movable[:1]
        folded = fold(problem, items, self.mask())
        ascent = Ascent(folded.problem, lam=self._known_lam())
        ascent.multipliers[:] = here.y
        found = ascent.run((0.0, tolerance), self.clock.remaining)
        self.lam = ascent.lam
        self._move(self._evaluate(found.dual))
        if self.height < self.best.bound - tolerance:
            self._evaluate(self.here)
        value = found.value + float(np.count_nonzero(folded.decided))
        # Where no weights lie within the ball a relaxation gives the value 0.
        if found.value > 0 and value > self.value:
            weights = folded.decided.astype(np.float64)
            weights[items] = found.weights
            self.value, self.weights = value, weights
        if self.records and self.best.bound > 0:
            self.records[-1]["gap"] = float((self.best.bound - self.value) / self.best.bound)

    # --- what is kept ---------------------------------------------------------------------------

    def _keep(self) -> None:
        """Keep the state after a step: whatever follows from it is computed again."""
        if self.steps is None:
            return
        here, best = self.here, self.best
        self.steps.put(
            _KEY,
            {
                "u": here.u,
                "y": here.y,
                "reduced_costs": here.reduced_costs,
                "best_u": best.u,
                "best_y": best.y,
                "numbers": np.array([self.lam, self.reach, self.gain, self.height]),
                "records": np.array([list(record.values()) for record in self.records]),
            },
        )

    def _resume(self) -> bool:
        """Take up the state after the last step that was kept; False where none was."""
        kept = None if self.steps is None else self.steps.get(_KEY)
        if kept is None:
            return False
        self.lam, self.reach, self.gain, self.height = map(float, kept["numbers"][:4])
        self.here = Dual(kept["u"], kept["y"], float("inf"), kept["reduced_costs"])
        # What is proved is computed from S, and never read from a file.
        self.best = evaluate_dual(self.problem, kept["best_u"], kept["best_y"])
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

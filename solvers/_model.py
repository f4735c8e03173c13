"""What both exact solvers ask for: a model of the problem as data, and a proof from its answers.

A back end that rounds, to integers or within a tolerance, is asked about an outer model: every
truly feasible subset is feasible in it, so what it excludes is excluded. Subsets that only rounding
lets in are told apart in float64 and forbidden one by one until none is left that could be better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from subsetsel.engine.registry import Solver
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import OptionError
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray
from subsetsel.rows.rank import MAX_SIDE, Reduction, reduce_rank
from subsetsel.support.clock import TimeIsUp

from ._first_subset import fixed_subset
from ._local_search import MAX_SHARED
from .greedy import GreedySolver, search_around

MAX_EXAMPLES = 1000
MAX_RANK = 256
# Subsets inside the rounding margin that are forbidden before the proof is given up.
_MAX_EXCLUDED = 50


class LinearRow(NamedTuple):
    """``lower <= coefficients . x <= upper`` for x in {0, 1}^n, each limit with a tolerance."""

    coefficients: FloatArray
    lower: float
    upper: float
    slack: float


@dataclass(frozen=True)
class Model:
    """Which subsets are searched; a back end translates this and adds what is its own.

    An outer model is enlarged, so that nothing feasible is lost; another is shrunk, so that all it
    contains is feasible. ``reduced`` is R = S V, of the rank of S, and b = V^T v0; what is limited
    is ||b + R^T x||. Sizes are from ``least`` to ``most`` and, with a relaxation, to
    ``largest_size``; norms of Eq. 4 up to ``cutoff``. ``hint`` and each of ``excluded`` are masks
    (n,). With the unit vector ``direction`` (rank,) of the relaxation's dual, the ball implies
    direction . (b + R^T x) <= radius.
    """

    problem: Problem
    reduced: Reduction
    is_outer: bool
    least: int
    most: int
    cutoff: float
    excluded: list[BoolArray] = field(default_factory=list)
    hint: BoolArray | None = None
    largest_size: float = float("inf")
    direction: FloatArray | None = None

    def radius(self, size: int) -> float:
        """Norm that is allowed at a size; always finite."""
        radius = self.cutoff if self.problem.epsilon is None else self.problem.radius(size)
        if np.isfinite(radius):
            return radius
        longest = float(np.sqrt(self.problem.rows.squared_norms).sum())
        return longest + float(np.linalg.norm(self.reduced.offset)) + self.reduced.offset_tail

    def linear_rows(self) -> Iterator[LinearRow]:
        """Give the linear constraints, each with dense coefficients (n,)."""
        constraints = self.problem.constraints
        limits = zip(constraints.lower, constraints.upper, constraints.slack, strict=True)
        for c, (lower, upper, slack) in enumerate(limits):
            row = constraints.matrix[[c], :].toarray()[0]
            yield LinearRow(row, float(lower), float(upper), float(slack))


@dataclass(frozen=True)
class Answer:
    """What a back end says about a `Model`: its best subset (n,), and a bound.

    The bound is for the true problem, excluded subsets aside: size from above or norm from below.
    """

    status: Literal["optimal", "infeasible", "stopped"]
    mask: BoolArray | None = None
    bound: float | None = None


def search_exactly(
    ask: Callable[[Model], Answer],
    name: str,
    problem: Problem,
    run: Run,
    *,
    tolerance: float = 0.0,
) -> Candidate:
    """Find a first incumbent, then ask the back end called ``name`` until it is proved optimal.

    ``tolerance`` is within what share of the norm its answers hold, 0 for integer arithmetic.
    """
    start = fixed_subset(problem, run, MAX_SHARED)
    if start is None:
        return Candidate(is_infeasible=True)
    reduced = _reduce(problem, name)
    run.submit(start)
    search_around(problem, run, start)

    def ask_in_time(model: Model) -> Answer:
        try:
            return ask(model)
        except TimeIsUp:
            return Answer("stopped")

    candidate = _Proof(ask_in_time, problem, reduced, run).search()
    if not tolerance:
        return candidate
    own = {} if candidate.bound is None else {"bound_within_tolerance": candidate.bound}
    return replace(candidate, tolerance=tolerance, stats=candidate.stats | own)


def warm_up(make: Callable[[], Solver], problem: Problem) -> None:
    """Compile the local search that gives the hint, and import what the solver imports."""
    GreedySolver().warm_up(problem)
    _load(make)


@cache
def _load(make: Callable[[], Solver]) -> None:
    problem, solver = Problem(np.eye(3), epsilon=1.0), make()
    solver.solve(problem, solver.Options(), Run.quiet(problem))


def _reduce(problem: Problem, name: str) -> Reduction:
    """Reduce the rank of S for a search that only small problems allow."""
    if problem.n > MAX_EXAMPLES or min(problem.n, problem.d) > MAX_SIDE:
        raise OptionError(
            f"solver {name!r} branches on single examples and holds at most {MAX_EXAMPLES}, "
            f"but n = {problem.n}; use solver='anneal'."
        )
    reduced = reduce_rank(problem.rows, problem.offset)
    if reduced.rank > MAX_RANK:
        raise OptionError(
            f"solver {name!r} squares one variable per direction of S and holds at most "
            f"{MAX_RANK}, but the rank of S is {reduced.rank}; use solver='anneal'."
        )
    return reduced


class _Proof:
    """Models that are asked about one after the other."""

    def __init__(
        self, ask: Callable[[Model], Answer], problem: Problem, reduced: Reduction, run: Run
    ) -> None:
        self.ask, self.problem, self.reduced, self.run = ask, problem, reduced, run
        self.excluded: list[BoolArray] = []
        self.is_sizing = problem.form == "max_size"
        # No subset is larger, whatever its norm.
        self.most = min(problem.max_size, problem.n - int(problem.must_keep.sum()))

    def search(self) -> Candidate:
        """Ask until the incumbent is proved optimal, time is up, or rounding hides the answer."""
        run, bound = self.run, None
        while len(self.excluded) < _MAX_EXCLUDED and not run.should_stop():
            if self._reaches(self.most):
                return self._finish(None, is_optimal=True)
            answer = self.ask(self._model(is_outer=True))
            if answer.status == "infeasible":
                return self._finish(None, is_optimal=True)
            # The first bound is over all subsets; later ones leave out the excluded subsets.
            bound = answer.bound if self.is_sizing or not self.excluded else bound
            if answer.status == "stopped" or answer.mask is None:
                self._note_limit()
                return self._finish(bound)
            if self._reaches(bound):
                return self._finish(bound, is_optimal=True)
            self.excluded.append(answer.mask)
        may_ask = self.is_sizing and not run.should_stop()
        if may_ask and self.ask(self._model(is_outer=False)).status == "stopped":
            self._note_limit()
        return self._finish(bound)

    def _reaches(self, bound: float | None) -> bool:
        """Whether the incumbent is as large as any subset can be."""
        has_size = self.is_sizing and self.run.mask is not None
        return has_size and bound is not None and self.run.size >= np.floor(bound)

    def _model(self, is_outer: bool) -> Model:
        run, size = self.run, self.problem.size
        least = run.size + 1 if run.mask is not None and self.is_sizing else 0
        relaxation, direction = run.solve_relaxation(), None
        if relaxation is not None:
            u = self.reduced.basis.T @ relaxation.dual.u
            length = float(np.linalg.norm(u))
            direction = u / length if length > 0.0 else None
        largest = float("inf") if relaxation is None else float(np.floor(relaxation.bound))
        return Model(
            problem=self.problem,
            reduced=self.reduced,
            is_outer=is_outer,
            least=least if size is None else size,
            most=self.most,
            cutoff=run.norm,
            excluded=list(self.excluded),
            hint=run.mask,
            largest_size=largest,
            direction=direction,
        )

    def _finish(self, bound: float | None, *, is_optimal: bool = False) -> Candidate:
        run = self.run
        if bound is not None and run.mask is not None:
            bound = max(bound, float(run.size)) if self.is_sizing else min(bound, run.norm)
        is_infeasible = is_optimal and run.mask is None
        return Candidate(
            limit=run.limit,
            is_optimal=is_optimal and not is_infeasible,
            is_infeasible=is_infeasible,
            bound=bound,
            stats={"num_excluded": len(self.excluded)},
        )

    def _note_limit(self) -> None:
        """Say which limit a back end stopped at, a moment before `Run` would see it."""
        run = self.run
        if run.should_stop():
            return
        if run.fills_time:
            run.limit = "time"
        elif run.limits.max_iterations is not None:
            run.limit = "iterations"

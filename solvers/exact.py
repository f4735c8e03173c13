"""Solver "exact": branch and bound by SCIP, through OR-Tools' MathOpt.

The model has one binary per example, v = R^T x with R = S V the rank-reduced rows, and one
constraint ||v|| <= epsilon: never the n x n Gram matrix. Rows are divided by the radius, and the
radius is enlarged beyond SCIP's feasibility tolerance, so that no feasible subset is cut off; what
only tolerance lets in is told apart in float64.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from subsetsel.engine.options import require_integer
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import SolverError
from subsetsel.problem.problem import Problem

from ._background import run_beside_clock
from ._model import Answer, Model, search_exactly, warm_up

# SCIP's feasibility tolerance is 1e-6; the squared radius is 1.
_MARGIN = 1e-5
# SCIP takes smaller coefficients for 0.
_LEAST_COEFFICIENT = 1e-9


@dataclass(frozen=True)
class ExactOptions:
    """Options of `ExactSolver`.

    Attributes
    ----------
    max_nodes : int
        Of the search tree per model, where no limit is given.
    """

    max_nodes: int = 5_000

    def __post_init__(self) -> None:
        require_integer("max_nodes", self.max_nodes, 1)


class ExactSolver:
    """Mixed-integer search on the norm itself; an oracle for small problems.

    Proofs rest on SCIP's floating-point arithmetic within its tolerances. Where the bound of the
    core does not confirm what SCIP claims, the message says so; SCIP's own bound is told as
    ``stats["bound_within_tolerance"]`` alone. ``max_iterations`` counts nodes of the search tree;
    SCIP runs on one thread whatever ``num_workers`` says, and tells what it found when it ends. It
    cannot be asked to end: after Ctrl-C, or where it does not notice its time limit, it is left
    behind with what it found, up to its own limit of time or nodes.
    """

    Options: ClassVar[type[ExactOptions]] = ExactOptions

    def warm_up(self, problem: Problem, options: ExactOptions) -> None:
        """Compile the local search that gives the hint, and import OR-Tools."""
        warm_up(type(self), problem)

    def solve(self, problem: Problem, options: ExactOptions, run: Run) -> Candidate:
        """Search for a subset; see `subsetsel.engine.registry.Solver`."""

        def ask(model: Model) -> Answer:
            return _ScipModel(model, options, run).solve()

        return search_exactly(ask, "exact", problem, run, tolerance=_MARGIN)


class _ScipModel:
    """A `Model` in MathOpt's terms."""

    def __init__(self, model: Model, options: ExactOptions, run: Run) -> None:
        from ortools.math_opt.python import mathopt

        self.mathopt: Any = mathopt
        self.given, self.options, self.run = model, options, run
        self.clock = run.clock
        problem = model.problem
        # The largest ball; with normalization "kept" it shrinks from here.
        self.radius = model.radius(0)
        # A radius of 0 would divide by nothing: then the longest row sets the scale.
        longest = float(np.sqrt(problem.rows.squared_norms.max()))
        self.scale = max(self.radius, 1e-6 * longest, 1e-300)
        dropped = _LEAST_COEFFICIENT * problem.n * float(np.sqrt(model.reduced.rank))
        tails = float(model.reduced.tails.sum()) + model.reduced.offset_tail
        self.margin = _MARGIN + 3 * (tails / self.scale + dropped)
        self.model: Any = mathopt.Model()
        low, high = problem.must_prune, ~problem.must_keep
        self.x = [
            self.model.add_integer_variable(lb=float(low[i]), ub=float(high[i]))
            for i in range(problem.n)
        ]
        self._build()

    # --- model ----------------------------------------------------------------------------------

    def _weighted(self, coefficients: Any) -> Any:
        nonzero = np.flatnonzero(coefficients)
        return self.mathopt.fast_sum(float(coefficients[i]) * self.x[i] for i in nonzero)

    def _build(self) -> None:
        given, model = self.given, self.model
        size = self.mathopt.fast_sum(self.x)
        model.add_linear_constraint(lb=given.least, ub=given.most, expr=size)
        total = self._add_norm(size)
        self._add_relaxation(size)
        for row in given.linear_rows():
            self.clock.check()
            model.add_linear_constraint(
                lb=row.lower - row.slack,
                ub=row.upper + row.slack,
                expr=self._weighted(row.coefficients),
            )
        for mask in given.excluded:
            # At least one example differs from the forbidden subset.
            differing = self._weighted(np.where(mask, -1.0, 1.0))
            model.add_linear_constraint(lb=1.0 - float(mask.sum()), expr=differing)
        if given.problem.epsilon is None:
            model.minimize(total)
        else:
            model.maximize(size)

    def _add_norm(self, size: Any) -> Any:
        """Add v = (b + R^T x) / scale and the ball; returns the sum of squares."""
        model, problem, reduced = self.model, self.given.problem, self.given.reduced
        squares = []
        for column, start in zip(
            reduced.rows.T / self.scale, reduced.offset / self.scale, strict=True
        ):
            self.clock.check()
            longest = min(float(np.abs(column).sum()) + abs(float(start)), 1.0) + self.margin
            v = model.add_variable(lb=-longest, ub=longest)
            model.add_linear_constraint(self._weighted(column) + float(start) == v)
            squares.append(v * v)
        total = self.mathopt.fast_sum(squares)
        ratio = self.radius / self.scale
        margin = self.margin if self.given.is_outer else -self.margin
        if problem.epsilon is not None and problem.normalization == "kept":
            # The margin sits in the radius, so that SCIP sees a second-order cone.
            allowed = model.add_variable(lb=0.0, ub=ratio + self.margin)
            model.add_linear_constraint(allowed == ratio + margin - (ratio / problem.n) * size)
            model.add_quadratic_constraint(ub=0.0, expr=total - allowed * allowed)
        elif squares:
            model.add_quadratic_constraint(ub=max(0.0, ratio**2 + margin), expr=total)
        return total

    def _add_relaxation(self, size: Any) -> None:
        """Add the relaxation's bound, and what the ball implies along its dual."""
        given = self.given
        if np.isfinite(given.largest_size):
            self.model.add_linear_constraint(ub=given.largest_size, expr=size)
        if given.direction is not None:
            along = self._weighted(given.reduced.rows @ given.direction / self.scale)
            most = (self.radius - float(given.reduced.offset @ given.direction)) / self.scale
            most += self.margin
            self.model.add_linear_constraint(ub=most, expr=along)

    # --- search ---------------------------------------------------------------------------------

    def _parameters(self) -> Any:
        run, mathopt = self.run, self.mathopt
        remaining = run.remaining
        has_clock = bool(np.isfinite(remaining))
        nodes = run.iterations_left
        if nodes is None and not run.fills_time:
            nodes = max(1, round(int(self.options.max_nodes) * run.effort))
        limit = datetime.timedelta(seconds=max(0.01, 0.97 * remaining)) if has_clock else None
        return mathopt.SolveParameters(
            time_limit=limit,
            node_limit=nodes,
            random_seed=int(run.limits.seed) % 2**31,
            relative_gap_tolerance=0.0,
            # Squared norms closer than this are told apart afterwards; sizes are integers.
            absolute_gap_tolerance=0.1 * _MARGIN,
        )

    def solve(self) -> Answer:
        """Run SCIP and translate its answer."""
        mathopt, run = self.mathopt, self.run
        hint = mathopt.ModelSolveParameters()
        if self.given.hint is not None:
            values = dict(zip(self.x, self.given.hint.astype(float).tolist(), strict=True))
            hint.solution_hints.append(mathopt.SolutionHint(variable_values=values))

        def work() -> Any:
            kind, parameters = mathopt.SolverType.GSCIP, self._parameters()
            return mathopt.solve(self.model, kind, params=parameters, model_params=hint)

        self.clock.check()
        try:
            result = run_beside_clock(work, run)
        except (RuntimeError, ValueError) as error:
            raise SolverError(f"SCIP failed: {error}.") from error
        if result is None:
            return Answer("stopped")
        answer = self._answer(result)
        if answer.mask is not None:
            run.submit(answer.mask)
        return answer

    def _answer(self, result: Any) -> Answer:
        reasons = self.mathopt.TerminationReason
        reason = result.termination.reason
        self.run.add_iterations(int(result.solve_stats.node_count))
        if reason == reasons.INFEASIBLE:
            return Answer("infeasible")
        bound = self._bound(float(result.termination.objective_bounds.dual_bound))
        mask = None
        if result.has_primal_feasible_solution():
            values = result.variable_values()
            mask = np.array([values[v] > 0.5 for v in self.x], dtype=np.bool_)
        return Answer("optimal" if reason == reasons.OPTIMAL else "stopped", mask, bound)

    def _bound(self, value: float) -> float | None:
        """Translate the model's bound to the true problem."""
        if not np.isfinite(value):
            return None
        if self.given.problem.epsilon is not None:
            return value + _MARGIN
        return float(np.sqrt(max(0.0, value - self.margin))) * self.scale

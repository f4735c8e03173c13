"""Solver "exact": branch and bound by SCIP, through OR-Tools' MathOpt.

The model has one binary per example, v = R^T x with R = S V the rank-reduced rows, and one
constraint ||v|| <= epsilon: never the n x n Gram matrix. Rows are divided by the radius, and the
radius is enlarged beyond SCIP's feasibility tolerance, so that no feasible subset is cut off; what
only tolerance lets in is told apart in float64.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import OptionError, SolverError
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray
from subsetsel.rows.rank import Reduction

from ._proof import Answer, Question, largest_size, prove
from ._quantize import reduce_for_exact
from .greedy import GreedySolver, search_around, starting_mask

MAX_EXAMPLES = 1000
MAX_RANK = 256
# SCIP's feasibility tolerance is 1e-6; the squared radius is 1.
_MARGIN = 1e-5


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
        if isinstance(self.max_nodes, bool) or not isinstance(self.max_nodes, (int, np.integer)):
            raise OptionError(f"max_nodes must be an integer, got {self.max_nodes!r}.")
        if self.max_nodes < 1:
            raise OptionError(f"max_nodes must be at least 1, got {self.max_nodes}.")


class ExactSolver:
    """Mixed-integer search on the norm itself; an oracle for small problems.

    Proofs rest on SCIP's floating-point arithmetic within its tolerances. ``max_iterations`` counts
    nodes of the search tree; SCIP runs on one thread whatever ``num_workers`` says, and tells
    what it found when it ends: a callback is heard between models only.
    """

    Options: ClassVar[type[ExactOptions]] = ExactOptions

    def warm_up(self, problem: Problem, options: ExactOptions) -> None:
        """Compile the local search that gives the hint, and import OR-Tools."""
        GreedySolver().warm_up(problem)
        _load()

    def solve(self, problem: Problem, options: ExactOptions, run: Run) -> Candidate:
        """Search for a subset; see `subsetsel.engine.registry.Solver`.

        Returns
        -------
        Candidate

        Raises
        ------
        OptionError
            If the problem is larger than branch and bound can hold.
        """
        start = starting_mask(problem, run)
        if start is None:
            return Candidate(is_infeasible=True)
        reduced = reduce_for_exact(problem, "exact", MAX_EXAMPLES, MAX_RANK)
        run.submit(start)
        search_around(problem, run, start)

        def ask(question: Question) -> Answer:
            return _Model(problem, options, reduced, question, run).solve()

        return prove(ask, problem, run)


@cache
def _load() -> None:
    problem = Problem(np.eye(3), epsilon=1.0)
    ExactSolver().solve(problem, ExactOptions(), Run.quiet(problem))


class _Model:
    """One MathOpt model of a `Question`."""

    def __init__(
        self,
        problem: Problem,
        options: ExactOptions,
        reduced: Reduction,
        question: Question,
        run: Run,
    ) -> None:
        from ortools.math_opt.python import mathopt

        self.mathopt: Any = mathopt
        self.problem = problem
        self.options = options
        self.question = question
        self.run = run
        self.least = problem.size if problem.size is not None else question.least
        self.most = largest_size(problem)
        lengths = np.sqrt(problem.rows.squared_norms)
        radius = question.cutoff if problem.epsilon is None else problem.epsilon
        self.radius = radius if np.isfinite(radius) else float(lengths.sum())
        # A radius of 0 would divide by nothing: then the longest row sets the scale.
        self.scale = max(self.radius, 1e-6 * float(lengths.max()), 1e-300)
        self.margin = _MARGIN + 3 * float(reduced.tails.sum()) / self.scale
        self.model: Any = mathopt.Model()
        low, high = problem.must_prune, ~problem.must_keep
        self.x = [
            self.model.add_integer_variable(lb=float(low[i]), ub=float(high[i]))
            for i in range(problem.n)
        ]
        self._build(reduced)

    # --- model ----------------------------------------------------------------------------------

    def _weighted(self, coefficients: Any) -> Any:
        nonzero = np.flatnonzero(coefficients)
        return self.mathopt.fast_sum(float(coefficients[i]) * self.x[i] for i in nonzero)

    def _build(self, reduced: Reduction) -> None:
        model, problem, x = self.model, self.problem, self.x
        size = self.mathopt.fast_sum(x)
        model.add_linear_constraint(lb=self.least, ub=self.most, expr=size)
        total = self._add_norm(reduced, size)
        self._add_direction(reduced)
        slack = problem.constraints.slack
        for c in range(len(problem.constraints)):
            row = problem.constraints.matrix[[c], :].toarray()[0]
            lower = float(problem.constraints.lower[c] - slack[c])
            upper = float(problem.constraints.upper[c] + slack[c])
            model.add_linear_constraint(lb=lower, ub=upper, expr=self._weighted(row))
        for mask in self.question.excluded:
            # At least one example differs from the forbidden subset.
            differing = self._weighted(np.where(mask, -1.0, 1.0))
            model.add_linear_constraint(lb=1.0 - float(mask.sum()), expr=differing)
        if problem.epsilon is None:
            model.minimize(total)
        else:
            model.maximize(size)

    def _add_norm(self, reduced: Reduction, size: Any) -> Any:
        """Add v = R^T x / scale and the ball; returns the sum of squares."""
        model, problem = self.model, self.problem
        squares = []
        for column in reduced.rows.T / self.scale:
            longest = min(float(np.abs(column).sum()), 1.0) + self.margin
            v = model.add_variable(lb=-longest, ub=longest)
            model.add_linear_constraint(self._weighted(column) == v)
            squares.append(v * v)
        total = self.mathopt.fast_sum(squares)
        ratio, margin = self.radius / self.scale, self.margin
        if not self.question.is_outer:
            margin = -margin
        if problem.epsilon is not None and problem.normalization == "kept":
            # The margin sits in the radius, so that SCIP sees a second-order cone.
            allowed = model.add_variable(lb=0.0, ub=ratio + self.margin)
            model.add_linear_constraint(allowed == ratio + margin - (ratio / problem.n) * size)
            model.add_quadratic_constraint(ub=0.0, expr=total - allowed * allowed)
        elif squares:
            model.add_quadratic_constraint(ub=max(0.0, ratio**2 + margin), expr=total)
        return total

    def _add_direction(self, reduced: Reduction) -> None:
        """Add what the ball implies along the relaxation's dual: its bound as one linear row."""
        relaxation = self.run.solve_relaxation()
        if relaxation is None:
            return
        self.model.add_linear_constraint(
            ub=float(np.floor(relaxation.bound)), expr=self.mathopt.fast_sum(self.x)
        )
        u = reduced.basis.T @ relaxation.dual.u
        length = float(np.linalg.norm(u))
        if length > 0.0:
            along = reduced.rows @ (u / (length * self.scale))
            ratio = self.radius / self.scale
            self.model.add_linear_constraint(ub=ratio + self.margin, expr=self._weighted(along))

    # --- search ---------------------------------------------------------------------------------

    def _parameters(self) -> Any:
        run, mathopt = self.run, self.mathopt
        remaining = run.remaining
        has_clock = bool(np.isfinite(remaining))
        nodes = run.iterations_left
        if nodes is None and not has_clock:
            nodes = max(1, round(int(self.options.max_nodes) * run.effort))
        parameters = mathopt.SolveParameters(
            time_limit=datetime.timedelta(seconds=max(0.01, 0.97 * remaining))
            if has_clock
            else None,
            node_limit=nodes,
            random_seed=int(run.limits.seed) % 2**31,
            relative_gap_tolerance=0.0,
            # Squared norms closer than this are told apart afterwards; sizes are integers.
            absolute_gap_tolerance=0.1 * _MARGIN,
        )
        parameters.gscip.bool_params["misc/catchctrlc"] = True
        return parameters

    def _mask(self, values: Any) -> BoolArray:
        return np.array([values[v] > 0.5 for v in self.x], dtype=np.bool_)

    def solve(self) -> Answer:
        """Run SCIP and translate its answer.

        Returns
        -------
        Answer

        Raises
        ------
        SolverError
            If SCIP fails.
        KeyboardInterrupt
            After Ctrl-C, with what SCIP had found submitted.
        """
        mathopt, run = self.mathopt, self.run
        hint = mathopt.ModelSolveParameters()
        if self.question.hint is not None:
            values = dict(zip(self.x, self.question.hint.astype(float).tolist(), strict=True))
            hint.solution_hints.append(mathopt.SolutionHint(variable_values=values))
        try:
            result = mathopt.solve(
                self.model,
                mathopt.SolverType.GSCIP,
                params=self._parameters(),
                model_params=hint,
            )
        except (RuntimeError, ValueError) as error:
            raise SolverError(f"SCIP failed: {error}.") from error
        answer = self._answer(result)
        if answer.mask is not None:
            run.submit(answer.mask)
        # SCIP holds the keyboard while it runs, so Python has not heard of the Ctrl-C.
        if result.termination.limit == mathopt.Limit.INTERRUPTED:
            raise KeyboardInterrupt
        return answer

    def _answer(self, result: Any) -> Answer:
        reasons = self.mathopt.TerminationReason
        reason = result.termination.reason
        self.run.add_iterations(int(result.solve_stats.node_count))
        if reason == reasons.INFEASIBLE:
            return Answer("infeasible")
        bound = self._bound(float(result.termination.objective_bounds.dual_bound))
        mask = (
            self._mask(result.variable_values()) if result.has_primal_feasible_solution() else None
        )
        if reason == reasons.OPTIMAL:
            return Answer("optimal", mask, bound)
        return Answer("stopped", mask, bound)

    def _bound(self, value: float) -> float | None:
        """Translate the model's bound to the true problem."""
        if not np.isfinite(value):
            return None
        if self.problem.epsilon is not None:
            return value + _MARGIN
        return float(np.sqrt(max(0.0, value - self.margin))) * self.scale

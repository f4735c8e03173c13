"""Solver "cpsat": OR-Tools CP-SAT on integer rows, with the rounding accounted for.

S is reduced to its rank and rounded to multiples of a unit. For every W with at most M examples the
rounded norm differs from the true one by at most sqrt(M) times the spectral norm of the rounding
errors; the ball is enlarged or shrunk by that.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsetsel.engine.options import require_integer
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import OptionError, SolverError
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.rows.base import BoolArray
from subsetsel.rows.rank import Reduction

from ._background import run_beside_clock
from ._model import Answer, LinearRow, Model, search_exactly, warm_up

# CP-SAT adds absolute coefficients of a row in 32 bits in places (or-tools issue 5293), and squares
# in 64 bits.
_MAX_ROW = 2**30
_MAX_SQUARES = 2.0**62


@dataclass(frozen=True)
class CpsatOptions:
    """Options of `CpsatSolver`.

    Attributes
    ----------
    resolution : int
        Units per epsilon (Eq. 4: per norm to beat). Finer proves more and costs more.
    work_limit : float
        CP-SAT's deterministic seconds per model, where no limit is given.
    """

    resolution: int = 10_000
    work_limit: float = 60.0

    def __post_init__(self) -> None:
        require_integer("resolution", self.resolution, 10)
        if self.resolution > 10**8:
            raise OptionError(f"resolution must be at most 10^8 units, got {self.resolution}.")
        if not (isinstance(self.work_limit, (int, float)) and self.work_limit > 0):
            raise OptionError(f"work_limit must be a number > 0, got {self.work_limit!r}.")


class CpsatSolver:
    """Exact search over integer rows; proves optimality for the true problem where it can.

    ``max_iterations`` counts conflicts of CP-SAT's search.
    """

    Options: ClassVar[type[CpsatOptions]] = CpsatOptions

    def warm_up(self, problem: Problem, options: CpsatOptions) -> None:
        """Compile the local search that gives the hint, and import OR-Tools."""
        warm_up(type(self), problem)

    def solve(self, problem: Problem, options: CpsatOptions, run: Run) -> Candidate:
        """Search for a subset; see `subsetsel.engine.registry.Solver`."""

        def ask(model: Model) -> Answer:
            return _CpsatModel(model, options, run).solve()

        return search_exactly(ask, "cpsat", problem, run)


class Quantized(NamedTuple):
    """Integer rows (n, rank), offset (rank,), the length of a step, the error of a norm in steps.

    The error holds for any W of the size that is allowed.
    """

    rows: NDArray[np.int64]
    offset: NDArray[np.int64]
    unit: float
    error: float


def quantize(reduced: Reduction, radius: float, resolution: int, max_size: int) -> Quantized:
    """Round S V to ``resolution`` steps per radius, or to fewer where rows are too long for that.

    A subset has at most ``max_size`` examples.
    """
    R, start = reduced.rows, reduced.offset
    longest = float((np.abs(R).sum(axis=0) + np.abs(start)).max(initial=0.0))
    unit = max(radius / resolution, longest / _MAX_ROW, 1e-300)
    rows = np.rint(R / unit)
    rest = R / unit - rows
    by_row = np.sort(np.linalg.norm(rest, axis=1))[::-1][:max_size].sum()
    spectral = np.linalg.norm(rest, 2) if rest.size else 0.0
    tails = np.sort(reduced.tails)[::-1][:max_size].sum() / unit
    # R / unit itself is rounded: 2^-53 of at most 2^30 units an entry is far below 1e-6.
    error = min(float(by_row), math.sqrt(max_size) * float(spectral)) * (1 + 1e-9)
    error += float(tails) + 1e-6 * math.sqrt(max(1, reduced.rank)) * max_size
    shift = np.rint(start / unit)
    if start.any():
        error += float(np.linalg.norm(start / unit - shift)) * (1 + 1e-9)
        error += reduced.offset_tail / unit + 1e-6 * math.sqrt(reduced.rank)
    return Quantized(rows.astype(np.int64), shift.astype(np.int64), unit, error)


class _CpsatModel:
    """A `Model` in CP-SAT's terms."""

    def __init__(self, model: Model, options: CpsatOptions, run: Run) -> None:
        from ortools.sat.python import cp_model

        self.cp_model: Any = cp_model
        self.given, self.options, self.run = model, options, run
        self.clock = run.clock
        self.radius = model.radius(model.least)
        most = max(1, model.most)
        self.quantized = quantize(model.reduced, self.radius, int(options.resolution), most)
        self.model: Any = cp_model.CpModel()
        self.x = [self.model.new_bool_var("") for _ in range(model.problem.n)]
        self._build()

    # --- model ----------------------------------------------------------------------------------

    def _limit(self, size: int) -> int:
        """Squared norm allowed at a size, in units, enlarged or shrunk."""
        quantized = self.quantized
        radius = min(self.given.radius(size), self.radius) / quantized.unit
        if not self.given.is_outer:
            radius -= quantized.error
            return math.floor(radius**2 * (1 - 1e-12)) if radius >= 0 else -1
        return math.floor((radius * (1 + FEASIBILITY) + quantized.error) ** 2 * (1 + 1e-12))

    def _build(self) -> None:
        given, model, x = self.given, self.model, self.x
        size = sum(x)
        model.add(size >= given.least)
        model.add(size <= given.most)
        for i in np.flatnonzero(given.problem.must_prune):
            model.add(x[i] == 1)
        for i in np.flatnonzero(given.problem.must_keep):
            model.add(x[i] == 0)
        for row in given.linear_rows():
            self.clock.check()
            self._add_row(row)
        self._add_norm(size)
        self._add_relaxation(size)
        for mask in given.excluded:
            model.add_bool_or([
                v.negated() if pruned else v for v, pruned in zip(x, mask, strict=True)
            ])
        if given.problem.epsilon is not None:
            model.maximize(size)
        if given.hint is not None:
            for v, pruned in zip(x, given.hint, strict=True):
                model.add_hint(v, bool(pruned))

    def _weighted(self, coefficients: NDArray[np.int64]) -> Any:
        return self.cp_model.LinearExpr.weighted_sum(self.x, coefficients.tolist())

    def _add_norm(self, size: Any) -> None:
        given, model, rows = self.given, self.model, self.quantized.rows
        problem = given.problem
        limits = [self._limit(m) for m in range(problem.n + 1)]
        largest = max(0, *limits[given.least : given.most + 1])
        length = math.isqrt(largest)
        if rows.shape[1] * float(largest) >= _MAX_SQUARES:
            raise OptionError(
                f"{rows.shape[1]} squares of up to {largest} do not fit 64 bits; lower resolution."
            )
        squares = []
        for column, start in zip(rows.T, self.quantized.offset.tolist(), strict=True):
            self.clock.check()
            longest = min(length, int(np.abs(column).sum()) + abs(start))
            value = model.new_int_var(-longest, longest, "")
            model.add(value == self._weighted(column) + start)
            square = model.new_int_var(0, longest**2, "")
            model.add_multiplication_equality(square, [value, value])
            squares.append(square)
        total = sum(squares)
        if problem.epsilon is not None and problem.normalization == "kept":
            allowed = model.new_int_var(-1, largest, "")
            model.add_element(size, limits, allowed)
            model.add(total <= allowed)
            return
        model.add(total <= limits[given.least])
        if problem.epsilon is None:
            model.minimize(total)

    def _add_relaxation(self, size: Any) -> None:
        """Add the relaxation's bound, and what the ball implies along its dual."""
        given, unit = self.given, self.quantized.unit
        if math.isfinite(given.largest_size):
            self.model.add(size <= int(given.largest_size))
        if given.direction is None:
            return
        # Rounded down with room for float64 rounding, so that no feasible subset is lost.
        products = given.reduced.rows @ given.direction / unit - given.reduced.tails / unit - 1e-6
        start = float(given.reduced.offset @ given.direction)
        radius = (self.radius * (1 + FEASIBILITY) - start) / unit + 1e-6 * given.problem.n
        radius += (given.reduced.offset_tail + 1e-12 * abs(start)) / unit
        self.model.add(self._weighted(np.floor(products).astype(np.int64)) <= math.ceil(radius))

    def _add_row(self, row: LinearRow) -> None:
        """Add a linear constraint in integers, enlarged or shrunk by what rounding may do."""
        coefficients, unit = row.coefficients, 1.0
        longest = float(np.abs(coefficients).sum())
        if not np.array_equal(coefficients, np.rint(coefficients)) or longest > _MAX_ROW:
            unit = longest / _MAX_ROW
        rounded = np.rint(coefficients / unit)
        error = 0.0 if unit == 1.0 else float(np.abs(coefficients / unit - rounded).sum()) + 1e-3
        margin = row.slack / unit + error if self.given.is_outer else -error
        expression = self._weighted(rounded.astype(np.int64))
        if np.isfinite(row.lower):
            self.model.add(expression >= math.ceil(row.lower / unit - margin))
        if np.isfinite(row.upper):
            self.model.add(expression <= math.floor(row.upper / unit + margin))

    # --- search ---------------------------------------------------------------------------------

    def _parameters(self, solver: Any) -> None:
        run, parameters = self.run, solver.parameters
        parameters.num_workers = int(run.limits.num_workers)
        parameters.random_seed = int(run.limits.seed) % 2**31
        parameters.catch_sigint_signal = False
        if np.isfinite(run.remaining):
            parameters.max_time_in_seconds = max(0.01, run.remaining)
        if not run.fills_time:
            parameters.max_deterministic_time = self.options.work_limit * run.effort
            parameters.interleave_search = run.limits.num_workers > 1
        if run.iterations_left is not None:
            parameters.max_number_of_conflicts = run.iterations_left

    def solve(self) -> Answer:
        """Run CP-SAT and translate its answer."""
        cp_model, run, x = self.cp_model, self.run, self.x
        solver = cp_model.CpSolver()
        self._parameters(solver)
        found: deque[BoolArray] = deque()

        class Recorder(cp_model.CpSolverSolutionCallback):  # type: ignore[misc, name-defined]
            """Hands every solution to the thread that holds the run."""

            def on_solution_callback(self) -> None:
                found.append(np.array([self.boolean_value(v) for v in x], dtype=np.bool_))

        def work() -> int:
            return int(solver.solve(self.model, Recorder()))

        self.clock.check()
        status = run_beside_clock(work, run, stop=solver.stop_search, found=found)
        if status is None:
            return Answer("stopped")
        run.add_iterations(int(solver.num_conflicts))
        if status == cp_model.MODEL_INVALID:
            raise SolverError(f"CP-SAT rejects the model: {self.model.validate()}.")
        if status == cp_model.INFEASIBLE:
            return Answer("infeasible")
        if status == cp_model.UNKNOWN:
            return Answer("stopped")
        mask = np.array([solver.boolean_value(v) for v in x], dtype=np.bool_)
        bound = self._bound(float(solver.best_objective_bound))
        return Answer("optimal" if status == cp_model.OPTIMAL else "stopped", mask, bound)

    def _bound(self, value: float) -> float:
        """Translate the model's bound to the true problem."""
        if self.given.problem.epsilon is not None:
            return value
        length = math.sqrt(max(0.0, value)) * (1 - 1e-12) - self.quantized.error
        return max(0.0, length * self.quantized.unit)

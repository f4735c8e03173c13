"""Solver "relax": the continuous relaxation by cvxpy and CLARABEL, rounded and improved.

With R = S V the rank-reduced rows and b = V^T v0, Eq. 3 is relaxed to the second-order cone
program: maximize sum w subject to ||b + R^T w|| <= epsilon (or epsilon (n - sum w) / n),
0 <= w <= 1, everything linear.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from subsetsel.bounds.dual import evaluate_dual
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import OptionError, SolverError
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import FloatArray
from subsetsel.rows.rank import MAX_SIDE, Reduction, reduce_rank

from ._background import run_beside_clock
from ._first_subset import fixed_subset
from ._local_search import MAX_SHARED, LocalSearch
from .greedy import GreedyOptions, GreedySolver, improve, improve_rounded

# Entries of R in the cone program: about half a minute and 1 GB.
MAX_ENTRIES = 1_000_000
# Seconds per multiply-add of the factorization in an interior-point step, on one older core. They
# decide whether the time limit has room for the relaxation.
_STEP_TIME = 4e-9
_NUM_STEPS = 15


@dataclass(frozen=True)
class RelaxOptions(GreedyOptions):
    """Options of `RelaxSolver`: those of the local search after rounding."""


@dataclass(frozen=True)
class _Relaxed:
    """A point of the relaxation, and its dual where it has a meaning."""

    weights: FloatArray
    u: FloatArray | None
    y: FloatArray


class RelaxSolver:
    """Round the optimum of the continuous relaxation, repair it and search around it.

    For Eq. 3 with normalization "full" its dual gives the proven bound. For Eq. 4 and for
    normalization "kept" the relaxation says little and only serves as a start. ``max_iterations``
    counts moves of the local search.
    """

    Options: ClassVar[type[RelaxOptions]] = RelaxOptions

    def warm_up(self, problem: Problem, options: RelaxOptions) -> None:
        """Compile the local search and import cvxpy."""
        _cvxpy()
        GreedySolver().warm_up(problem)

    def solve(self, problem: Problem, options: RelaxOptions, run: Run) -> Candidate:
        """Search for a subset; see `subsetsel.engine.registry.Solver`."""
        start = fixed_subset(problem, run, MAX_SHARED)
        if start is None:
            return Candidate(is_infeasible=True)
        run.submit(start)
        relaxed = None
        stats: dict[str, Any] = {"is_relaxed": False}
        if problem.n * min(problem.n, problem.d) > MAX_ENTRIES or _has_time(problem, run):
            reduced = _reduce(problem)
            relaxed = _solve_relaxation(problem, reduced, run)
            stats = {"is_relaxed": relaxed is not None, "rank": reduced.rank}
        bound, dual = None, None
        if relaxed is not None and relaxed.u is not None and run.limits.bound:
            best = evaluate_dual(problem, relaxed.u, relaxed.y)
            bound, dual = best.bound, best.u
            run.proof.tighten(bound)
        search = LocalSearch(problem, run, start)
        patience = round(options.patience * run.effort)
        if relaxed is not None:
            improve_rounded(search, relaxed.weights, patience)
        if relaxed is None or run.mask is None or run.size == 0:
            search.restart(start)
            improve(search, patience)
        return Candidate(limit=run.limit, bound=bound, dual=dual, stats=stats)


def _cvxpy() -> Any:
    """Import cvxpy, whose types mypy knows only in part."""
    return importlib.import_module("cvxpy")


def _has_time(problem: Problem, run: Run) -> bool:
    """Whether the clock leaves room for the relaxation at the rank it has at most."""
    step_time = _STEP_TIME * problem.n * min(problem.n, problem.d) ** 2
    return run.remaining > _NUM_STEPS * step_time + 0.1


def _reduce(problem: Problem) -> Reduction:
    """Reduce the rank, if the cone program fits in memory at all."""
    rank = min(problem.n, problem.d)
    if rank <= MAX_SIDE and problem.n <= MAX_ENTRIES:
        reduced = reduce_rank(problem.rows, problem.offset)
        rank = reduced.rank
        if problem.n * rank <= MAX_ENTRIES:
            return reduced
    raise OptionError(
        f"solver 'relax' hands CLARABEL a dense matrix of n x rank = {problem.n} x {rank} entries, "
        f"more than the {MAX_ENTRIES} it can factorize in reasonable time; "
        "use solver='anneal', which relaxes the same problem by coordinate ascent."
    )


def _solve_relaxation(problem: Problem, reduced: Reduction, run: Run) -> _Relaxed | None:
    """Hand the cone program to CLARABEL; None where there is no time for it or it fails."""
    cp = _cvxpy()
    step_time = 1e-3 + _STEP_TIME * problem.n * reduced.rank**2
    if run.remaining < _NUM_STEPS * step_time + 0.1 or run.should_stop() or not reduced.rank:
        return None
    scale = float(np.sqrt(np.mean(problem.rows.squared_norms))) or 1.0
    R = reduced.rows / scale
    w = cp.Variable(problem.n)
    total = R.T @ w + reduced.offset / scale
    low, high = problem.must_prune.astype(float), 1.0 - problem.must_keep.astype(float)
    constraints: list[Any] = [w >= low, w <= high, cp.sum(w) <= problem.max_size]
    A, y_signs = problem.constraints.matrix, []
    for sign, limits in ((1.0, problem.constraints.upper), (-1.0, problem.constraints.lower)):
        is_finite = np.isfinite(limits)
        if is_finite.any():
            constraints.append(sign * (A.tocsr()[is_finite] @ w) <= sign * limits[is_finite])
            y_signs.append((sign, np.flatnonzero(is_finite), constraints[-1]))
    if problem.epsilon is None:
        # Where S^T 1 is near 0 every w is nearly optimal; a random slope leads to a vertex, which
        # has at most rank + 1 fractional entries, instead of the middle.
        slope = 0.1 * run.generator(1).random(problem.n)
        cone = None
        constraints.append(cp.sum(w) == problem.size)
        objective = cp.Minimize(cp.norm(total) + slope @ w)
    else:
        radius = problem.epsilon / scale
        is_kept = problem.normalization == "kept"
        kept_share = 1.0 - cp.sum(w) / problem.n if is_kept else cp.Constant(1.0)
        cone = cp.SOC(radius * kept_share, total)
        constraints.append(cone)
        objective = cp.Maximize(cp.sum(w))
    # CLARABEL looks at its clock between steps.
    limit = run.remaining - 3 * step_time
    settings = {} if np.isinf(limit) else {"time_limit": limit}
    program = cp.Problem(objective, constraints)
    _call(program, settings, run)
    if w.value is None:
        return None
    y = np.zeros(len(problem.constraints))
    for sign, which, constraint in y_signs:
        y[which] += sign * np.ravel(constraint.dual_value)
    u = None
    if cone is not None and problem.normalization == "full" and cone.dual_value is not None:
        u = reduced.lift(-np.ravel(cone.dual_value[1]) / scale)
    return _Relaxed(np.clip(w.value, low, high), u, y)


def _call(program: Any, settings: dict[str, float], run: Run) -> None:
    """Solve without the warnings of an early end: whatever comes back is only a start.

    A machine that others use takes longer than foreseen; then nothing comes back in time.
    """
    cp = _cvxpy()

    def work() -> None:
        program.solve(solver=cp.CLARABEL, **settings)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_beside_clock(work, run)
    except cp.error.SolverError:
        return
    except (ValueError, ArithmeticError) as error:
        raise SolverError(f"cvxpy failed on the relaxation: {error}.") from error

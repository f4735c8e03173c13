"""After a search: everything recomputed in float64, the bound attached, the answer named."""

from __future__ import annotations

import numpy as np

from subsetsel.bounds.dual import (
    can_bound_norm,
    evaluate_dual,
    lower_bound_on_norm,
    norm_along,
    uniform_norm,
)
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import SolverError
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.problem.progress import Limit, Status
from subsetsel.problem.solution import Solution

# A relaxed point with this share of the norm found leaves no bound worth the passes over S.
_HOPELESS = 1e-2
# A bound that near needs no more steps.
_ENOUGH = 0.9


def conclude(
    problem: Problem,
    solver: str,
    run: Run,
    candidate: Candidate,
    compile_time: float,
    message: str,
) -> Solution:
    """Recompute everything in float64 and say what it is."""
    limit = run.limit or candidate.limit
    is_infeasible = candidate.is_infeasible
    if run.mask is None and limit != "interrupted" and not is_infeasible:
        is_infeasible = _prove_infeasible(problem)
    if run.limits.bound and limit != "interrupted":
        _attach_bound(problem, run, candidate)
    mask = np.zeros(problem.n, dtype=np.bool_) if run.mask is None else run.mask
    norm = 0.0 if run.mask is None else problem.norm(mask)
    status: Status
    if run.mask is None:
        status = "infeasible" if is_infeasible else "unknown"
        message = message or _nothing_found(is_infeasible)
    else:
        broken = problem.violations(mask, norm=norm)
        if broken:
            raise SolverError(f"solver {solver!r} returned a subset in which {broken[0]}.")
        run.norm = norm
        status = "optimal" if candidate.is_optimal or run.is_proved_optimal() else "feasible"
    return Solution(
        mask=mask,
        norm=norm,
        status=status,
        limit=as_limit(limit) if status != "optimal" else None,
        bound=run.bound if run.limits.bound and status != "infeasible" else None,
        epsilon=problem.epsilon,
        target_size=problem.size,
        normalization=problem.normalization,
        solver=solver,
        seed=int(run.limits.seed),
        num_iterations=run.num_iterations,
        solve_time=run.elapsed,
        compile_time=compile_time,
        message=message,
        trace=tuple(run.trace),
        stats=candidate.stats,
    )


def as_limit(limit: str | None) -> Limit | None:
    """Check the reason a solver gives for stopping.

    Returns
    -------
    {None, "time", "iterations", "gap", "target", "interrupted"}

    Raises
    ------
    SolverError
        If it is none of these.
    """
    if limit in {None, "time", "iterations", "gap", "target", "interrupted"}:
        return limit  # type: ignore[return-value]
    raise SolverError(f"a solver reported the unknown limit {limit!r}.")


def _nothing_found(is_infeasible: bool) -> str:
    if is_infeasible:
        return "proved: no subset satisfies the constraints; raise epsilon or loosen the limits"
    return "no feasible subset was found and none was excluded; give more time or another solver"


def _prove_infeasible(problem: Problem) -> bool:
    """Whether the relaxation, or the linear constraints alone, exclude every subset."""
    if find_mask(problem) is None:
        return True
    if problem.epsilon is None:
        return False
    allowed = problem.epsilon * (1 + FEASIBILITY)
    return lower_bound_on_norm(problem, num_steps=200, at_least=allowed) > allowed


def _attach_bound(problem: Problem, run: Run, candidate: Candidate) -> None:
    if problem.form == "min_norm":
        if run.mask is not None:
            run.tighten_bound(min(_least_norm(problem, run, candidate), run.norm))
    elif problem.normalization == "full":
        run.tighten_bound(candidate.bound)
        if candidate.dual is not None:
            run.tighten_bound(evaluate_dual(problem, candidate.dual).bound)
        if candidate.is_optimal:
            run.tighten_bound(float(run.size))
        if run.solve_relaxation() is not None and run.remaining > 0:
            run.strengthen_bound()
    elif candidate.is_optimal:
        run.tighten_bound(float(run.size))


def _least_norm(problem: Problem, run: Run, candidate: Candidate) -> float:
    """Proven lower bound on the norm at the size asked for; 0 holds always."""
    if candidate.is_optimal:
        return run.norm
    known = max(0.0, candidate.bound or 0.0)
    relaxed = uniform_norm(problem)
    if relaxed is not None and relaxed <= _HOPELESS * run.norm:
        return known
    for u in (candidate.dual, run.total):
        # Time for these passes was set aside.
        if u is not None and (run.remaining > 0 or can_bound_norm(problem)):
            known = max(known, norm_along(problem, u))
    if run.remaining <= 0 or known >= _ENOUGH * run.norm:
        return known
    return max(known, lower_bound_on_norm(problem, num_steps=5))

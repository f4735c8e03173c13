"""Both ends of a solve: answers that need no search, and the verified solution after one."""

from __future__ import annotations

import warnings

import numpy as np

from subsetsel.bounds.dual import (
    can_bound_norm,
    evaluate_dual,
    lower_bound_on_norm,
    norm_along,
    uniform_norm,
)
from subsetsel.engine.registry import SolverSpec
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import DegenerateProblemWarning, SolverError
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.problem.progress import Limit, Status
from subsetsel.problem.solution import Solution
from subsetsel.rows.base import BoolArray

# A relaxed point with this share of the norm found leaves no bound worth the passes over S.
_HOPELESS = 1e-2
# A bound that near needs no more steps.
_ENOUGH = 0.9


def without_search(problem: Problem) -> tuple[BoolArray | None, str]:
    """Answers that need no search: nothing to choose, or everything can go."""
    forced = int(problem.must_prune.sum())
    most = problem.n - int(problem.must_keep.sum())
    if problem.size is not None:
        if problem.size == forced:
            return problem.must_prune.copy(), ""
        if problem.size == most:
            return ~problem.must_keep, ""
        return None, ""
    if problem.normalization == "kept" or problem.max_size < most:
        return None, ""
    everything = ~problem.must_keep
    if not problem.is_feasible(everything):
        return None, ""
    total = problem.norm(everything)
    message = (
        f"degenerate: all {most} examples that may be pruned together have the norm {total:.6g} "
        f"<= epsilon = {problem.epsilon:.6g}, so the constraint says nothing. Use "
        "normalization='kept', set max_size or group_limits, or take epsilon well below "
        f"{total:.6g}."
    )
    warnings.warn(message, DegenerateProblemWarning, stacklevel=5)
    return everything, message


def smallest_rows(problem: Problem) -> BoolArray:
    """As many of the smallest rows as the triangle inequality lets go together: costs a sort.

    Parameters
    ----------
    problem : Problem
        Where it is not of the form "max_size" with normalization "full" and without linear
        constraints, this is no more than ``must_prune``.

    Returns
    -------
    ndarray of shape (n,), bool
        Feasible where ``must_prune`` is: ||W^T S|| <= sum of the norms of what is pruned.
    """
    mask = problem.must_prune.copy()
    if problem.epsilon is None or problem.normalization == "kept" or len(problem.constraints):
        return mask
    order = np.argsort(np.where(problem.free, problem.rows.squared_norms, np.inf), kind="stable")
    order = order[: min(int(problem.free.sum()), problem.max_size - int(mask.sum()))]
    room = problem.epsilon - (problem.norm(mask) if mask.any() else 0.0)
    lengths = np.cumsum(np.sqrt(problem.rows.squared_norms[order]))
    # A hair less, for the rounding of the sum.
    mask[order[lengths <= room * (1 - 1e-9)]] = True
    return mask


def conclude(
    problem: Problem,
    spec: SolverSpec,
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
            raise SolverError(f"solver {spec.name!r} returned a subset in which {broken[0]}.")
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
        solver=spec.name,
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
        if run.relaxation is not None:
            run.tighten_bound(run.relaxation.bound)
            if run.remaining > 0:
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

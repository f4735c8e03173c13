"""After a search: everything recomputed in float64, the bound attached, the answer named."""

from __future__ import annotations

import numpy as np

from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import SolverError
from subsetsel.problem.problem import Problem
from subsetsel.problem.progress import Status
from subsetsel.problem.size_range import why_no_size
from subsetsel.problem.solution import Solution

_INFEASIBLE = "proved: no subset satisfies the constraints; raise epsilon or loosen the limits"
_UNKNOWN = "no feasible subset was found and none was excluded; give more time or another solver"


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
    try:
        if limit != "interrupted":
            is_infeasible |= _prove(run, candidate)
    except KeyboardInterrupt:
        limit = "interrupted"
    status: Status
    if run.mask is None:
        mask, norm = np.zeros(problem.n, dtype=np.bool_), 0.0
        status = "infeasible" if is_infeasible else "unknown"
        named = why_no_size(problem, run.clock) if is_infeasible else ""
        message = message or named or (_INFEASIBLE if is_infeasible else _UNKNOWN)
    else:
        mask = run.mask
        norm, broken = problem.assess(mask)
        if broken:
            raise SolverError(f"solver {solver!r} returned a subset in which {broken[0]}.")
        run.norm = norm
        status = (
            "optimal"
            if candidate.is_optimal or run.proof.is_reached(run.size, norm)
            else "feasible"
        )
    return Solution(
        mask=mask,
        norm=norm,
        status=status,
        limit=limit if status != "optimal" else None,
        bound=run.bound if run.limits.bound and status != "infeasible" else None,
        epsilon=problem.epsilon,
        target_size=problem.size,
        normalization=problem.normalization,
        solver=solver,
        seed=int(run.limits.seed),
        num_iterations=run.num_iterations,
        solve_time=run.elapsed,
        compile_time=compile_time,
        message=message or candidate.message,
        trace=tuple(run.trace),
        stats={**problem.rows.choices(), **candidate.stats, **problem.weight_kept(mask)},
    )


def _prove(run: Run, candidate: Candidate) -> bool:
    """Attach the bound that is wanted, and say whether every subset was excluded."""
    if run.mask is not None and run.total is not None:
        if run.limits.bound:
            run.proof.conclude(candidate, run.size, run.norm, run.total)
        return False
    is_infeasible = candidate.is_infeasible or run.proof.excludes_all()
    if run.limits.bound:
        run.proof.conclude_without_subset(candidate)
    return is_infeasible

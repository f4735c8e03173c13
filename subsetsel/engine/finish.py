"""After a search: everything recomputed in float64, the bound attached, the answer named."""

from __future__ import annotations

import numpy as np

from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.errors import SolverError
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.problem.progress import Status
from subsetsel.problem.size_range import why_no_size
from subsetsel.problem.solution import Solution

_INFEASIBLE = "proved: no subset satisfies the constraints; raise epsilon or loosen the limits"
_WITHIN = (
    "{what}: proved by the floating-point arithmetic of solver {solver!r}, within a tolerance of "
    "{tolerance:g} of the norm; {check}"
)
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
    is_excluded = False
    try:
        if limit != "interrupted":
            is_excluded = _prove(run, candidate)
    except KeyboardInterrupt:
        limit = "interrupted"
    status: Status
    if run.mask is None:
        mask, norm, is_proved = np.zeros(problem.n, dtype=np.bool_), 0.0, is_excluded
        status = "infeasible" if is_excluded or candidate.is_infeasible else "unknown"
        named = why_no_size(problem, run.clock) if is_excluded else ""
        message = message or named or (_INFEASIBLE if is_excluded else _UNKNOWN)
    else:
        mask = run.mask
        norm, broken = problem.assess(mask)
        if broken:
            raise SolverError(f"solver {solver!r} returned a subset in which {broken[0]}.")
        run.norm = norm
        if run.limits.bound:
            _require_consistent(run, candidate, solver)
        is_proved = run.proof.is_reached(run.size, norm)
        status = "optimal" if candidate.is_optimal or is_proved else "feasible"
    if candidate.tolerance and not is_proved and status in {"optimal", "infeasible"}:
        message = _within(run, solver, candidate, status)
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
        stats={**problem.rows.choices(), **candidate.stats, **problem.about(mask)},
    )


def _prove(run: Run, candidate: Candidate) -> bool:
    """Attach the bound that is wanted, and say whether every subset was surely excluded."""
    if run.mask is not None and run.total is not None:
        if run.limits.bound:
            run.proof.conclude(candidate, run.size, run.norm, run.total)
        return False
    is_sure = candidate.is_infeasible and not candidate.tolerance
    is_excluded = is_sure or run.proof.excludes_all()
    if run.limits.bound:
        run.proof.conclude_without_subset(candidate)
    return is_excluded


def _require_consistent(run: Run, candidate: Candidate, solver: str) -> None:
    """Refuse a bound that the subset found contradicts: then one of the two is wrong."""
    is_sizing = run.problem.form == "max_size"
    for bound in (run.bound, None if candidate.tolerance else candidate.bound):
        # The norm of Eq. 4 may be rounded.
        if bound is None or (
            np.floor(bound) >= run.size if is_sizing else bound <= run.norm * (1 + FEASIBILITY)
        ):
            continue
        _refuse(run, bound, solver)


def _refuse(run: Run, bound: float, solver: str) -> None:
    """Name a bound that does not hold, and what to do."""
    is_sizing = run.problem.form == "max_size"
    found = f"pruned {run.size}" if is_sizing else f"the norm {run.norm:.9g}"
    raise SolverError(
        f"a bound of {bound:.9g} is claimed, but solver {solver!r} found a feasible subset with "
        f"{found}; a bound that a solver of your own hands over (Candidate.bound) must hold for "
        "every feasible subset. Leave it None, or solve with bound=False."
    )


def _within(run: Run, solver: str, candidate: Candidate, status: Status) -> str:
    """Say within what tolerance a solver has proved what it claims."""
    check = "no bound checks it."
    if run.bound is not None and run.limits.bound and status == "optimal":
        check = f"the bound that is proved in float64 is {run.bound:.6g}."
    return _WITHIN.format(what=status, solver=solver, tolerance=candidate.tolerance, check=check)

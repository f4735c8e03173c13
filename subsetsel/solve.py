"""`solve` and `path`: validate, dispatch, verify in float64, attach the bound."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.bounds import evaluate_dual, lower_bound_on_norm
from subsetsel.bridge import pick_engine
from subsetsel.candidate import Candidate
from subsetsel.errors import DegenerateProblemWarning, OptionError, ProblemError, SolverError
from subsetsel.polytope import find_mask
from subsetsel.problem import FEASIBILITY, Normalization, Problem
from subsetsel.registry import SolverSpec, get_spec
from subsetsel.rows.base import BoolArray
from subsetsel.run import Callback, Limits, Run
from subsetsel.solution import Limit, Solution, Status


def solve(
    problem: Any,
    *,
    solver: str = "anneal",
    epsilon: float | None = None,
    size: int | None = None,
    fraction: float | None = None,
    num_kept: int | None = None,
    normalization: Normalization | None = None,
    max_size: int | None = None,
    groups: ArrayLike | None = None,
    group_limits: Mapping[Any, tuple[int | None, int | None]] | None = None,
    must_prune: ArrayLike | None = None,
    must_keep: ArrayLike | None = None,
    constraints: Sequence[Any] | None = None,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    target: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    initial_guess: Any = None,
    callback: Callback | None = None,
    num_workers: int = 1,
    progress: Callback | None = None,
    bound: bool = True,
    trace: bool = False,
    **options: Any,
) -> Solution:
    """Find which examples can be left out together.

    Parameters
    ----------
    problem : Problem or array_like of shape (n, d)
        A bare influence matrix takes the arguments of `Problem` here (``epsilon`` to
        ``constraints``); a `Problem` has its own.
    solver : str
        A name of `available_solvers`.
    time_limit : float, optional
        Seconds, a cut-off. Without any limit a solver stops by its own work budget.
    max_iterations : int, optional
        In the solver's own unit.
    target : float, optional
        Stop at this size (Eq. 3) or this norm (Eq. 4).
    gap : float
        Stop once the proven relative gap is at most this (Eq. 3 with normalization "full").
    seed : int
        The same seed, budget, number of workers and machine give the same subset, unless the
        clock cuts off.
    initial_guess : Solution or Boolean mask, optional
    callback : callable, optional
        Called with a `Progress`; returning True stops.
    num_workers : int
        Threads.
    progress : callable, optional
        Called like ``callback``, but its return value is ignored; for displays.
    bound : bool
        Compute a proven bound.
    trace : bool
        Keep every improvement in ``Solution.trace``.
    **options
        The solver's own; an unknown one is an error that names the closest.

    Returns
    -------
    Solution
        Also after a time limit or Ctrl-C: the best subset found so far.

    Raises
    ------
    ProblemError
        For bad data or a bad question.
    OptionError
        For a bad option, or a demand the solver does not honour.

    See Also
    --------
    path : a whole trade-off curve.
    subsetsel.prune : the largest subset verified by exact refit.

    Examples
    --------
    >>> import numpy as np, subsetsel
    >>> S = np.random.default_rng(0).normal(size=(200, 5)) + 0.3
    >>> subsetsel.solve(S, epsilon=10.0).status in {"optimal", "feasible"}
    True
    """
    question: dict[str, Any] = {
        "epsilon": epsilon,
        "size": size,
        "fraction": fraction,
        "num_kept": num_kept,
        "normalization": normalization,
        "max_size": max_size,
        "groups": groups,
        "group_limits": group_limits,
        "must_prune": must_prune,
        "must_keep": must_keep,
        "constraints": constraints,
    }
    if "rel_epsilon" in options:
        question["rel_epsilon"] = options.pop("rel_epsilon")
    problem = _as_problem(problem, {k: v for k, v in question.items() if v is not None})
    limits = Limits(
        time_limit,
        max_iterations,
        target,
        gap,
        seed,
        initial_guess,
        callback,
        num_workers,
        progress,
        bound,
        trace,
    )
    return _solve(problem, get_spec(solver), limits, options)


def path(
    problem: Any,
    *,
    sizes: Sequence[int] | None = None,
    epsilons: Sequence[float] | None = None,
    solver: str = "anneal",
    **options: Any,
) -> Iterator[Solution]:
    """Solve along a trade-off curve, each point started from the one before.

    Parameters
    ----------
    problem : Problem or array_like of shape (n, d)
        Its own goal is replaced by each of the values.
    sizes, epsilons : sequence
        Exactly one of the two.
    solver : str
    **options
        As in `solve`.

    Returns
    -------
    iterator of Solution
        One for each value, in the order given.

    Raises
    ------
    OptionError
        Unless exactly one of ``sizes`` and ``epsilons`` is given, with at least one value.
    """
    if (sizes is None) == (epsilons is None):
        raise OptionError("path needs exactly one of sizes and epsilons.")
    key, values = ("size", sizes) if sizes is not None else ("epsilon", epsilons)
    points = list(values or [])
    if not points:
        raise OptionError(f"{key}s is empty; give at least one value.")
    if not isinstance(problem, Problem):
        own: dict[str, Any] = {k: options.pop(k) for k in _PROBLEM_ARGUMENTS if k in options}
        own[key] = points[0]
        problem = Problem(problem, **own)
    return _walk_path([problem.replace(**{key: value}) for value in points], solver, options)


def _walk_path(
    problems: Sequence[Problem], solver: str, options: dict[str, Any]
) -> Iterator[Solution]:
    previous = options.pop("initial_guess", None)
    for problem in problems:
        solution = solve(problem, solver=solver, initial_guess=previous, **options)
        if solution.is_feasible:
            previous = solution
        yield solution


_PROBLEM_ARGUMENTS = (
    "normalization",
    "max_size",
    "groups",
    "group_limits",
    "must_prune",
    "must_keep",
    "constraints",
)


def _as_problem(given: Any, question: dict[str, Any]) -> Problem:
    if not isinstance(given, Problem):
        return Problem(given, **question)
    if question:
        raise ProblemError(
            f"{' and '.join(question)} cannot be given beside a Problem, which has its own; "
            f"use problem.replace(...) or build it with {'them' if len(question) > 1 else 'it'}."
        )
    return given


_warmed: set[str] = set()


def _warm_up(spec: SolverSpec, solver: Any) -> None:
    """Compile once per process what a solver compiles on first use."""
    if spec.target not in _warmed:
        solver.warm_up()
        _warmed.add(spec.target)


def _solve(
    problem: Problem, spec: SolverSpec, limits: Limits, given: Mapping[str, Any]
) -> Solution:
    started = time.perf_counter()
    solver = spec.load()
    options = spec.options(solver, given)
    _require_support(problem, spec)
    _warm_up(spec, solver)
    compile_time = time.perf_counter() - started

    run = Run(problem, limits)
    guess = run.initial_mask()
    candidate = Candidate()
    message = ""
    try:
        if guess is not None:
            # Whatever a solver does with it, the answer is never worse than a feasible guess.
            run.submit(guess)
        mask, message = _without_search(problem)
        if mask is not None:
            run.submit(mask)
            candidate = Candidate(is_optimal=run.mask is not None)
        if not candidate.is_optimal:
            if problem.form == "max_size" and run.mask is None:
                # The smallest subset there is, so that a search that ends early has an answer.
                run.submit(problem.must_prune)
            if limits.bound and run.relaxation is not None:
                run.tighten_bound(run.relaxation.bound)
            candidate = pick_engine(problem, spec, solver, options)(problem, run)
    except KeyboardInterrupt:
        run.limit = "interrupted"
    return _conclude(problem, spec, run, candidate, compile_time, message)


def _require_support(problem: Problem, spec: SolverSpec) -> None:
    """Refuse by name, before anything starts, what a solver does not honour."""
    asked = {
        "constraints": len(problem.constraints) > 0,
        "fixed": not bool(problem.free.all()),
        "max_size": problem.is_capped,
    }
    words = {
        "constraints": "linear constraints or group limits",
        "fixed": "must_prune or must_keep",
        "max_size": "max_size",
    }
    for name, is_asked in asked.items():
        if is_asked and name not in spec.supports:
            raise OptionError(
                f"solver {spec.name!r} does not honour {words[name]}; choose another solver."
            )


def _without_search(problem: Problem) -> tuple[BoolArray | None, str]:
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
    warnings.warn(message, DegenerateProblemWarning, stacklevel=4)
    return everything, message


def _conclude(
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
        limit=_as_limit(limit) if status != "optimal" else None,
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


def _as_limit(limit: str | None) -> Limit | None:
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
            own = (
                run.norm
                if candidate.is_optimal
                else lower_bound_on_norm(problem, num_steps=5, at_least=0.0)
            )
            run.tighten_bound(max(0.0, min(own, run.norm)))
    elif problem.normalization == "full":
        run.tighten_bound(candidate.bound)
        if candidate.dual is not None:
            run.tighten_bound(evaluate_dual(problem, candidate.dual).bound)
        if candidate.is_optimal:
            run.tighten_bound(float(run.size))
        if run.relaxation is not None:
            run.tighten_bound(run.relaxation.bound)
    elif candidate.is_optimal:
        run.tighten_bound(float(run.size))

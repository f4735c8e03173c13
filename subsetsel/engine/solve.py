"""`solve` and `path`: validate, dispatch, verify in float64, attach the bound."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike

from subsetsel.engine.finish import conclude
from subsetsel.engine.journal import opened_journal
from subsetsel.engine.method import Method
from subsetsel.engine.options import Callback, Limits
from subsetsel.engine.other_form import Engine, pick_engine
from subsetsel.engine.refitted import refitted_engine
from subsetsel.engine.registry import SolverSpec, get_spec
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.sharded import Traffic, require_shards, sharded_engine
from subsetsel.engine.start import begin, smallest_rows
from subsetsel.engine.warm_up import warm_up_bound
from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.arguments import GroupLimits, Normalization, Question
from subsetsel.problem.linear import load_linear
from subsetsel.problem.problem import Problem
from subsetsel.problem.solution import Solution
from subsetsel.support.clock import TimeIsUp
from subsetsel.support.memory import needs_memory
from subsetsel.support.threads import one_blas_thread

# Memory of a search, S included, as measured by bench/resources.py.
_SHARE_OF_S = 1.3


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
    group_limits: GroupLimits | None = None,
    must_prune: ArrayLike | None = None,
    must_keep: ArrayLike | None = None,
    constraints: Sequence[Any] | None = None,
    offset: ArrayLike | None = None,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    target: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    initial_guess: Any = None,
    callback: Callback | None = None,
    num_workers: int = 1,
    progress: Callback | None = None,
    bound: bool | Literal["tight"] = True,
    trace: bool = False,
    **options: Any,
) -> Solution:
    """Find which examples can be left out together.

    Parameters
    ----------
    problem : Problem, array_like of shape (n, d), or paths
        A bare influence matrix, or its files, takes the arguments of `Problem` here (``epsilon`` to
        ``offset``); a `Problem` has its own.
    solver : str
        A name of `available_solvers`.
    time_limit : float, optional
        Seconds, a cut-off: it covers the check of S, the search, the bound and the check of the
        answer, but not `Solution.compile_time`. Without any limit a solver stops by its own work
        budget.
    max_iterations : int, optional
        In the solver's own unit.
    target : float, optional
        Stop at this size (Eq. 3) or this norm (Eq. 4; not with ``hessian="kept"``).
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
    bound : bool or "tight"
        Compute a proven bound; ``"tight"`` spends up to a fifth of the time that is left on a
        second one by semidefinite relaxation, which pays where n is a few times d. None is claimed
        with ``hessian="kept"``: each expansion is exact at one set only, so that a bound on what it
        says of others bounds no refit.
    trace : bool
        Keep every improvement in ``Solution.trace``.
    checkpoint : path, optional
        A folder that keeps the steps of the search, where S lies in shards: the same call goes on
        after a kill. A folder of another question is refused.
    **options
        The solver's own; an unknown one is an error that names the closest.

    Returns
    -------
    Solution
        Also after a time limit or Ctrl-C: the best subset found so far. Of a problem with
        ``hessian="kept"`` it is the best by refit; its ``norm`` is the first-order norm
        `Problem.norm` all the same, and ``stats["rounds"]`` has for each choice the ``change`` by
        refit, what the rows predicted that were searched, and what first order predicts.

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
    started = time.perf_counter()
    question = {
        "epsilon": epsilon,
        **{name: options.pop(name, None) for name in ("rel_epsilon", "engine")},
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
        "offset": offset,
    }
    limits = Limits(
        time_limit=time_limit,
        max_iterations=max_iterations,
        target=target,
        gap=gap,
        seed=seed,
        initial_guess=initial_guess,
        callback=callback,
        num_workers=num_workers,
        progress=progress,
        bound=bound,
        trace=trace,
    )
    problem, checkpoint = _as_problem(problem, question), options.pop("checkpoint", None)
    return _solve(problem, get_spec(solver), limits, options, started, checkpoint)


def path(
    problem: Any,
    *,
    sizes: Iterable[int] | None = None,
    epsilons: Iterable[float] | None = None,
    solver: str = "anneal",
    **options: Any,
) -> Iterator[Solution]:
    """Solve along a trade-off curve, each point started from the one before.

    Parameters
    ----------
    problem : Problem or array_like of shape (n, d)
        Its own goal is replaced by each of the values.
    sizes, epsilons : sequence or array
        Exactly one of the two.
    solver : str
    **options
        As in `solve`; a time limit is that of each point, and a checkpoint has a folder for each.

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
    points = [] if values is None else list(values)
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
    previous, folder = options.pop("initial_guess", None), options.pop("checkpoint", None)
    for number, problem in enumerate(problems):
        if folder is not None:
            options["checkpoint"] = Path(folder) / str(number)
        solution = solve(problem, solver=solver, initial_guess=previous, **options)
        if solution.is_feasible:
            previous = solution
        yield solution


_GOALS = {"epsilon", "rel_epsilon", "size", "fraction", "num_kept"}
_PROBLEM_ARGUMENTS = (Question.__annotations__.keys() - _GOALS) | {"normalization", "engine"}


def _as_problem(given: Any, question: dict[str, Any]) -> Problem:
    question = {name: value for name, value in question.items() if value is not None}
    if not isinstance(given, Problem):
        return Problem(given, **question)
    if question:
        raise ProblemError(
            f"{' and '.join(question)} cannot be given beside a Problem, which has its own; "
            f"use problem.replace(...) or build it with {'them' if len(question) > 1 else 'it'}."
        )
    return given


def _solve(
    problem: Problem,
    spec: SolverSpec,
    limits: Limits,
    given: Mapping[str, Any],
    started: float,
    checkpoint: str | PathLike[str] | None,
) -> Solution:
    """Solve a checked problem; loading and compiling apart, the time runs since ``started``."""
    if limits.initial_guess is not None:
        problem.check_mask(limits.initial_guess, "initial_guess")
    require_shards(problem, limits, checkpoint)
    before, traffic = time.perf_counter(), Traffic(problem.rows.shards)
    engine, limits = _load(problem, spec, limits, given)
    compile_time = time.perf_counter() - before

    with (
        opened_journal(checkpoint, problem, limits, spec.name, sorted(given.items())) as journal,
        one_blas_thread(),
        needs_memory(
            f"solving S of {problem.n:,} x {problem.d:,} with {spec.name!r}",
            # An expansion is a second S.
            lambda: int((_SHARE_OF_S + (problem.hessian == "kept")) * problem.rows.nbytes),
            "A memory map (numpy.load(path, mmap_mode='r')), float32, fewer columns or "
            "solver='anneal' take less.",
        ),
    ):
        run = Run(problem, limits)
        run.start_time = started + compile_time
        run.journal = run.proof.steps = journal
        candidate, message = _search(problem, engine, run)
        solution = conclude(problem, spec.name, run, candidate, compile_time, message)
        solution.stats.update(traffic.record())
        return solution


def _load(
    problem: Problem, spec: SolverSpec, limits: Limits, given: Mapping[str, Any]
) -> tuple[Engine, Limits]:
    """Load and compile what solves a problem; give its limits, too."""
    if problem.hessian == "kept":
        if limits.target is not None:
            raise OptionError(
                f"target = {limits.target:g} is a first-order norm, and hessian='kept' minimizes "
                "the change by refit; leave target out, or use hessian='all'."
            )
        # As with hessian="all" first: the answer is no worse by refit.
        method = Method.of(spec, given, ({}, *spec.starts))
        require_support(problem, spec)
        engine = refitted_engine(method.engines(problem))
        limits = replace(limits, bound=False)
    else:
        solver = spec.load()
        options = spec.options(solver, given)
        require_support(problem, spec)
        solver.warm_up(problem, options)
        warm_up_bound(problem, is_tight=limits.bound == "tight")
        if problem.rows.shards is None:
            engine = pick_engine(problem, spec, solver, options)
        else:
            engine = sharded_engine(
                lambda sub, run: pick_engine(sub, spec, solver, options)(sub, run)
            )
    load_linear(problem)
    return engine, limits


def _search(problem: Problem, engine: Engine, run: Run) -> tuple[Candidate, str]:
    candidate, message = None, ""
    try:
        candidate, message = begin(problem, run)
        if candidate is None:
            candidate = engine(problem, run)
            if not problem.rows.is_exact:
                # Whatever a solver concludes from norms is about other rows than those of `sum`.
                candidate = candidate.without_proofs()
    except KeyboardInterrupt:
        run.limit = "interrupted"
    except TimeIsUp:
        run.limit = "time"
    is_cut_off = run.limit in {"interrupted", "time"} and run.mask is not None
    if is_cut_off and problem.form == "max_size":
        # A search that was stopped in its first second may have found less than one sort gives.
        with suppress(KeyboardInterrupt):
            run.submit(smallest_rows(problem))
    return candidate or Candidate(), message


def require_support(problem: Problem, spec: SolverSpec) -> None:
    """Refuse by name, before anything starts, what a solver does not honour."""
    for name, words, is_asked in (
        ("constraints", "linear constraints or group limits", len(problem.constraints) > 0),
        ("fixed", "must_prune or must_keep", not problem.free.all()),
        ("max_size", "max_size", problem.is_capped),
        ("offset", "an offset", problem.offset is not None),
    ):
        if is_asked and name not in spec.supports:
            raise OptionError(
                f"solver {spec.name!r} does not honour {words}; choose another solver."
            )
    if problem.offset is not None and problem.rows.proxy is not problem.rows:
        raise OptionError(
            "rows that cost an iterative solve each are searched on an approximation in other "
            "coordinates, to which no offset can be added; use inverse='cholesky' or "
            "storage='dense', or leave offset out."
        )

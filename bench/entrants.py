"""Who takes part: every solver of the package, the annealing of the paper, and the peers."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

import numpy as np
from check import Question
from entrant import Budget, Claim, Entrant
from instances import Instance
from peers import PEERS

import subsetsel
from subsetsel.engine.registry import registered_solvers


def solve_with(
    instance: Instance, budget: Budget, *, solver: str, options: dict[str, Any] | None = None
) -> Claim:
    """Run a solver of the package, with options of its own."""
    started = time.perf_counter()
    problem = as_problem(instance.question)
    build_time = time.perf_counter() - started
    solution = subsetsel.solve(
        problem,
        solver=solver,
        time_limit=budget.time_limit,
        seed=budget.seed,
        num_workers=budget.num_workers,
        bound="tight" if budget.is_bound_tight else True,
        trace=True,
        **(options or {}),
    )
    is_max = instance.question.form == "max_size"
    trace = [
        (record.time, float(record.size if is_max else record.norm))
        for record in solution.trace
        if record.size is not None and record.norm is not None
    ]
    return Claim(
        solution.mask if solution.is_feasible else None,
        solution.norm if solution.is_feasible else None,
        solution.bound,
        solution.status,
        trace=trace,
        setup_time=build_time + solution.compile_time,
        num_iterations=solution.num_iterations,
        is_interrupted=solution.limit == "interrupted",
        note=solution.message,
    )


def as_problem(question: Question) -> subsetsel.Problem:
    """State the question in the package's terms."""
    limits: Any = question.group_limits
    return subsetsel.Problem(
        question.S,
        epsilon=question.epsilon,
        size=question.size,
        normalization="kept" if question.normalization == "kept" else "full",
        groups=question.groups,
        group_limits=limits,
    )


def warm_up(entrant: Entrant) -> float:
    """Let an entrant load and compile what it needs, off the clock; the answer is in seconds."""
    started = time.perf_counter()
    S = np.random.default_rng(0).standard_normal((30, 3), dtype=np.float32)
    total = float(np.linalg.norm(S.sum(axis=0, dtype=np.float64)))
    groups = np.arange(len(S)) % 2
    for question in (
        Question(S, epsilon=0.3 * total),
        Question(S, size=10),
        Question(S, epsilon=0.3 * total, normalization="kept"),
        Question(S, size=10, groups=groups, group_limits={0: (5, 5), 1: (5, 5)}),
    ):
        instance = Instance("warm-up", question, digest="", total_norm=total, random_norm=1.0)
        if not entrant.refuses(instance):
            # What a solver refuses or fails at is reported where it counts, not here.
            with contextlib.suppress(Exception):
                entrant.run(instance, Budget(time_limit=0.5))
    return time.perf_counter() - started


def own_entrants() -> dict[str, Entrant]:
    """List every registered solver, and the annealing of the paper as a named variant."""
    found = {
        name: Entrant(
            name,
            spec.summary,
            partial(solve_with, solver=name),
            spec.requires,
            is_seeded=name not in {"greedy", "relax"},
        )
        for name, spec in registered_solvers().items()
    }
    found["anneal-plain"] = Entrant(
        "anneal-plain",
        "annealing as in the paper: from a random subset, plain proposals",
        partial(
            solve_with,
            solver="anneal",
            options={"start": "random", "proposals": "plain"},
        ),
    )
    return found


def all_entrants() -> dict[str, Entrant]:
    """List everybody: the package's solvers first, then the peers."""
    return {**own_entrants(), **PEERS}

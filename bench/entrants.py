"""Who takes part: every solver of the package, the paper's own annealing, and the peers.

An entrant gets an instance and a budget and returns a claim. Nothing in a claim is believed before
`check` has seen it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from check import BoolArray, Question
from instances import Instance

import subsetsel
from subsetsel.engine.registry import registered_solvers


@dataclass(frozen=True)
class Budget:
    """What every entrant is given alike.

    Attributes
    ----------
    time_limit : float
        Seconds.
    seed : int
    num_workers : int
        Threads.
    """

    time_limit: float
    seed: int = 0
    num_workers: int = 1


@dataclass
class Claim:
    """What an entrant says it found.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool, or None
    norm, bound : float or None
    status : {"optimal", "feasible", "infeasible", "unknown"}
    trace : list of (seconds, value)
        Improvements since the start, compilation not counted.
    setup_time : float
        Seconds within the call for loading, compiling and taking S in; off the clock.
    num_iterations : int
    is_interrupted : bool
        Ctrl-C came in between.
    note : str
    """

    mask: BoolArray | None
    norm: float | None = None
    bound: float | None = None
    status: str = "feasible"
    trace: list[tuple[float, float]] = field(default_factory=list)
    setup_time: float = 0.0
    num_iterations: int = 0
    is_interrupted: bool = False
    note: str = ""


@dataclass(frozen=True)
class Entrant:
    """One row of the tables.

    Attributes
    ----------
    name, summary : str
    run : callable
        (instance, budget) -> Claim.
    requires : tuple of str
        Packages that must be importable.
    refuses : callable
        instance -> the reason why it cannot hold it, or "".
    is_seeded : bool
        Whether the seed changes anything; otherwise the first seed is enough.
    """

    name: str
    summary: str
    run: Callable[[Instance, Budget], Claim]
    requires: tuple[str, ...] = ()
    refuses: Callable[[Instance], str] = lambda _: ""
    is_seeded: bool = True

    @property
    def missing(self) -> str:
        """Say which packages are missing; empty if none."""
        absent = [name for name in self.requires if not _is_installed(name)]
        return f"needs {', '.join(absent)}, not installed" if absent else ""


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class Incumbent:
    """The best feasible subset a peer has seen, with its history."""

    def __init__(self, question: Question, budget: Budget) -> None:
        self.question = question
        self.start_time = time.perf_counter()
        self.time_limit = budget.time_limit
        self.mask: BoolArray | None = None
        self.value: float | None = None
        self.trace: list[tuple[float, float]] = []

    @property
    def remaining(self) -> float:
        """Seconds left."""
        return self.time_limit - (time.perf_counter() - self.start_time)

    def submit(self, mask: BoolArray, norm: float) -> bool:
        """Keep a subset if it is feasible and better.

        Returns
        -------
        bool
        """
        size = int(mask.sum())
        if self.question.size not in {None, size} or norm > self.question.radius(size):
            return False
        value = float(size) if self.question.form == "max_size" else norm
        if self.value is not None:
            is_better = (
                value > self.value if self.question.form == "max_size" else value < self.value
            )
            if not is_better:
                return False
        self.mask, self.value = mask.copy(), value
        self.trace.append((time.perf_counter() - self.start_time, value))
        return True

    def claim(self, **more: Any) -> Claim:
        """Hand in what was found.

        Returns
        -------
        Claim
        """
        status = "unknown" if self.mask is None else "feasible"
        return Claim(self.mask, status=status, trace=self.trace, **more)


def solve_with(
    instance: Instance, budget: Budget, *, solver: str, options: dict[str, Any] | None = None
) -> Claim:
    """Run a solver of the package.

    Parameters
    ----------
    instance : Instance
    budget : Budget
    solver : str
    options : dict, optional
        The solver's own.

    Returns
    -------
    Claim
    """
    started = time.perf_counter()
    problem = as_problem(instance.question)
    build_time = time.perf_counter() - started
    solution = subsetsel.solve(
        problem,
        solver=solver,
        time_limit=budget.time_limit,
        seed=budget.seed,
        num_workers=budget.num_workers,
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
        trace,
        build_time + solution.compile_time,
        solution.num_iterations,
        solution.limit == "interrupted",
        solution.message,
    )


def as_problem(question: Question) -> subsetsel.Problem:
    """State the question in the package's terms.

    Returns
    -------
    subsetsel.Problem
    """
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
    """Let an entrant load and compile what it needs, off the clock.

    Parameters
    ----------
    entrant : Entrant

    Returns
    -------
    float
        Seconds it took.
    """
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
        instance = Instance("warm-up", question, "", "", total, 1.0)
        if not entrant.refuses(instance):
            # What a solver refuses or fails at is reported where it counts, not here.
            with contextlib.suppress(Exception):
                entrant.run(instance, Budget(time_limit=0.5))
    return time.perf_counter() - started


def own_entrants() -> dict[str, Entrant]:
    """List every registered solver, and the annealing of the paper as a named variant.

    Returns
    -------
    dict
        name -> Entrant.
    """
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
    """List everybody: the package's solvers first, then the peers.

    Returns
    -------
    dict
        name -> Entrant.
    """
    from peers import PEERS

    return {**own_entrants(), **PEERS}

"""What every entrant of a comparison is given, and what it hands in.

An entrant gets an instance and a budget and returns a claim. Nothing in a claim is believed before
`check` has recomputed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from check import BoolArray, Question
from instances import Instance


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
    is_bound_tight : bool
        Whether the package's solvers spend a part of the time on the semidefinite bound.
    """

    time_limit: float
    seed: int = 0
    num_workers: int = 1
    is_bound_tight: bool = False


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
        """Keep a subset if it is feasible and better."""
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
        """Hand in what was found."""
        status = "unknown" if self.mask is None else "feasible"
        return Claim(self.mask, status=status, trace=self.trace, **more)

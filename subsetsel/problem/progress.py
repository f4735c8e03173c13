"""What a run tells while it lasts, and the words for how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
Limit = Literal["time", "iterations", "gap", "target", "interrupted"]


@dataclass(frozen=True)
class Progress:
    """Where a run stands: handed to callbacks and kept in a trace.

    Attributes
    ----------
    time : float
        Seconds since the start.
    num_iterations : int
    size : int or None
        Pruned in the best feasible subset so far; None before there is one.
    norm : float or None
        Its ||W^T S||_2.
    bound : float or None
        Proven bound, if known by then.
    """

    time: float
    num_iterations: int
    size: int | None
    norm: float | None
    bound: float | None

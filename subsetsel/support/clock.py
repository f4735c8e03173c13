"""A deadline that everything done for one answer shares."""

from __future__ import annotations

import time


class TimeIsUp(Exception):
    """Raised by `Clock.check` after the deadline; whoever set the clock catches it."""


class Clock:
    """A clock with or without a deadline.

    Parameters
    ----------
    limit : float, optional
        Seconds from the start to the deadline.
    spent : float
        Seconds since the start.
    """

    def __init__(self, limit: float | None = None, spent: float = 0.0) -> None:
        self.start_time = time.perf_counter() - spent
        self.deadline = float("inf") if limit is None else self.start_time + limit

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was set."""
        return time.perf_counter() - self.start_time

    @property
    def remaining(self) -> float:
        """Seconds to the deadline, negative after it; inf without one."""
        return self.deadline - time.perf_counter()

    def check(self) -> None:
        """Raise `TimeIsUp` after the deadline: for work that has no answer before it ends."""
        if self.remaining <= 0:
            raise TimeIsUp


NO_CLOCK = Clock()
"""For work that may take as long as it needs."""

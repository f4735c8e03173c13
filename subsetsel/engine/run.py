"""One run of one solver: the clock, the budget, the seed and the best subset so far."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.bounds.dual import can_bound_norm
from subsetsel.engine.journal import Journal
from subsetsel.engine.options import Limits
from subsetsel.engine.proof import Proof
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.problem.progress import Limit, Progress
from subsetsel.rows.base import BoolArray, FloatArray, euclidean
from subsetsel.support.clock import Clock

if TYPE_CHECKING:
    from subsetsel.bounds.relaxation import Relaxation


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The best feasible subset at one moment; its parts belong together.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
        Not to be written to, nor is ``total``.
    total : ndarray of shape (d,), float64
        S^T W of it.
    size : int
    norm : float
    """

    mask: BoolArray
    total: FloatArray
    size: int
    norm: float


class Run:
    """What a solver is handed beside the problem and its own options.

    Parameters
    ----------
    problem : Problem
    limits : Limits
    parent : Run, optional
        Of a bridged or nested search: its clock and interruption hold for this one too.
    effort : float
        Share of the solver's usual work budget to spend, where no limit is given.

    Attributes
    ----------
    problem, limits, effort
    mask : ndarray of shape (n,), bool, or None
        The best feasible subset so far. While other threads submit, read it and what belongs to it
        by `best`, since one attribute after the other may be of two subsets.
    size, norm
        Of that subset; the norm is kept in float64.
    total : ndarray of shape (d,), float64, or None
        S^T W of that subset.
    num_iterations : int
    trace : list of Progress
    journal : Journal
        Where a search over shards keeps its steps; that of the parent, if there is one.
    """

    def __init__(
        self,
        problem: Problem,
        limits: Limits,
        parent: Run | None = None,
        effort: float = 1.0,
    ) -> None:
        self.problem = problem
        self.limits = limits
        self.parent = parent
        self.effort = effort
        self.journal: Journal = Journal(None) if parent is None else parent.journal
        self.start_time = time.perf_counter()
        # Bound on the rounding error of a sum that is updated instead of computed anew.
        spread = float(np.sqrt(problem.rows.squared_norms).sum())
        spread += 0.0 if problem.offset is None else euclidean(problem.offset)
        self._rounding = 64 * float(np.finfo(np.float64).eps) * spread
        # Passes over S after the search: it recomputes the answer and may bound the norm.
        is_bounded = limits.time_limit is not None and limits.bound and can_bound_norm(problem)
        self._closing_passes = 3.5 if is_bounded else 1.5
        self.mask: BoolArray | None = None
        self.size = 0
        self.norm = float("inf")
        self.num_iterations = 0
        self.trace: list[Progress] = []
        self.limit: Limit | None = None
        self.total: FloatArray | None = None
        # Seconds for what comes after this search, such as a refit.
        self.set_aside = 0.0
        self.proof = Proof(problem, lambda: self.remaining, is_tight=limits.bound == "tight")
        self.proof.follow = self._report
        self._last_report = 0.0
        # Chains in threads share the incumbent and the counters.
        self._lock = threading.RLock()

    @classmethod
    def quiet(cls, problem: Problem) -> Run:
        """Make a run without limits, for warming up and for inner searches."""
        return cls(problem, Limits(bound=False))

    # --- clock and budget -----------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start_time

    @property
    def remaining(self) -> float:
        """Seconds left for searching; inf without a time limit."""
        own = float("inf")
        if self.limits.time_limit is not None:
            own = self.limits.time_limit - self.elapsed
            own -= self._closing_passes * self.problem.rows.pass_time + self.set_aside
        return own if self.parent is None else min(own, self.parent.remaining)

    @property
    def clock(self) -> Clock:
        """The end of the search as a deadline, for work that knows no `Run`."""
        return Clock(self.remaining)

    @property
    def fills_time(self) -> bool:
        """Whether to search on while time is left: the user gave a limit for this very search.

        A search within another, such as a probe of a bisection, ends with its usual work; the
        time is its parent's to spend.
        """
        return self.limits.time_limit is not None

    @property
    def iterations_left(self) -> int | None:
        """Iterations left, or None without a limit."""
        if self.limits.max_iterations is None:
            return None
        return max(0, self.limits.max_iterations - self.num_iterations)

    def add_iterations(self, count: int) -> None:
        """Count work that was done, and call back."""
        with self._lock:
            self.num_iterations += count
            self._report()

    def should_stop(self) -> bool:
        """Ask whether to return now; the reason is left in `limit`.

        Returns
        -------
        bool
        """
        if self.limit is None:
            self.limit = self._reason()
        return self.limit is not None or self.is_proved_optimal()

    def _reason(self) -> Limit | None:
        if self.remaining <= 0:
            return "time"
        if self.parent is not None and self.parent.limit is not None:
            return self.parent.limit
        if self.iterations_left == 0:
            return "iterations"
        target, best = self.limits.target, self.best()
        if best is None:
            return None
        if target is not None:
            is_reached = (
                best.size >= target if self.problem.form == "max_size" else best.norm <= target
            )
            if is_reached:
                return "target"
        gap = self.proof.gap(best.size) if self.limits.gap > 0 else None
        if gap is not None and gap <= self.limits.gap:
            return "gap"
        return None

    @property
    def bound(self) -> float | None:
        """The best proven bound so far."""
        return self.proof.bound

    @property
    def gap(self) -> float | None:
        """Proven relative gap of the incumbent; None without a bound on the size."""
        best = self.best()
        return None if best is None else self.proof.gap(best.size)

    def is_proved_optimal(self) -> bool:
        """Whether the incumbent has reached the proven bound."""
        best = self.best()
        return best is not None and self.proof.is_reached(best.size, best.norm)

    # --- randomness -----------------------------------------------------------------------------

    def generator(self, *stream: int) -> np.random.Generator:
        """Random numbers that depend on the seed and on the stream's name alone.

        Returns
        -------
        numpy.random.Generator
        """
        sequence = np.random.SeedSequence(int(self.limits.seed), spawn_key=stream)
        return np.random.Generator(np.random.PCG64(sequence))

    # --- incumbent ------------------------------------------------------------------------------

    def initial_mask(self) -> BoolArray | None:
        """Give the user's starting subset.

        Returns
        -------
        ndarray of shape (n,), bool, or None
        """
        guess = self.limits.initial_guess
        return None if guess is None else self.problem.check_mask(guess, "initial_guess").copy()

    def best(self) -> Incumbent | None:
        """Give the best subset so far with its sum, size and norm, all of one and the same subset.

        Returns
        -------
        Incumbent or None
        """
        with self._lock:
            if self.mask is None or self.total is None:
                return None
            return Incumbent(self.mask, self.total, self.size, self.norm)

    def sum_of(self, mask: BoolArray) -> FloatArray:
        """W^T S in float64; it is updated from the incumbent's sum where few examples differ.

        Returns
        -------
        ndarray of shape (d,)
        """
        rows, best = self.problem.rows, self.best()
        if best is not None:
            differing = np.flatnonzero(mask != best.mask)
            if not differing.size:
                return best.total.copy()
            # Rows that are handed out rounded, or estimated, would add up to another sum.
            is_same = rows.block_error == 0.0 and not rows.sums_cheaply
            if differing.size * 8 < mask.size and is_same:
                signs = np.where(mask[differing], 1.0, -1.0)
                change: FloatArray = signs @ rows.take(differing).astype(np.float64)
                return best.total + change
        return self.problem.sum(mask)

    def submit(self, mask: BoolArray) -> bool:
        """Offer a subset; it is checked in float64 and kept if feasible and better.

        Parameters
        ----------
        mask : ndarray of shape (n,), bool

        Returns
        -------
        bool
            Whether it is the new incumbent.
        """
        # The caller may go on with its mask; a pass over S is made outside the lock.
        mask = mask.copy()
        size = int(np.count_nonzero(mask))
        if not self._is_better(size, 0.0):
            return False
        total = self.sum_of(mask)
        norm = euclidean(total)
        if norm > self.problem.allowed(mask) * (1 + FEASIBILITY) - self._rounding:
            # The updated sum is too inexact to decide this; compute the sum anew.
            total = self.problem.sum(mask)
            norm = euclidean(total)
        if self.problem.violations(mask, norm=norm):
            return False
        with self._lock:
            # Another thread may have found a better one meanwhile.
            if not self._is_better(size, norm):
                return False
            self.mask, self.total, self.size, self.norm = mask, total, size, norm
            self._report(is_new=True)
            return True

    def adopt(self, mask: BoolArray) -> None:
        """Make a feasible subset the incumbent, whatever its norm: something else is minimized.

        Parameters
        ----------
        mask : ndarray of shape (n,), bool
        """
        mask = mask.copy()
        total = self.problem.sum(mask)
        with self._lock:
            self.mask, self.total = mask, total
            self.size, self.norm = int(np.count_nonzero(mask)), euclidean(total)
            self._report(is_new=True)

    def _is_better(self, size: int, norm: float) -> bool:
        """Whether a subset of this size and norm would replace the incumbent."""
        best = self.best()
        if best is None:
            return True
        if self.problem.form == "max_size" and size != best.size:
            return size > best.size
        return norm < best.norm

    def _report(self, *, is_new: bool = False) -> bool:
        now = self.elapsed
        record = Progress(
            now,
            self.num_iterations,
            None if self.mask is None else self.size,
            None if self.mask is None else self.norm,
            self.bound,
        )
        if self.limits.trace and is_new:
            self.trace.append(record)
        if is_new or now - self._last_report > 0.1:
            self._last_report = now
            if self.limits.progress is not None:
                self.limits.progress(record)
            if self.limits.callback is not None:
                answer = self.limits.callback(record)
                if isinstance(answer, (bool, np.bool_)) and answer:
                    self.limit = "interrupted"
        return self.limit is not None

    # --- bound ----------------------------------------------------------------------------------

    def solve_relaxation(self) -> Relaxation | None:
        """Solve the continuous relaxation; later calls give the same one at once.

        The first call spends up to half of the time that is left.

        Returns
        -------
        Relaxation or None
            None unless the problem is Eq. 3 with normalization "full", where alone it says
            something, and S can be read row by row.
        """
        return self.proof.solve_relaxation()

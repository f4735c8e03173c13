"""Local search by best moves: fill, drain and exchange, each by its exact effect on the norm.

Few examples share one Gram matrix. Many are searched in pools: the examples whose own move looks
best by the product S v get a Gram matrix of their own, are moved about, and the next pool is drawn.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from subsetsel.engine.run import Run
from subsetsel.problem.problem import FEASIBILITY, Problem
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

from ._greedy_kernels import Pool, flip_best, swap_best

# Up to here all free examples share one Gram matrix (50 MB in float64).
MAX_SHARED = 2500
_POOL_SIZE = 1024
_POOL_BYTES = 64 * 2**20
# The search ends after so many pools in a row without a better exchange.
_NUM_POOLS = 4
# Pairs compared between two looks at the clock: about 20 ms. No call makes more than _MOST_MOVES.
_PAIRS_PER_CALL, _MOST_MOVES = 2e7, 4096
# Half of the engine's tolerance, so that a norm that rounding puts on the limit counts as inside.
_SLACK = 1 + 0.5 * FEASIBILITY
_NO_BALL = np.array([np.inf, 0.0])


@dataclass
class _Drawn:
    """A pool and where it comes from."""

    items: IndexArray
    rows: AnyFloatArray
    pool: Pool


class LocalSearch:
    """A subset ``mask`` (n,) with its sum ``total`` (d,), improved move by move.

    It respects everything linear; its norm may be anything. A move is one iteration of the run.
    """

    def __init__(self, problem: Problem, run: Run, mask: BoolArray) -> None:
        self.problem = problem
        self.run = run
        radius = np.inf if problem.epsilon is None else problem.epsilon * _SLACK
        is_shrinking = problem.epsilon is not None and problem.normalization == "kept"
        self._ball = np.array([radius, radius / problem.n if is_shrinking else 0.0])
        self._free = np.flatnonzero(problem.free)
        self._draw_time = 0.0
        self.restart(mask)
        self._shared = self._draw(self._free) if len(self._free) <= MAX_SHARED else None

    # --- state ----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many are pruned."""
        return int(np.count_nonzero(self.mask))

    @property
    def squared(self) -> float:
        """Squared norm of W^T S."""
        return float(self.total @ self.total)

    @property
    def is_inside(self) -> bool:
        """Whether the norm is within what is allowed at this size."""
        return self.squared <= (self.problem.radius(self.size) * _SLACK) ** 2

    @property
    def is_over(self) -> bool:
        """Whether to return now; a new pool is not begun when the clock would cut it off."""
        if self.run.remaining <= self._draw_time and self.run.limit is None:
            self.run.limit = "time"
        return self.run.should_stop()

    def restart(self, mask: BoolArray) -> None:
        """Continue from another subset that respects everything linear."""
        self.mask = mask.copy()
        self.total = self.problem.sum(self.mask)

    def _state(self) -> FloatArray:
        return np.array([self.squared, self.size, self.squared, 0.0, 0.0])

    def _take_over(self, drawn: _Drawn, chosen: BoolArray) -> None:
        """Make the moves that were found in a pool, and submit the subset if it is an answer."""
        changed = np.flatnonzero(chosen != self.mask[drawn.items])
        if changed.size:
            signs = np.where(chosen[changed], 1.0, -1.0)
            self.total = self.total + signs @ drawn.rows[changed].astype(np.float64)
            self.mask[drawn.items[changed]] = chosen[changed]
        size = self.problem.size
        if self.is_inside if size is None else self.size == size:
            self.run.submit(self.mask)

    # --- pools ----------------------------------------------------------------------------------

    def _draw(self, items: IndexArray) -> _Drawn:
        rows = self.problem.rows.take(items)
        columns = self.problem.constraints.columns(self.mask, items, slack=1.0)
        pool = Pool(rows @ rows.T, self.problem.rows.squared_norms[items], columns)
        return _Drawn(items, rows, pool)

    def _gains(self, drawn: _Drawn) -> FloatArray:
        gains: FloatArray = drawn.rows.astype(np.float64, copy=False) @ self.total
        return gains

    def _pool(self, num_entering: int, num_leaving: int, skip: int = 0) -> _Drawn:
        """Gather the examples whose own move leaves the smallest norm."""
        if self._shared is not None:
            activity = self.problem.constraints.activity(self.mask)
            columns = self._shared.pool.columns._replace(activity=activity)
            pool = self._shared.pool._replace(columns=columns)
            return _Drawn(self._shared.items, self._shared.rows, pool)
        started = time.perf_counter()
        products = self.problem.rows.dot(self.total)
        squared_norms = self.problem.rows.squared_norms
        chosen = []
        for enters, wanted in ((True, num_entering), (False, num_leaving)):
            items = self._free[self.mask[self._free] != enters]
            if enters:
                items = items[self._fits(items)]
            sign = 1.0 if enters else -1.0
            cost = 2.0 * sign * products[items] + squared_norms[items]
            last = min(len(items), skip + wanted)
            if last < len(items):
                near = np.argpartition(cost, last)[:last]
                items, cost = items[near], cost[near]
            order = np.lexsort((items, cost))
            chosen.append(items[order[max(0, last - wanted) :]])
        drawn = self._draw(np.sort(np.concatenate(chosen)))
        self._draw_time = time.perf_counter() - started
        return drawn

    def _fits(self, items: IndexArray) -> BoolArray:
        """Whether each example can be pruned within the upper limits; all, if none can."""
        constraints = self.problem.constraints
        if not len(constraints):
            return np.ones(len(items), dtype=np.bool_)
        room = constraints.upper + constraints.slack - constraints.activity(self.mask)
        matrix = constraints.matrix
        is_over = np.repeat(np.arange(self.problem.n), np.diff(matrix.indptr))[
            matrix.data > room[matrix.indices]
        ]
        fits = np.isin(items, is_over, invert=True)
        return fits if fits.any() else ~fits

    def _pool_size(self) -> int:
        row_bytes = 8 * max(1, self.problem.d)
        return int(min(_POOL_SIZE, max(64, _POOL_BYTES // row_bytes)))

    # --- moves ----------------------------------------------------------------------------------

    def fill(self, until: int) -> int:
        """Prune the example that leaves the smallest norm, up to a size; count the moves.

        Pruning stops before the norm exceeds what is allowed, too.
        """
        return self._flip(True, until, self._ball)

    def force(self, count: int = 1) -> int:
        """Prune as `fill` does, whatever the norm becomes."""
        return self._flip(True, self.size + count, _NO_BALL)

    def drain(self, until: int) -> int:
        """Keep the example that leaves the smallest norm, down to a size; count the moves."""
        return self._flip(False, until, self._ball)

    def _flip(self, enters: bool, until: int, ball: FloatArray) -> int:
        num_moves = 0
        while not self.is_over:
            wanted = until - self.size if enters else self.size - until
            if wanted <= 0:
                break
            most = self._pool_size()
            drawn = self._pool(most if enters else 0, 0 if enters else most)
            if self._shared is None:
                wanted = min(wanted, max(1, len(drawn.items) // 4))
            wanted = min(wanted, _MOST_MOVES, self._moves_left())
            chosen, gains = self.mask[drawn.items], self._gains(drawn)
            made = flip_best(drawn.pool, chosen, gains, self._state(), ball, enters, wanted)
            self._take_over(drawn, chosen)
            self.run.add_iterations(made)
            num_moves += made
            if made < wanted:
                break
        return num_moves

    def exchange(self, goal: float = 0.0, patience: int = 0) -> bool:
        """Exchange pruned for kept examples until the norm is at most ``goal``; whether it is.

        The search ends after ``patience`` exchanges without a new smallest norm, during which the
        examples just moved stay where they are.
        """
        num_failed = 0
        half = self._pool_size() // 2
        while self.squared > goal**2 and not self.is_over:
            before = self.squared
            drawn = self._pool(half, half, skip=num_failed * half)
            self._exchange_within(drawn, goal**2, patience)
            if self._shared is not None:
                break
            num_failed = num_failed + 1 if self.squared > before * (1 - 1e-6) else 0
            if num_failed == _NUM_POOLS:
                break
        return self.squared <= goal**2

    def _exchange_within(self, drawn: _Drawn, goal: float, patience: int) -> None:
        chosen, gains, state = self.mask[drawn.items], self._gains(drawn), self._state()
        best, tabu = chosen.copy(), np.zeros(len(chosen), dtype=np.int64)
        num_inside = int(np.count_nonzero(chosen))
        pairs = max(1, num_inside * (len(chosen) - num_inside))
        per_call = int(min(_MOST_MOVES, max(1, _PAIRS_PER_CALL // pairs)))
        while not self.run.should_stop():
            wanted = min(per_call, self._moves_left())
            made = swap_best(drawn.pool, chosen, gains, state, best, tabu, goal, patience, wanted)
            self.run.add_iterations(made)
            if made < wanted:
                break
        self._take_over(drawn, best)

    def _moves_left(self) -> int:
        left = self.run.iterations_left
        return 2**31 if left is None else max(1, left)

    def repair(self, patience: int = 0) -> bool:
        """Bring the norm within what is allowed, by exchanges and single moves; whether it is.

        Where no move helps, exchanges go on with this patience at the size that was reached.
        """
        while not self.is_inside and not self.is_over:
            if self.exchange(self.problem.radius(self.size)):
                break
            mask, total, squared = self.mask.copy(), self.total, self.squared
            # Relative to what is allowed, so that "kept" weighs the larger ball of smaller sizes.
            excess = squared / max(self.problem.radius(self.size) ** 2, 1e-300)
            options = []
            for enters in (False, True):
                until = self.size + (1 if enters else -1)
                is_possible = not enters or until <= self.problem.max_size
                if is_possible and self._flip(enters, until, _NO_BALL):
                    allowed = max(self.problem.radius(self.size) ** 2, 1e-300)
                    options.append((self.squared / allowed, self.mask, self.total))
                self.mask, self.total = mask.copy(), total
            if not options or min(o[0] for o in options) >= excess * (1 - 1e-12):
                return self.exchange(self.problem.radius(self.size), patience)
            _, self.mask, self.total = min(options, key=lambda option: option[0])
        return self.is_inside

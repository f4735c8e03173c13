"""One walk at a falling temperature, on the Gram matrix of a core or on the rows themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.rows import DenseRows
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

from ._walk_kernels import BEST, COUNT, SQUARED, Ground, walk

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

# A call into compiled code reads about this many numbers at most, a tenth of a second, so that
# Ctrl-C and clocks work. It makes between 2^8 and 2^17 proposals, the first call at most 2^12.
_CALL_ENTRIES = 2**26
_FEWEST_PROPOSALS, _FIRST_CALL, _MOST_PROPOSALS = 2**8, 2**12, 2**17
# Multiplications of a Gram matrix between two looks at the clock, some hundredths of a second.
_STRIP_WORK = 2**31


@dataclass(frozen=True)
class Cooling:
    """How a walk cools down: its ends as squared norms, its length, and the seconds it may take."""

    hot: float
    cold: float
    num_proposals: int
    seconds: float = np.inf


class Walker:
    """Walks of one problem.

    With ``lam`` > 0 (Eq. 3) an example more is worth 2 lam, as a squared norm.
    """

    def __init__(self, problem: Problem, options: AnnealOptions, run: Run) -> None:
        self.problem, self.options, self.run = problem, options, run
        norms = problem.rows.squared_norms[problem.free]
        is_limited = options.proposals == "norm" and is_uneven(norms, options)
        self.reach = options.reach if is_limited else np.inf

    def walk(
        self,
        mask: BoolArray,
        core: IndexArray,
        lam: float,
        cooling: Cooling,
        rng: np.random.Generator,
    ) -> BoolArray | None:
        """Let the examples of a core move; give the subset found, None for Eq. 3 without one."""
        ground, back = self._ground(mask, core)
        if ground is None:
            return None
        problem, run = self.problem, self.run
        epsilon = problem.epsilon if problem.epsilon is not None else np.inf
        total = run.sum_of(mask)
        state = np.array([float(total @ total), float(mask.sum()), lam, epsilon, -1.0])
        best = ground.chosen.copy()
        flips = self.options.flip_share if problem.form == "max_size" else 0.0
        order = np.empty(core.size, dtype=np.int64)
        is_alone = run.limits.num_workers == 1
        shown = run.norm if problem.form == "min_norm" else run.size

        def found() -> BoolArray | None:
            if flips and state[BEST] < 0:
                return None
            out = mask.copy()
            out[core] = best[back] if flips else ground.chosen[back]
            return out

        def after() -> bool:
            nonlocal shown
            # A checkpoint costs a pass over S: only where there is something to win.
            here = state[BEST] if flips else float(np.sqrt(state[SQUARED]))
            if is_alone and (here > shown if flips else here < 0.9 * shown):
                shown = here
                subset = found()
                if subset is not None:
                    run.submit(subset)
            return self._is_enough(state)

        def call(schedule: tuple[float, float, float, float], count: int) -> None:
            walk(ground, order, state, best, rng, schedule, flips, self.reach, count)

        entries = core.size if ground.is_gram else 2 * ground.matrix.shape[1]
        cool(call, cooling, run, entries, after)
        return found()

    def _is_enough(self, state: FloatArray) -> bool:
        """Whether what was found reaches the target or the proven bound."""
        bound, target = self.run.bound, self.run.limits.target
        if self.problem.form == "min_norm":
            return target is not None and state[SQUARED] <= (target * (1 - 1e-9)) ** 2
        is_optimal = bound is not None and state[BEST] >= np.floor(bound)
        return is_optimal or (target is not None and state[BEST] >= target)

    def _ground(self, mask: BoolArray, core: IndexArray) -> tuple[Ground | None, IndexArray]:
        """What to walk on, and where each example of the core stands in it."""
        problem = self.problem
        norms = problem.rows.squared_norms[core]
        by_norm = np.argsort(norms, kind="stable")
        if self.is_small(core):
            rows = problem.rows.take(core).astype(np.float64)
            gram = gram_matrix(rows, self.run)
            if gram is None:
                return None, core
            columns = problem.constraints.columns(mask, core, slack=0.5)
            products = rows @ self.run.sum_of(mask)
            ground = Ground(gram, products, True, mask[core], by_norm, norms[by_norm], columns)
            return ground, np.arange(core.size)
        matrix, total, _ = search_rows(problem, mask)
        columns = problem.constraints.columns(mask, slack=0.5)
        order = core[by_norm]
        return Ground(matrix, total, False, mask.copy(), order, norms[by_norm], columns), core

    def is_small(self, core: IndexArray) -> bool:
        """Whether the core's Gram matrix is worth its memory."""
        is_readable = self.problem.rows.proxy is self.problem.rows
        return core.size <= self.options.core_size and self.options.proposals == "norm" and is_readable


def is_uneven(squared_norms: FloatArray, options: AnnealOptions) -> bool:
    """Whether small rows can still move when large ones are frozen."""
    positive = squared_norms[squared_norms > 0]
    if not positive.size:
        return False
    low, high = np.quantile(positive, [0.05, 0.95])
    return bool(high > 20.0 * low)


def search_rows(problem: Problem, mask: BoolArray) -> tuple[AnyFloatArray, FloatArray, bool]:
    """Give rows for random access, the sum of the pruned ones, and whether both are exact.

    They are not exact where the rows stand for an S that does not fit in memory.
    """
    rows = problem.rows.search_matrix()
    if problem.rows.proxy is problem.rows and rows.shape[1] == problem.d:
        return rows, problem.rows.sum(mask), True
    return rows, DenseRows(rows).sum(mask), False


def cool(
    call: Callable[[tuple[float, float, float, float], int], object],
    cooling: Cooling,
    run: Run,
    entries: int,
    after: Callable[[], bool],
) -> None:
    """Make all calls of one walk, short enough to watch the clock.

    ``call((hot, cold, done, total), count)`` makes ``count`` proposals, each of which reads about
    ``entries`` numbers. A walk that the clock would cut off is shortened to fit. ``after()`` follows
    each call and may end the walk by True. Without a clock ``entries`` alone sets the length of a
    call, since the point where ``after`` ends the walk must not depend on the machine's speed.
    """
    hot, cold, total = cooling.hot, cooling.cold, cooling.num_proposals
    left = run.iterations_left
    total = total if left is None else min(total, left)
    fitting = 2 ** int(np.log2(_CALL_ENTRIES / entries))
    longest = min(max(fitting, _FEWEST_PROPOSALS), _MOST_PROPOSALS)
    done, count, began = 0, min(longest, _FIRST_CALL), time.perf_counter()
    while done < total:
        count = min(count, total - done)
        started = time.perf_counter()
        call((hot, cold, float(done), float(total)), count)
        now = time.perf_counter()
        done += count
        run.add_iterations(count)
        if after() or run.should_stop():
            return
        count, pace = longest, count / max(now - started, 1e-6)
        seconds = min(run.remaining, began + cooling.seconds - now)
        if seconds < np.inf:
            count = min(longest, 2 ** int(np.log2(max(_FIRST_CALL, pace * max(seconds, 0.0) / 8))))
            affordable = 0.9 * pace * max(seconds, 0.0)
            if affordable < total - done:
                hot *= (cold / hot) ** (done / total)
                done, total = 0, max(1, int(affordable))


def gram_matrix(rows: FloatArray, run: Run) -> FloatArray | None:
    """Inner products of all pairs of k rows (k, d), in strips where they take long.

    None where the run was stopped between two strips.
    """
    k = len(rows)
    if k * rows.size < _STRIP_WORK:
        return rows @ rows.T
    out, step = np.empty((k, k)), max(1, _STRIP_WORK // rows.size)
    for start in range(0, k, step):
        if run.should_stop():
            return None
        strip = rows[start : start + step] @ rows[: start + step].T
        out[start : start + step, : start + step] = strip
        out[:start, start : start + step] = strip[:, :start].T
    return out

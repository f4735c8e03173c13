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
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

from ._walk_kernels import BEST, SQUARED, Ground, walk

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

# A call into compiled code reads about this many numbers at most, a tenth of a second, so that
# Ctrl-C and clocks work. It makes between 2^8 and 2^17 proposals, the first call at most 2^12.
_CALL_ENTRIES = 2**26
_FEWEST_PROPOSALS, _FIRST_CALL, _MOST_PROPOSALS = 2**8, 2**12, 2**17
# Up to this many examples in a core have their Gram matrix: 128 MB.
_MOST_GRAM = 4000
# Under Eq. 4 a walk shows its subset again once the norm is below this share of the last one shown.
_SHOWN = 0.9
# A walk plans to take this share of its time.
_PLANNED = 0.9
# Below this ratio of the 95 % to the 5 % quantile of squared norms, all rows freeze together.
_UNEVEN = 20.0
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

    Parameters
    ----------
    problem : Problem
    options : AnnealOptions
    run : Run
    """

    def __init__(self, problem: Problem, options: AnnealOptions, run: Run) -> None:
        self.problem, self.options, self.run = problem, options, run
        self.is_readable = problem.rows.proxy is problem.rows
        self.is_alone = run.limits.num_workers == 1
        norms = problem.rows.squared_norms[problem.free]
        is_limited = options.proposals == "norm" and is_uneven(norms)
        self.reach = options.reach if is_limited else np.inf
        self.flip_share = options.flip_share if problem.form == "max_size" else 0.0

    def walk(
        self,
        mask: BoolArray,
        core: IndexArray,
        lam: float,
        cooling: Cooling,
        rng: np.random.Generator,
    ) -> BoolArray | None:
        """Let the examples of a core move from a subset on.

        Parameters
        ----------
        mask : ndarray of shape (n,), bool
            The start.
        core : ndarray of int64
            Who may move.
        lam : float
            Under Eq. 3 an example more is worth 2 lam, as a squared norm; 0 under Eq. 4.
        cooling : Cooling
        rng : Generator

        Returns
        -------
        ndarray of shape (n,), bool, or None
            Under Eq. 3 the largest subset within epsilon, None without one; under Eq. 4 the last.
        """
        run, sums = self.run, self.run.sum_of(mask)
        ground, positions = self._ground(mask, core, sums)
        if ground is None:
            return None
        epsilon = self.problem.epsilon if self.problem.epsilon is not None else np.inf
        squared, size = float(sums @ sums), float(mask.sum())
        is_inside = squared <= epsilon**2
        state = np.array([squared, size, lam, epsilon, size if is_inside else -1.0, lam])
        best, order = ground.chosen.copy(), np.empty(core.size, dtype=np.int64)
        shown = run.norm if self.problem.form == "min_norm" else float(run.size)

        def found() -> BoolArray | None:
            if self.flip_share and state[BEST] < 0:
                return None
            out = mask.copy()
            out[core] = (best if self.flip_share else ground.chosen)[positions]
            return out

        def after() -> bool:
            nonlocal shown
            # A checkpoint costs a pass over S: only where there is something to win. Several
            # workers must not see each other's.
            here = state[BEST] if self.flip_share else float(np.sqrt(state[SQUARED]))
            is_better = here > shown if self.flip_share else here < _SHOWN * shown
            subset = found() if self.is_alone and is_better else None
            if subset is not None:
                shown = here
                run.submit(subset)
            return self._is_enough(state)

        def call(schedule: tuple[float, float, float, float], count: int) -> None:
            walk(ground, order, state, best, rng, schedule, self.flip_share, self.reach, count)

        entries = core.size if ground.is_gram else 2 * ground.matrix.shape[1]
        cool(call, cooling, run, entries, after)
        return found()

    def _is_enough(self, state: FloatArray) -> bool:
        """Whether what was found reaches the target or the proven bound."""
        bound, target = self.run.bound, self.run.limits.target
        if self.problem.form == "min_norm":
            is_reached = target is not None and state[SQUARED] <= (target * (1 - 1e-9)) ** 2
            return is_reached and self.is_readable
        is_optimal = bound is not None and state[BEST] >= np.floor(bound)
        return is_optimal or (target is not None and state[BEST] >= target)

    def _ground(
        self, mask: BoolArray, core: IndexArray, sums: FloatArray
    ) -> tuple[Ground | None, IndexArray]:
        """Give what to walk on, and where each example of the core stands in it."""
        problem = self.problem
        norms = problem.rows.squared_norms[core]
        by_norm = np.argsort(norms, kind="stable")
        if self.holds_gram(core):
            rows = problem.rows.take(core).astype(np.float64)
            gram = gram_matrix(rows, self.run)
            if gram is None:
                return None, core
            columns = problem.constraints.columns(mask, core, slack=0.5)
            ground = Ground(gram, rows @ sums, True, mask[core], by_norm, norms[by_norm], columns)
            return ground, np.arange(core.size)
        matrix = problem.rows.search_matrix()
        is_exact = self.is_readable and matrix.shape[1] == problem.d
        total = sums.copy() if is_exact else DenseRows(matrix).sum(mask)
        columns = problem.constraints.columns(mask, slack=0.5)
        order = core[by_norm]
        return Ground(matrix, total, False, mask.copy(), order, norms[by_norm], columns), core

    def holds_gram(self, core: IndexArray) -> bool:
        """Whether the core's Gram matrix is worth its memory."""
        is_plain = self.options.proposals == "plain"
        return core.size <= _MOST_GRAM and self.is_readable and not is_plain


def is_uneven(squared_norms: FloatArray) -> bool:
    """Whether small rows can still move when large ones are frozen."""
    positive = squared_norms[squared_norms > 0]
    if not positive.size:
        return False
    low, high = np.quantile(positive, [0.05, 0.95])
    return bool(high > _UNEVEN * low)


def cool(
    call: Callable[[tuple[float, float, float, float], int], object],
    cooling: Cooling,
    run: Run,
    entries: int,
    after: Callable[[], bool],
) -> None:
    """Make all calls of one walk, short enough to watch the clock.

    ``call((hot, cold, 0, total), count)`` makes ``count`` proposals, each of which reads about
    ``entries`` numbers, and goes that share of the way from hot to cold. ``after()`` is asked after
    each call and may end the walk by True.

    Under a clock the way that is left is planned anew after each call, by the pace of the last one:
    a hot call, in which most proposals are accepted, is slower than a cold one. Without a clock
    ``entries`` alone sets the length of a call, since the point where ``after`` ends the walk must
    not depend on the machine's speed.
    """
    hot, cold, left = cooling.hot, cooling.cold, cooling.num_proposals
    fitting = 2 ** int(np.log2(_CALL_ENTRIES / entries))
    longest = min(max(fitting, _FEWEST_PROPOSALS), _MOST_PROPOSALS)
    total, count, began = left, min(longest, _FIRST_CALL), time.perf_counter()
    while True:
        count = min(count, total)
        started = time.perf_counter()
        call((hot, cold, 0.0, float(total)), count)
        now = time.perf_counter()
        run.add_iterations(count)
        if after() or run.should_stop() or count == total:
            return
        hot *= (cold / hot) ** (count / total)
        left -= count
        total, count, pace = left, longest, count / max(now - started, 1e-6)
        seconds = max(0.0, min(run.remaining, began + cooling.seconds - now))
        if seconds < np.inf:
            count = min(longest, 2 ** int(np.log2(max(_FIRST_CALL, pace * seconds / 8))))
            total = min(left, max(1, int(_PLANNED * pace * seconds)))


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

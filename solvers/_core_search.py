"""Eq. 3: anneal the few examples that the relaxation leaves open.

At the relaxed optimum an example with a large reduced cost 1 - s_i . u is decided; what is left is
a core around the margin. With the core's Gram matrix at hand a proposal costs O(1) and an accepted
one O(core). The first generation of chains starts where continuation leads the relaxation
(`_continuation`). Later ones start from the best subset, on a core chosen by what a flip would cost
there, or from the relaxation again, on a larger or smaller core, whichever did better.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.bounds.relaxation import Relaxation
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray

from ._chains import columns_of, gram_matrix, quota_of, run_together, search_rows, walk
from ._core_starts import Start, Starts
from ._first_subset import smallest_subset
from ._gram_kernels import gram_flips
from ._insertion import choose_until_full
from ._row_kernels import row_flips

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

_MIN_CORE, _MAX_CORE = 64, 4000
# Size of the first core, in fractional weights of the relaxation.
_CORE_FACTOR = 2.2
_NUM_CHAINS = 6
# One generation in so many starts from the relaxation again.
_FRESH_EVERY = 4
# If the proven gap after the first core is wider, all rows are annealed before the next core, at
# these temperatures, in examples.
_WIDE_GAP, _ROW_HEAT = 0.01, (0.3, 0.02)
# Best choices from nothing are tried where rounding prunes at most _FEW examples, and where the gap
# after the first core is wider than _LOST_GAP.
_FEW, _LOST_GAP = 64, 0.5


def search_core(problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
    """Maximize the size, with normalization "full", from the relaxation."""
    relaxation = run.solve_relaxation()
    assert relaxation is not None
    if smallest_subset(problem, run) is None:
        return Candidate(is_infeasible=True)
    search = _CoreSearch(problem, options, run, relaxation)
    search.starts.round_off()
    if run.size <= _FEW:
        choose_until_full(problem, run, 2 * _FEW)
    num_generations = search.go()
    stats = {"num_generations": num_generations, "core_size": search.core_size}
    return Candidate(limit=run.limit, stats=stats)


class _CoreSearch:
    """Generations of chains, each on a core of its own."""

    def __init__(
        self, problem: Problem, options: AnnealOptions, run: Run, relaxation: Relaxation
    ) -> None:
        self.problem, self.options, self.run, self.relaxation = problem, options, run, relaxation
        self.starts = Starts(problem, run, relaxation)
        self.lam, self.squared_norms = self.starts.lam, problem.rows.squared_norms
        num_free = int(problem.free.sum())
        # The Gram matrix stays small beside S.
        most = min(_MAX_CORE, num_free, int(np.sqrt(max(2**23, 0.2 * problem.rows.nbytes) / 8)))
        self.max_core = max(min(most, num_free), 1)
        wanted = options.core_size or int(_CORE_FACTOR * self.starts.num_fractional)
        self.core_size = int(np.clip(wanted, min(_MIN_CORE, self.max_core), self.max_core))

    # --- generations ----------------------------------------------------------------------------

    def go(self) -> int:
        """Run generations until a limit or the budget; return how many there were."""
        num_workers = self.run.limits.num_workers
        num_chains = self.options.num_chains or _NUM_CHAINS
        most = num_chains * (100 if self.run.fills_time else 1)
        usual = int(np.clip(2500 * self.core_size, 300_000, 6_000_000) * self.run.effort)
        length = self.options.num_proposals or usual
        quota = quota_of(self.run, max(num_chains, num_workers))
        number, since_fresh, try_rows, next_core = 0, 0, False, self.core_size
        while number < most and not self.run.should_stop():
            before = self.run.size
            numbers = range(number, number + num_workers)
            is_fresh = self.run.mask is None or since_fresh % _FRESH_EVERY == 0
            if try_rows:
                tasks = [partial(self._row_chain, k, length, quota) for k in numbers]
            else:
                start = self.starts.anew if is_fresh else self.starts.from_best
                size = next_core if is_fresh else self.core_size
                tasks = [partial(self._chain, start, k, size, length, quota) for k in numbers]
            run_together(tasks, self.run)
            self._refine()
            if is_fresh and not try_rows:
                next_core = self._next_core_size(next_core, self.run.size > before)
                if number > 0 and self.run.fills_time:
                    length = min(2 * length, 50_000_000)
            # A core that leaves much of the bound unreached is not where the slack is.
            gap = self.run.gap
            try_rows = number == 0 and gap is not None and gap > _WIDE_GAP
            if number == 0 and gap is not None and gap > _LOST_GAP:
                choose_until_full(self.problem, self.run)
            since_fresh += not try_rows
            number += num_workers
        return number // num_workers

    def _next_core_size(self, tried: int, has_helped: bool) -> int:
        """Keep a core size that helped; try half as large again, then a third smaller."""
        factor = 1.5 if tried <= self.core_size else 0.66
        if has_helped:
            self.core_size = tried
        least = min(_MIN_CORE, self.max_core)
        return int(np.clip(factor * self.core_size, least, self.max_core))

    def _refine(self) -> None:
        """Sharpen the bound once the incumbent is so close that it could be proved optimal."""
        bound = self.run.bound
        if bound is None or not self.run.limits.bound or self.run.should_stop():
            return
        if np.floor(bound) - self.run.size <= max(2.0, 2.0 * (bound - self.relaxation.value)):
            self.run.proof.sharpen()
        self.run.proof.strengthen(self.run.size)

    # --- chains ---------------------------------------------------------------------------------

    def _state(self, mask: BoolArray, total: FloatArray, lam: float) -> FloatArray:
        """Collect what the kernels of flips take: ||v||^2, count, lam, epsilon, no best count."""
        assert self.problem.epsilon is not None
        size = float(mask.sum())
        return np.array([float(total @ total), size, lam, self.problem.epsilon, -1.0])

    def _chain(
        self,
        begin: Callable[[int, int, int | None], Start],
        number: int,
        core_size: int,
        length: int,
        quota: int | None,
    ) -> BoolArray | None:
        """Cool one core down; give the best feasible subset met."""
        start = begin(number, core_size, quota)
        core, mask = start.core, start.mask
        rows = self.problem.rows.take(core).astype(np.float64)
        gram = gram_matrix(rows, self.run)
        if gram is None:
            return None
        total: FloatArray = self.run.sum_of(mask)
        chosen, best_chosen = mask[core], mask[core]
        # lam is divided by, and may be 0 where rows lie hundreds of decades apart.
        state = self._state(mask, total, max(start.lam, 1e-280))
        columns, rng = columns_of(self.problem, mask, core), self.run.generator(3, number)

        def best() -> BoolArray | None:
            if state[4] < 0:
                return None
            found = mask.copy()
            found[core] = best_chosen
            return found

        is_alone = self.run.limits.num_workers == 1
        shown = -1.0

        def after(_: float) -> bool:
            nonlocal shown
            if state[4] > shown:
                shown = state[4]
                found = best() if is_alone and shown > self.run.size else None
                if found is not None:
                    self.run.submit(found)
            return self._is_enough(state[4])

        hot, cold = self.starts.temperatures(core, start.lam)
        walk(
            partial(gram_flips, gram, chosen, rows @ total, state, columns, rng, best_chosen),
            (start.heat * hot, start.heat * cold),
            length,
            self.run,
            quota=quota,
            entries=core.size,
            after=after,
        )
        return best()

    def _row_chain(self, number: int, length: int, quota: int | None) -> BoolArray | None:
        """Cool all free examples down from the rounded relaxation; give the best subset met."""
        order = np.flatnonzero(self.problem.free)
        order = order[np.argsort(self.squared_norms[order], kind="stable")]
        mask = self.starts.rounded(number, self.core_size).mask
        rows, total, _ = search_rows(self.problem, mask)
        state, best_mask = self._state(mask, total, self.lam), mask.copy()
        columns, rng = columns_of(self.problem, mask), self.run.generator(4, number)
        subset = (rows, mask, total, order, self.squared_norms[order], state)
        hot = min(_ROW_HEAT[0], self.starts.temperatures(order, self.lam)[0])
        walk(
            partial(row_flips, *subset, columns, rng, best_mask),
            (hot, hot * _ROW_HEAT[1] / _ROW_HEAT[0]),
            length,
            self.run,
            quota=quota,
            entries=2 * rows.shape[1],
            after=lambda _: self._is_enough(state[4]),
        )
        return best_mask if state[4] >= 0 else None

    def _is_enough(self, size: float) -> bool:
        """Whether a size reaches the target or the proven bound."""
        bound, target = self.run.bound, self.run.limits.target
        is_optimal = bound is not None and size >= np.floor(bound)
        return is_optimal or (target is not None and size >= target)

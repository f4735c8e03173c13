"""Eq. 4 by annealed swaps: the size is fixed, ||W^T S||^2 is the energy.

At temperature T a swap of rows with squared norm s changes the energy by about s, so that large
rows freeze first. Where row norms are uneven, as in a trained head, proposals are limited to rows
that can still move. At equilibrium ||W^T S||^2 is about rank * T / 2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.engine.options import Limits
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

from ._chains import budget, columns_of, gram_matrix, quota_of, run_together, search_rows, walk
from ._chunk_search import chunk_chain, is_too_large
from ._first_subset import near_guess
from ._gram_kernels import gram_swaps
from ._insertion import choose_few
from ._local_search import LocalSearch
from ._row_kernels import REACH, row_swaps
from ._settled import Margin, settled_start

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions

# Up to this many free examples the whole Gram matrix is in memory: 128 MB.
_MAX_GRAM = 4000
# Best exchanges end the search where S has up to this many entries, until so many in a row fail.
_CLOSING_ENTRIES = 20_000_000
_PATIENCE = 300
# Under a clock the swaps take this share of the time, and the exchanges the rest.
_ENDLESS, _SEARCH_SHARE = 10**9, 0.5
# The hot end from a settled start, in units of its energy per dimension. With a Gram matrix it is
# hotter, since proposals cost so little that the start is found again in passing.
_HEAT, _GRAM_HEAT = 2.0, 20.0
# Below this ratio of the 95 % to the 5 % quantile of squared norms, all rows freeze together.
_UNEVEN = 20.0

Temperatures = tuple[float, float]
_Cooling = tuple[Temperatures, np.random.Generator]


def search_swaps(problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
    """Minimize the norm at a fixed size."""
    start = near_guess(problem, run)
    if start is None:
        return Candidate(is_infeasible=True)
    run.submit(start)
    norms = problem.rows.squared_norms[problem.free]
    if not norms.any() or run.should_stop():
        return Candidate(limit=run.limit)
    search = _SwapSearch(problem, options, run, start)
    run_together([partial(search.chain, k) for k in range(search.num_chains)], run)
    if _closes(problem, options, run):
        close_by_exchanges(problem, run)
    return Candidate(limit=run.limit, dual=search.directions.get(0))


def can_hold_gram(problem: Problem, options: AnnealOptions, items: IndexArray) -> bool:
    """Whether the swaps are made on the Gram matrix of the rows that may move."""
    is_readable = problem.rows.proxy is problem.rows
    return items.size <= _MAX_GRAM and options.proposals == "norm" and is_readable


class _SwapSearch:
    """Independent chains of swaps; ``directions`` are the relaxed minima that they began with."""

    def __init__(
        self, problem: Problem, options: AnnealOptions, run: Run, start: BoolArray
    ) -> None:
        self.problem, self.options, self.run, self.start = problem, options, run, start
        self.free = np.flatnonzero(problem.free)
        self.num_chains = max(run.limits.num_workers, options.num_chains or 1)
        self.quota = quota_of(run, self.num_chains)
        self.is_alone = run.limits.num_workers == 1
        has_guess = run.limits.initial_guess is not None
        # Settling reads the rows one by one.
        is_readable = problem.rows.proxy is problem.rows and not is_too_large(problem.rows)
        self.is_settled = not has_guess and options.start == "relax" and is_readable
        self.temperatures = _temperatures(problem, run.norm if has_guess else np.inf)
        self.few = choose_few(problem, run) if self.is_settled else None
        self.directions: dict[int, FloatArray] = {}

    def chain(self, number: int) -> BoolArray | None:
        """Let one chain cool down; give the better of where it began and where it ended."""
        problem, free = self.problem, self.free
        mask = self.start if number == 0 else near_guess(problem, self.run, number)
        assert mask is not None
        rng = self.run.generator(number)
        temperatures, core = self.temperatures, free
        begin = self._begin(rng) if self.is_settled else None
        if begin is not None:
            mask, norm, margin = begin
            heat = _GRAM_HEAT if can_hold_gram(problem, self.options, free) else _HEAT
            temperatures = _temperatures(problem, norm, heat, margin)
            if margin is not None:
                self.directions[number] = margin.total
                core = margin.core(free, temperatures[0])
        found = self._swap(mask.copy(), core, (temperatures, rng))
        if begin is None or self.is_alone:
            return found
        # No other chain has submitted the start of this one.
        return found if float(np.linalg.norm(problem.rows.sum(found))) <= norm else mask

    def _begin(self, rng: np.random.Generator) -> tuple[BoolArray, float, Margin | None] | None:
        """Where a chain begins, its norm, and the relaxed minimum where no subset comes near 0."""
        settled = settled_start(self.problem, self.run, rng, self.quota)
        if settled is None:
            return None if self.few is None else (*self.few, None)
        mask, margin = settled
        # Where there are several chains no other one is to see this start.
        if self.is_alone:
            self.run.submit(mask)
        total = self.run.sum_of(mask) if self.is_alone else self.problem.rows.sum(mask)
        norm = float(np.linalg.norm(total))
        if self.few is not None and self.few[1] < norm:
            mask, norm = self.few
        return mask, norm, margin

    def _swap(self, mask: BoolArray, items: IndexArray, cooling: _Cooling) -> BoolArray:
        if is_too_large(self.problem.rows):
            return chunk_chain(self.problem, self.run, mask, items, *cooling)
        if can_hold_gram(self.problem, self.options, items):
            return self._gram_chain(mask, items, cooling)
        return self._row_chain(mask, items, cooling)

    def _row_chain(self, mask: BoolArray, free: IndexArray, cooling: _Cooling) -> BoolArray:
        """Walk on the rows themselves."""
        rows, total, is_exact = search_rows(self.problem, mask)
        norms = self.problem.rows.squared_norms[free]
        by_norm = np.argsort(norms, kind="stable")
        order, sorted_norms = free[by_norm], norms[by_norm]
        is_limited = self.options.proposals == "norm" and _is_uneven(norms)
        reach = REACH if is_limited else np.inf
        columns = columns_of(self.problem, mask)
        self._walk(
            partial(row_swaps, rows, mask, total, order, sorted_norms, reach, columns, cooling[1]),
            cooling[0],
            int(np.clip(60 * order.size, 300_000, 20_000_000)),
            entries=2 * rows.shape[1],
            norm=lambda: float(np.linalg.norm(total)),
            found=lambda: mask,
            is_exact=is_exact,
        )
        return mask

    def _gram_chain(self, mask: BoolArray, free: IndexArray, cooling: _Cooling) -> BoolArray:
        """Walk with the Gram matrix of all free rows at hand."""
        rows = self.problem.rows.take(free).astype(np.float64)
        gram = gram_matrix(rows, self.run)
        if gram is None:
            return mask
        total = self.problem.rows.sum(mask)
        chosen = mask[free]
        pruned, kept = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        if not pruned.size or not kept.size:
            return mask
        state = np.array([float(total @ total)])
        columns = columns_of(self.problem, mask, free)

        def found() -> BoolArray:
            out = mask.copy()
            out[free[pruned]], out[free[kept]] = True, False
            return out

        self._walk(
            partial(gram_swaps, gram, pruned, kept, rows @ total, state, columns, cooling[1]),
            cooling[0],
            int(np.clip(2000 * free.size, 100_000, 8_000_000)),
            entries=free.size,
            norm=lambda: float(np.sqrt(state[0])),
            found=found,
        )
        return found()

    def _walk(
        self,
        call: Callable[..., object],
        temperatures: Temperatures,
        usual: int,
        *,
        entries: int,
        norm: Callable[[], float],
        found: Callable[[], BoolArray],
        is_exact: bool = True,
    ) -> None:
        """Let a chain cool down and submit what it finds on the way, if it is the only chain."""
        run, shown = self.run, norm()

        def after(_: float) -> bool:
            nonlocal shown
            here = norm()
            # A checkpoint costs a pass over S: only where there is something to win.
            if self.is_alone and here < 0.9 * shown:
                run.submit(found())
                shown = here
            target = run.limits.target
            return is_exact and target is not None and here <= target * (1 - 1e-9)

        walk(
            call,
            temperatures,
            self.options.num_proposals or budget(run, usual),
            run,
            quota=self.quota,
            share=_SEARCH_SHARE if _closes(self.problem, self.options, run) else 1.0,
            entries=entries,
            after=after,
        )


def _closes(problem: Problem, options: AnnealOptions, run: Run) -> bool:
    """Whether best exchanges end the search: where a pass over S costs little, or all freeze alike.

    In few dimensions the last improvements are a handful among n^2 / 4 pairs; rows of one length
    freeze together, and random pairs are then too rare to find them.
    """
    if options.proposals != "norm" or problem.rows.proxy is not problem.rows:
        return False
    if problem.n * problem.d <= _CLOSING_ENTRIES:
        return True
    return run.fills_time and not _is_uneven(problem.rows.squared_norms[problem.free])


def _is_uneven(squared_norms: FloatArray) -> bool:
    positive = squared_norms[squared_norms > 0]
    if not positive.size:
        return False
    low, high = np.quantile(positive, [0.05, 0.95])
    return bool(high > _UNEVEN * low)


def close_by_exchanges(problem: Problem, run: Run) -> None:
    """Exchange best pairs from the incumbent on, as long as there is time.

    Without a clock it ends after too many exchanges in a row without a smaller norm.
    """
    if run.mask is None or run.should_stop():
        return
    patience = round(_PATIENCE * run.effort)
    most, moves = 20 * patience, quota_of(run, 1)
    if run.fills_time:
        most = _ENDLESS
    limits = Limits(max_iterations=most if moves is None else min(most, moves))
    inner = Run(problem, limits, parent=run)
    search = LocalSearch(problem, inner, run.mask)
    search.exchange(patience=patience)
    before = -1
    while run.fills_time and not inner.should_stop() and inner.num_iterations > before:
        # The longer it may climb, the less often another pool of rows is drawn.
        patience, before = min(2 * patience, _ENDLESS), inner.num_iterations
        search.exchange(patience=patience)
    run.add_iterations(inner.num_iterations)
    run.submit(search.mask)


def _temperatures(
    problem: Problem, norm: float, heat: float = _HEAT, margin: Margin | None = None
) -> Temperatures:
    """From where most rows move to where only the smallest do; cooler from a start of some norm."""
    norms = problem.rows.squared_norms[problem.free]
    low, high = np.quantile(norms[norms > 0], [0.05, 0.95])
    hot, cold = 0.5 * float(high), 0.02 * float(low)
    if norm < np.inf:
        # There the start's norm is in equilibrium; a hotter chain would destroy it.
        hot = min(hot, heat * norm**2 / min(problem.d, problem.n))
    if margin is not None:
        hot = min(hot, margin.temperature(norm))
    return max(hot, 1e-300), max(min(cold, 0.1 * hot), 1e-300)

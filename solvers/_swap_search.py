"""Eq. 4 by annealed swaps: the size is fixed, ||W^T S||^2 is the energy.

At temperature T a swap of rows with squared norm s changes the energy by about s, so that large
rows freeze first. Where row norms are uneven, as in a trained head, proposals are limited to rows
that can still move. At equilibrium ||W^T S||^2 is about rank * T / 2.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from subsetsel.engine.options import Limits
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray

from ._anneal_kernels import core_swaps, row_swaps
from ._chains import (
    Schedule,
    budget,
    columns_of,
    gram_matrix,
    quota_of,
    run_together,
    search_rows,
    walk,
)
from ._chunk_search import chunk_chain, is_too_large
from ._insertion import choose_few
from ._local_search import LocalSearch
from ._settled import settled_start

if TYPE_CHECKING:
    from ._anneal_options import AnnealOptions
    from ._drift import Margin

# Up to this many free examples the whole Gram matrix is held: 128 MB.
_MAX_GRAM = 4000
# Rows with a squared norm above REACH * T are hardly ever accepted (erfc(sqrt(30) / 2) = 1e-4).
_REACH = 30.0
# Up to this many entries of S the search closes with best exchanges, until so many in a row fail.
_CLOSING_ENTRIES = 20_000_000
_PATIENCE = 300
# Under a clock they take what is left of it, after this share for the swaps.
_ENDLESS, _SEARCH_SHARE = 10**9, 0.5
# The hot end from a start that is worth keeping, in units of its energy per dimension; hotter where
# a proposal costs so little that the start is found again in passing.
_HEAT, _GRAM_HEAT = 2.0, 20.0
# Below this ratio of the 95 % to the 5 % quantile of squared norms, all rows freeze together.
_UNEVEN = 20.0


def search_swaps(problem: Problem, options: AnnealOptions, run: Run) -> Candidate:
    """Minimize the norm at a fixed size.

    Parameters
    ----------
    problem : Problem
        Of the form "min_norm".
    options : AnnealOptions
    run : Run

    Returns
    -------
    Candidate
    """
    guess = run.initial_mask()
    seed = int(run.limits.seed)
    start = find_mask(problem, wanted=guess, seed=seed)
    if start is None:
        return Candidate(is_infeasible=True)
    run.submit(start)
    free = np.flatnonzero(problem.free)
    norms = problem.rows.squared_norms[free]
    positive = norms[norms > 0]
    if positive.size == 0 or run.should_stop():
        return Candidate(limit=run.limit)
    is_settled = guess is None and _can_settle(problem, options)
    hot_to_cold = _temperatures(problem, positive, run.norm if guess is not None else np.inf)
    num_chains = max(run.limits.num_workers, options.num_chains or 1)
    quota = quota_of(run, num_chains)
    few = choose_few(problem, run) if is_settled else None

    def chain(number: int) -> BoolArray | None:
        mask = start if number == 0 else find_mask(problem, wanted=guess, seed=seed + number)
        assert mask is not None
        rng = run.generator(number)
        temperatures, core = hot_to_cold, free
        begin = _begin(problem, run, rng, quota, few) if is_settled else None
        if begin is not None:
            mask, norm, margin = begin
            heat = _GRAM_HEAT if holds_gram(problem, options, free) else _HEAT
            temperatures = _temperatures(problem, positive, norm, heat, margin)
            if margin is not None:
                directions[number] = margin.total
                core = margin.core(free, temperatures[0])
        schedules[number] = temperatures
        found = swap(mask.copy(), core, temperatures, rng)
        if begin is None or found is None or run.limits.num_workers == 1:
            return found
        # Nobody else has seen the start of this chain.
        return found if float(np.linalg.norm(problem.rows.sum(found))) <= norm else mask

    def swap(
        mask: BoolArray,
        items: IndexArray,
        temperatures: tuple[float, float],
        rng: np.random.Generator,
    ) -> BoolArray | None:
        if is_too_large(problem.rows):
            return chunk_chain(problem, run, mask, items, temperatures, rng)
        if holds_gram(problem, options, items):
            return _gram_chain(problem, options, run, mask, items, temperatures, rng, quota)
        return _row_chain(problem, options, run, mask, items, temperatures, rng, quota)

    directions: dict[int, FloatArray] = {}
    schedules: dict[int, tuple[float, float]] = {}
    run_together([partial(chain, k) for k in range(num_chains)], run)
    if _closes(problem, options, run):
        close_by_exchanges(problem, run)
    stats = {"temperatures": list(schedules.get(0, hot_to_cold))}
    return Candidate(limit=run.limit, dual=directions.get(0), stats=stats)


def _begin(
    problem: Problem,
    run: Run,
    rng: np.random.Generator,
    quota: int | None,
    few: tuple[BoolArray, float] | None,
) -> tuple[BoolArray, float, Margin | None] | None:
    """Where a chain begins, its norm, and the relaxed minimum where no subset comes near 0."""
    settled = settled_start(problem, run, rng, quota)
    if settled is None:
        return None if few is None else (*few, None)
    mask, margin = settled
    # Where there are several chains nobody else is to see the start of one.
    is_alone = run.limits.num_workers == 1
    if is_alone:
        run.submit(mask)
    norm = float(np.linalg.norm(run.sum_of(mask) if is_alone else problem.rows.sum(mask)))
    if few is not None and few[1] < norm:
        mask, norm = few
    return mask, norm, margin


def holds_gram(problem: Problem, options: AnnealOptions, items: IndexArray) -> bool:
    """Whether the swaps are made on the Gram matrix of the rows that may move.

    Returns
    -------
    bool
    """
    is_readable = problem.rows.proxy is problem.rows
    return items.size <= _MAX_GRAM and options.proposals == "norm" and is_readable


def _closes(problem: Problem, options: AnnealOptions, run: Run) -> bool:
    """Whether best exchanges end the search: where a pass over S costs little, or all freeze alike.

    In few dimensions the last improvements are a handful among n^2 / 4 pairs; rows of one length
    freeze together, and random pairs are then too rare to find them.

    Returns
    -------
    bool
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
    """Exchange best pairs until too many in a row fail, or as long as there is time.

    Parameters
    ----------
    problem : Problem
    run : Run
        Its incumbent is where they begin.
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


def _can_settle(problem: Problem, options: AnnealOptions) -> bool:
    """Whether the search begins at a settled relaxation: the rows must be readable one by one."""
    is_readable = problem.rows.proxy is problem.rows and not is_too_large(problem.rows)
    return options.start == "relax" and is_readable


def _temperatures(
    problem: Problem,
    positive: FloatArray,
    norm: float,
    heat: float = _HEAT,
    margin: Margin | None = None,
) -> tuple[float, float]:
    """From where most rows move to where only the smallest do; cooler from a start of some norm."""
    low, high = np.quantile(positive, [0.05, 0.95])
    hot, cold = 0.5 * float(high), 0.02 * float(low)
    if norm < np.inf:
        # What the start's norm would be in equilibrium: hotter would destroy it.
        hot = min(hot, heat * norm**2 / min(problem.d, problem.n))
    if margin is not None:
        hot = min(hot, margin.temperature(norm))
    return max(hot, 1e-300), max(min(cold, 0.1 * hot), 1e-300)


def _is_enough(run: Run, norm: float) -> bool:
    return run.limits.target is not None and norm <= run.limits.target * (1 - 1e-9)


def _row_chain(
    problem: Problem,
    options: AnnealOptions,
    run: Run,
    mask: BoolArray,
    free: IndexArray,
    temperatures: tuple[float, float],
    rng: np.random.Generator,
    quota: int | None,
) -> BoolArray:
    """Walk on the rows themselves."""
    rows, total, is_exact = search_rows(problem, mask)
    norms = problem.rows.squared_norms[free]
    by_norm = np.argsort(norms, kind="stable")
    order, sorted_norms = free[by_norm], norms[by_norm]
    is_limited = options.proposals == "norm" and _is_uneven(norms)
    reach = _REACH if is_limited else np.inf
    columns = columns_of(problem, mask)
    shown = float(np.linalg.norm(total))

    def call(schedule: Schedule, count: int) -> int:
        return int(
            row_swaps(rows, mask, total, order, sorted_norms, reach, columns, schedule, count, rng)
        )

    def after(_: float) -> bool:
        nonlocal shown
        norm = float(np.linalg.norm(total))
        # A checkpoint costs a pass over S: only where there is something to win.
        if run.limits.num_workers == 1 and norm < 0.9 * shown:
            run.submit(mask)
            shown = norm
        return is_exact and _is_enough(run, norm)

    usual = int(np.clip(60 * order.size, 300_000, 20_000_000))
    num_proposals = options.num_proposals or budget(run, usual)
    share = _SEARCH_SHARE if _closes(problem, options, run) else 1.0
    walk(
        call,
        temperatures,
        num_proposals,
        run,
        quota=quota,
        share=share,
        entries=2 * rows.shape[1],
        after=after,
    )
    return mask


def _gram_chain(
    problem: Problem,
    options: AnnealOptions,
    run: Run,
    mask: BoolArray,
    free: IndexArray,
    temperatures: tuple[float, float],
    rng: np.random.Generator,
    quota: int | None,
) -> BoolArray:
    """Walk with the Gram matrix of all free rows at hand."""
    rows = problem.rows.take(free).astype(np.float64)
    gram = gram_matrix(rows, run)
    if gram is None:
        return mask
    total = problem.rows.sum(mask)
    chosen = mask[free]
    pruned, kept = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if not pruned.size or not kept.size:
        return mask
    products = rows @ total
    state = np.array([float(total @ total)])
    columns = columns_of(problem, mask, free)
    shown = float(np.linalg.norm(total))

    def call(schedule: Schedule, count: int) -> int:
        return int(core_swaps(gram, pruned, kept, products, state, columns, schedule, count, rng))

    def found() -> BoolArray:
        out = mask.copy()
        out[free[pruned]], out[free[kept]] = True, False
        return out

    def after(_: float) -> bool:
        nonlocal shown
        norm = float(np.sqrt(state[0]))
        if run.limits.num_workers == 1 and norm < 0.9 * shown:
            run.submit(found())
            shown = norm
        return _is_enough(run, norm)

    usual = int(np.clip(2000 * free.size, 100_000, 8_000_000))
    num_proposals = options.num_proposals or budget(run, usual)
    share = _SEARCH_SHARE if _closes(problem, options, run) else 1.0
    walk(
        call,
        temperatures,
        num_proposals,
        run,
        quota=quota,
        share=share,
        entries=free.size,
        after=after,
    )
    return found()

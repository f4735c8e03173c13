"""A few rows of a problem in shards, brought here, and a search of them beside all others."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from subsetsel.engine.journal import key_of
from subsetsel.engine.other_form import Engine
from subsetsel.engine.result import Candidate
from subsetsel.engine.run import Run
from subsetsel.engine.within import inner_run, search_within
from subsetsel.errors import OutOfMemoryError
from subsetsel.problem.fold import fold
from subsetsel.problem.problem import Problem
from subsetsel.rows import DenseRows
from subsetsel.rows.base import BoolArray, IndexArray, Rows
from subsetsel.support.memory import VARIABLE, describe, most_held, planned_memory

# Rows of a core for each of d parameters, and at least; with fewer than _LEAST_ROWS a search ends
# far above what it could reach.
_CORE_ROWS, _FEWEST_ROWS, _LEAST_ROWS = 48, 12_000, 24
# Where there are fewer than so many times the rows of a core, S comes here whole.
_WHOLE = 4

_gathered: WeakKeyDictionary[Rows, tuple[IndexArray, DenseRows]] = WeakKeyDictionary()


def core_size(problem: Problem) -> int | None:
    """Count the rows of a core; None where all rows are to come here.

    By n, d, type and the plan of `subsetsel.support.memory` alone, whatever is free.

    Raises
    ------
    OutOfMemoryError
        Where neither fits into the plan.
    """
    num_free = int(np.count_nonzero(problem.free))
    each = problem.d * problem.rows.dtype.itemsize
    wanted, most = max(_FEWEST_ROWS, _CORE_ROWS * problem.d), most_held() // each
    if num_free <= _WHOLE * wanted and problem.rows.nbytes <= most_held():
        return None
    least = min(_LEAST_ROWS * problem.d, num_free)
    if most < least:
        gib = 2 * least * each / 2**30
        raise OutOfMemoryError(
            f"Eq. 4 with d = {problem.d:,} searches a core of at least {_LEAST_ROWS} examples for "
            f"each parameter, which takes {describe(least * each)}; half of the planned "
            f"{describe(planned_memory())} may be taken. Set {VARIABLE} to {gib:.0f} or more, or "
            "use features with fewer columns."
        )
    return min(wanted, most, num_free)


def gather(rows: Rows, items: IndexArray) -> DenseRows:
    """Bring rows here; those of the last call need not come again, as at the next size."""
    last = _gathered.get(rows)
    if last is None or not np.array_equal(last[0], items):
        last = _gathered[rows] = (items, DenseRows(rows.take(items), is_checked=True))
    return last[1]


def search_whole(engine: Engine, problem: Problem, run: Run) -> Candidate:
    """Solve a problem on rows that are brought here, all of them."""
    sub = problem.with_rows(gather(problem.rows, np.arange(problem.n)))
    inner = _inner(run, sub, 1.0, run.initial_mask())
    found: list[Candidate] = []

    def kept(asked: Problem, asking: Run) -> Candidate:
        found.append(engine(asked, asking))
        return found[0]

    try:
        search_within(run, kept, inner, set_aside=0.0)
    finally:
        if inner.mask is not None:
            run.submit(inner.mask)
    run.should_stop()
    candidate = found[0] if found else Candidate(limit=inner.limit)
    if problem.rows.block_error:
        # What was brought here is rounded; a proof about it is none about the rows themselves.
        candidate = candidate.without_proofs()
    words = (
        f"all {problem.n:,} rows were brought together: for {problem.d:,} parameters they are too "
        "few to be searched in shards"
    )
    stats = {**candidate.stats, "is_gathered": True}
    return Candidate(
        limit=candidate.limit,
        is_optimal=candidate.is_optimal,
        is_infeasible=candidate.is_infeasible,
        tolerance=candidate.tolerance,
        stats=stats,
        message=candidate.message or words,
    )


def search_core(
    engine: Engine,
    problem: Problem,
    run: Run,
    items: IndexArray,
    mask: BoolArray,
    share: float = 1.0,
) -> None:
    """Let a solver decide some examples, where all others are as in a subset; submit the whole.

    Parameters
    ----------
    engine : callable
    problem : Problem
    run : Run
    items : ndarray of int64, sorted
    mask : ndarray of shape (n,), bool
        Of the size asked for.
    share : float
        Of the time and the iterations that are left.
    """
    key = key_of("core", problem.size, run.effort, items, mask, problem.must_prune)
    known = run.journal.get(key)
    if known is not None:
        run.add_iterations(int(known["num_iterations"]))
        run.submit(known["mask"])
        return
    if not 0 < np.count_nonzero(mask[items]) < items.size:
        run.submit(mask)
        return
    folded = fold(problem, items, mask, rows=gather(problem.rows, items))
    # A search of its own ends below what goes on from a guess; a few exchanges do not.
    left, has_guess = run.iterations_left, run.limits.initial_guess is not None
    goes_on = has_guess and left is not None and left < items.size
    inner = _inner(run, folded.problem, share, mask[items] if goes_on else None)
    is_whole = False
    inner.submit(mask[items])
    try:
        is_whole = search_within(run, engine, inner, set_aside=0.0)
    finally:
        found = folded.unfold(mask[items] if inner.mask is None else inner.mask)
        run.submit(found)
    if is_whole:
        run.journal.put(key, {"mask": found, "num_iterations": inner.num_iterations})


def _inner(run: Run, problem: Problem, share: float, guess: BoolArray | None) -> Run:
    """Prepare a search that fills its share of the time where the run does."""
    left = run.iterations_left
    return inner_run(
        run,
        problem,
        guess=guess,
        max_iterations=None if left is None else int(share * left),
        effort=run.effort,
        time_limit=share * max(0.0, run.remaining) if run.fills_time else None,
        target=run.limits.target,
    )

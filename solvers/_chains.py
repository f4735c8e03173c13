"""What all chains of the annealer share: constraints by column, pace, and stopping."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from subsetsel.engine.run import Run
from subsetsel.problem.constraints import Columns
from subsetsel.problem.problem import Problem
from subsetsel.rows import DenseRows
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

from ._shared_kernels import Schedule

# A call into compiled code reads about this many numbers at most, a tenth of a second, so that
# Ctrl-C and clocks work. It makes between 2^8 and 2^17 proposals, the first call at most 2^12.
_CALL_ENTRIES = 2**26
_FEWEST_PROPOSALS, _FIRST_CALL, _MOST_PROPOSALS = 2**8, 2**12, 2**17
# Multiplications of a Gram matrix between two looks at the clock, some hundredths of a second.
_STRIP_WORK = 2**31


def columns_of(problem: Problem, mask: BoolArray, items: IndexArray | None = None) -> Columns:
    """Hand the linear constraints to a kernel, with half the slack that the engine allows."""
    return problem.constraints.columns(mask, items, slack=0.5)


def search_rows(problem: Problem, mask: BoolArray) -> tuple[AnyFloatArray, FloatArray, bool]:
    """Give rows for random access, the sum of the pruned ones, and whether both are exact.

    They are not exact where the rows stand for an S that does not fit in memory.
    """
    rows = problem.rows.search_matrix()
    if problem.rows.proxy is problem.rows and rows.shape[1] == problem.d:
        return rows, problem.rows.sum(mask), True
    return rows, DenseRows(rows).sum(mask), False


def walk(
    call: Callable[[Schedule, int], object],
    temperatures: tuple[float, float],
    num_proposals: int,
    run: Run,
    *,
    quota: int | None = None,
    share: float = 1.0,
    entries: int,
    after: Callable[[float], bool],
) -> None:
    """Let one chain cool down, in calls short enough to watch the clock.

    ``call((hot, cold, done, total), count)`` makes ``count`` proposals, each of which reads about
    ``entries`` numbers. The temperature falls geometrically over the chain. Where the clock, its
    ``share`` of the remaining time or the ``quota`` of proposals would cut the chain off, it is
    shortened to fit. ``after(share done)`` follows each call and may end the chain by True. Without
    a clock ``entries`` alone sets the length of a call, since the point where ``after`` ends the
    chain must not depend on the machine's speed.
    """
    hot, cold = temperatures
    total = num_proposals if quota is None else min(num_proposals, quota)
    fitting = 2 ** int(np.log2(_CALL_ENTRIES / entries))
    longest = min(max(fitting, _FEWEST_PROPOSALS), _MOST_PROPOSALS)
    done, count = 0, min(longest, _FIRST_CALL)
    reserve = (1.0 - share) * run.remaining if run.remaining < np.inf else 0.0
    while done < total:
        count = min(count, total - done)
        started = time.perf_counter()
        call((hot, cold, float(done), float(total)), count)
        seconds = max(time.perf_counter() - started, 1e-6)
        done += count
        run.add_iterations(count)
        if after(done / total) or run.should_stop():
            return
        count, pace = longest, count / seconds
        if run.remaining < np.inf:
            count = min(longest, 2 ** int(np.log2(max(_FIRST_CALL, pace * run.remaining / 8))))
        affordable = pace * max(run.remaining - reserve, 0.0) * 0.9
        if affordable < total - done:
            hot *= (cold / hot) ** (done / total)
            done, total = 0, max(1, int(affordable))


def quota_of(run: Run, num_chains: int) -> int | None:
    """Share an iteration limit between chains, so that none depends on another's pace."""
    left = run.iterations_left
    return None if left is None else left // num_chains


def budget(run: Run, usual: int) -> int:
    """Proposals of a chain: the usual number, or up to 100 times as many if there is a clock.

    Quality grows with the logarithm of the number of proposals, so that more is hardly worth it.
    """
    factor = 100 if run.fills_time else 1
    return max(1, int(usual * factor * run.effort))


def run_together(tasks: Sequence[Callable[[], BoolArray | None]], run: Run) -> None:
    """Run independent chains in threads and submit what they found in the order of the tasks.

    With several workers a task must not look at the incumbent, or the result depends on who is
    faster. Ctrl-C lets every chain end after its current call and still submit its best subset.
    """
    if run.limits.num_workers == 1:
        for task in tasks:
            _submit(task(), run)
        return
    with ThreadPoolExecutor(run.limits.num_workers) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            wait(futures)
        except KeyboardInterrupt:
            run.limit = "interrupted"
        for future in futures:
            _submit(future.result(), run)


def _submit(found: BoolArray | None, run: Run) -> None:
    if found is not None:
        run.submit(found)


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

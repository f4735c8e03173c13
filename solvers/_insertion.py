"""Few examples to choose: take the best one again and again, from nothing.

Where that costs little it finds starts that neither the relaxation nor swaps reach: with a dozen of
20,000 to choose, weights between 0 and 1 say little. `_local_search.LocalSearch.fill` takes best
choices too, but with products updated through a Gram matrix where here S is read again; what these
round differently can decide a choice, so one loop for both would change the answers.
"""

from __future__ import annotations

import time

import numpy as np

from subsetsel.engine.run import Run
from subsetsel.problem.linear import find_mask
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray

from ._chains import search_rows
from ._settled import sums_to_zero

# Up to this share of all examples counts as few.
_RARE = 0.05
# Share of the remaining time, and passes over S where no clock sets their number.
_SHARE, _NUM_PASSES = 0.2, 64
# One pass chooses up to _MOST_PER_PASS examples, from _CANDIDATES times as many.
_MOST_PER_PASS, _CANDIDATES = 64, 4
# Eq. 3: the choices of one pass grow by one for every so many chosen before.
_PER_CHOSEN = 32


def choose_few(problem: Problem, run: Run) -> tuple[BoolArray, float] | None:
    """Eq. 4: best choices from nothing pruned or from nothing kept; the subset and its norm.

    None where more than a few examples are to be chosen.
    """
    assert problem.size is not None
    num_pruned = problem.size - int(problem.must_prune.sum())
    num_kept = problem.n - problem.size - int(problem.must_keep.sum())
    is_pruning = num_pruned <= num_kept
    wanted = min(num_pruned, num_kept)
    # Where pruned and kept have the same norm, best choices would keep a few small rows alone,
    # which have no curvature.
    if not 0 < wanted <= _RARE * problem.n or (not is_pruning and sums_to_zero(problem)):
        return None
    mask = problem.must_prune.copy() if is_pruning else ~problem.must_keep
    rows, total, is_exact = search_rows(problem, mask)
    passes = _Passes(run)
    while is_exact and wanted and not run.should_stop():
        count = passes.next_count(wanted)
        if count > _MOST_PER_PASS:
            return None
        chosen = _best(problem, rows, mask, total, count, is_pruning)
        mask[chosen] = is_pruning
        wanted -= chosen.size
        run.add_iterations(chosen.size)
    found = _submit(problem, run, mask) if is_exact and not wanted else None
    return None if found is None else (found, float(np.linalg.norm(run.sum_of(found))))


def choose_until_full(problem: Problem, run: Run, most: int | None = None) -> None:
    """Eq. 3: submit what best choices from nothing lead to, ``most`` of them at most."""
    mask = problem.must_prune.copy()
    rows, total, is_exact = search_rows(problem, mask)
    size = int(mask.sum())
    end = problem.max_size if most is None else min(problem.max_size, size + most)
    passes, is_coarse = _Passes(run), True
    while is_exact and size < end and passes.left >= 1 and not run.should_stop():
        passes.next_count(1)
        count = min(1 + size // _PER_CHOSEN if is_coarse else 1, _MOST_PER_PASS, end - size)
        before = total.copy()
        chosen = _best(problem, rows, mask, total, count, is_pruning=True)
        if not chosen.size or np.linalg.norm(total) > problem.radius(size + chosen.size):
            if count == 1:
                break
            total, is_coarse = before, False
            continue
        mask[chosen] = True
        size += chosen.size
        run.add_iterations(chosen.size)
    _submit(problem, run, mask)


class _Passes:
    """How many passes over S may be spent, by the clock where there is one."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.num_made = 0
        self.started = time.perf_counter()
        self.allowed_time = _SHARE * run.remaining
        most = round(_NUM_PASSES * run.effort)
        left = run.iterations_left
        self.most = most if left is None else min(most, left // 10)

    @property
    def left(self) -> float:
        if not np.isfinite(self.allowed_time) or self.run.iterations_left is not None:
            return self.most - self.num_made
        elapsed = time.perf_counter() - self.started
        each = elapsed / self.num_made if self.num_made else self.run.problem.rows.pass_time
        return (self.allowed_time - elapsed) / max(each, 1e-7)

    def next_count(self, wanted: int) -> int:
        """How many to choose in the next pass: one in each of the last half, which decides most."""
        half = max(0.5 * self.left, 0.5)
        self.num_made += 1
        return max(1, int(np.ceil((wanted - half) / half)))


def _best(
    problem: Problem,
    rows: AnyFloatArray,
    mask: BoolArray,
    total: FloatArray,
    count: int,
    is_pruning: bool,
) -> IndexArray:
    """Choose the examples that leave the smallest norm, one after the other; updates ``total``."""
    sign = 1.0 if is_pruning else -1.0
    pull = (rows @ total.astype(rows.dtype)).astype(np.float64)
    costs = 2.0 * sign * pull + problem.rows.squared_norms
    costs[~problem.free | (mask == is_pruning)] = np.inf
    num_near = min(problem.n, count * _CANDIDATES if count > 1 else 1)
    near = np.sort(np.argpartition(costs, num_near - 1)[:num_near])
    near = near[np.isfinite(costs[near])]
    candidates, cost = rows[near].astype(np.float64), costs[near]
    chosen = []
    for _ in range(min(count, near.size)):
        best = int(np.argmin(cost))
        chosen.append(near[best])
        total += sign * candidates[best]
        cost += 2.0 * (candidates @ candidates[best])
        cost[best] = np.inf
    return np.array(chosen, dtype=np.int64)


def _submit(problem: Problem, run: Run, mask: BoolArray) -> BoolArray | None:
    """Submit a subset, brought within the linear constraints, and return it."""
    found: BoolArray | None = mask
    if len(problem.constraints):
        found = find_mask(problem, wanted=mask, seed=int(run.limits.seed))
    if found is not None:
        run.submit(found)
    return found

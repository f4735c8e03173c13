"""Metropolis chains on the rows themselves: O(d) proposals and accepts.

Calls, clock and ``state`` are those of `_gram_kernels`. A walker here asks for the linear limits
before it computes a change of the norm in O(d), one there computes the change in O(1) first. That
draws random numbers in another order, so one loop for both would change what either finds.

Shapes: rows (n, d), mask (n,) bool, total (d,) = W^T S, order (f,) the free examples, sorted_norms
(f,) their squared norms where ``order`` ascends by them; mask and total are modified in place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from subsetsel.problem.constraints import Columns
from subsetsel.support.jit import njit

from . import _shared_kernels as shared
from ._shared_kernels import Schedule

Array = NDArray[Any]

# Rows whose curvature is above this many temperatures are hardly ever accepted.
REACH = 30.0


# Reassociation lets the sums use vector registers: the loop is then bound by memory.
@njit(nogil=True, fastmath={"reassoc", "contract"})
def swap_change(rows: Array, total: Array, leaving: int, joining: int) -> float:
    """Change of ||total||^2 when one row leaves and one joins."""
    change = 0.0
    for k in range(total.size):
        step = rows[joining, k] - rows[leaving, k]
        change += step * (2.0 * total[k] + step)
    return change


@njit(nogil=True, fastmath={"reassoc", "contract"})
def flip_change(rows: Array, total: Array, i: int, sign: float) -> float:
    """Change of ||total||^2 when ``sign`` times row i is added."""
    change = 0.0
    for k in range(total.size):
        step = sign * rows[i, k]
        change += step * (2.0 * total[k] + step)
    return change


@njit(nogil=True)
def num_reachable(sorted_norms: Array, reach: float) -> int:
    """How many examples have a squared norm below ``reach``; at least 64, where there are."""
    return min(sorted_norms.size, max(int(np.searchsorted(sorted_norms, reach)), 64))


@njit(nogil=True, calls=shared.KERNELS)
def row_swaps(
    rows: Array,
    mask: Array,
    total: Array,
    order: Array,
    sorted_norms: Array,
    reach: float,
    columns: Columns,
    rng: Generator,
    schedule: Schedule,
    num_proposals: int,
) -> None:
    """Swap under the energy ||v||^2.

    Proposed are examples with a squared norm of at most ``reach`` times the temperature, since
    larger ones would hardly ever be accepted; an infinite ``reach`` proposes all of them.
    """
    temperature = schedule[0]
    reachable = order.size
    for step in range(num_proposals):
        if step % shared.STRIDE == 0:
            temperature = shared.temperature_at(schedule, step)
            if reach < math.inf:
                reachable = num_reachable(sorted_norms, reach * temperature)
        i = order[int(rng.random() * reachable)]
        j = order[int(rng.random() * reachable)]
        # One side may be rare: look a little longer for its partner before giving up.
        for _ in range(64):
            if mask[j] != mask[i]:
                break
            j = order[int(rng.random() * reachable)]
        if mask[i] == mask[j]:
            continue
        leaving = i if mask[i] else j
        joining = j if mask[i] else i
        if not shared.is_allowed(columns, leaving, joining):
            continue
        if not shared.is_accepted(swap_change(rows, total, leaving, joining), temperature, rng):
            continue
        shared.apply_move(columns, leaving, joining)
        mask[leaving] = False
        mask[joining] = True
        for k in range(total.size):
            total[k] += rows[joining, k] - rows[leaving, k]


@njit(nogil=True, calls=shared.KERNELS)
def row_flips(
    rows: Array,
    mask: Array,
    total: Array,
    order: Array,
    sorted_norms: Array,
    state: Array,
    columns: Columns,
    rng: Generator,
    best_mask: Array,
    schedule: Schedule,
    num_proposals: int,
) -> None:
    """Flip and swap under the energy of `_gram_kernels.gram_flips`.

    Proposed are examples whose curvature the temperature can pay for.
    """
    squared, count, lam, epsilon, best = state
    allowed, first = epsilon * epsilon, lam
    temperature = schedule[0]
    reachable = order.size
    for step in range(num_proposals):
        if step % shared.STRIDE == 0:
            temperature = shared.temperature_at(schedule, step)
            lam = shared.follow_norm(lam, first, squared, epsilon)
            reachable = num_reachable(sorted_norms, 2.0 * lam * (REACH * temperature + 1.0))
        i = order[int(rng.random() * reachable)]
        j = -1
        if rng.random() < 0.5:
            other = order[int(rng.random() * reachable)]
            if mask[other] != mask[i]:
                j = other
        leaving = i if mask[i] else j
        joining = j if mask[i] else i
        if not shared.is_allowed(columns, leaving, joining):
            continue
        if j >= 0:
            change = swap_change(rows, total, leaving, joining)
            num_added = 0.0
        else:
            num_added = -1.0 if mask[i] else 1.0
            change = flip_change(rows, total, i, num_added)
        if not shared.is_accepted(0.5 * change / lam - num_added, temperature, rng):
            continue
        shared.apply_move(columns, leaving, joining)
        shared.move_row(mask, total, rows, leaving, joining)
        squared = max(0.0, squared + change)
        count += num_added
        if count > best and squared <= allowed:
            best = count
            best_mask[:] = mask
    state[0], state[1], state[2], state[4] = squared, count, lam, best


@njit(nogil=True, calls=shared.KERNELS)
def penalty_flips(
    rows: Array,
    mask: Array,
    total: Array,
    order: Array,
    state: Array,
    columns: Columns,
    rng: Generator,
    best_mask: Array,
    schedule: Schedule,
    num_proposals: int,
) -> None:
    """Flip any free example under penalty * max(0, ||v|| - epsilon) - count, the paper's energy.

    ``state[2]`` is the penalty; ``order`` may be in any order.
    """
    squared, count, penalty, epsilon, best = state
    temperature = schedule[0]
    excess = max(0.0, math.sqrt(squared) - epsilon)
    for step in range(num_proposals):
        if step % shared.STRIDE == 0:
            temperature = shared.temperature_at(schedule, step)
        i = order[int(rng.random() * order.size)]
        leaving = i if mask[i] else -1
        joining = -1 if mask[i] else i
        if not shared.is_allowed(columns, leaving, joining):
            continue
        sign = -1.0 if mask[i] else 1.0
        proposed = max(0.0, squared + flip_change(rows, total, i, sign))
        new_excess = max(0.0, math.sqrt(proposed) - epsilon)
        if not shared.is_accepted(penalty * (new_excess - excess) - sign, temperature, rng):
            continue
        shared.apply_move(columns, leaving, joining)
        mask[i] = not mask[i]
        for k in range(total.size):
            total[k] += sign * rows[i, k]
        squared, excess, count = proposed, new_excess, count + sign
        if count > best and excess == 0.0:
            best = count
            best_mask[:] = mask
    state[0], state[1], state[4] = squared, count, best

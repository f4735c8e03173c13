"""Metropolis chains on examples whose Gram matrix is at hand: O(1) proposals, O(k) accepts.

Every kernel makes ``num_proposals`` proposals and returns, so that Python can watch the clock.
State is passed in and modified in place: ten calls of a thousand proposals walk the same path as
one call of ten thousand. v is W^T S, the sum of the pruned rows.
"""

from __future__ import annotations

from typing import Any

from numpy.random import Generator
from numpy.typing import NDArray

from subsetsel.problem.constraints import Columns
from subsetsel.support.jit import njit

from . import _shared_kernels as shared
from ._shared_kernels import Schedule

Array = NDArray[Any]


@njit(nogil=True, calls=shared.KERNELS)
def gram_flips(
    gram: Array,
    chosen: Array,
    products: Array,
    state: Array,
    columns: Columns,
    rng: Generator,
    best_chosen: Array,
    schedule: Schedule,
    num_proposals: int,
) -> None:
    """Flip and swap under the energy ||v||^2 / (2 lam) - count.

    Near ||v|| = epsilon its slope in ||v|| is that of the dual, so flips stay alive at low
    temperature, where a penalty with a kink would leave only swaps.

    Shapes: gram (k, k), chosen (k,) bool, products (k,) = s_i . v, best_chosen (k,) bool, the best
    feasible subset met; state (5,) = ||v||^2, count, lam, epsilon, best count (-1 for none).
    """
    k = chosen.size
    squared, count, lam, epsilon, best = state
    allowed, first = epsilon * epsilon, lam
    temperature = schedule[0]
    inverse = 0.5 / lam
    for step in range(num_proposals):
        if step % shared.STRIDE == 0:
            temperature = shared.temperature_at(schedule, step)
            lam = shared.follow_norm(lam, first, squared, epsilon)
            inverse = 0.5 / lam
        i = int(rng.random() * k)
        change = (-2.0 if chosen[i] else 2.0) * products[i] + gram[i, i]
        num_added = -1 if chosen[i] else 1
        j = -1
        if rng.random() < 0.5:
            other = int(rng.random() * k)
            if chosen[other] != chosen[i]:
                j = other
                change += (-2.0 if chosen[j] else 2.0) * products[j] + gram[j, j]
                change -= 2.0 * gram[i, j]
                num_added = 0
        if not shared.is_accepted(change * inverse - num_added, temperature, rng):
            continue
        leaving = i if chosen[i] else j
        joining = j if chosen[i] else i
        if not shared.is_allowed(columns, leaving, joining):
            continue
        shared.apply_move(columns, leaving, joining)
        shared.move_row(chosen, products, gram, leaving, joining)
        squared = max(0.0, squared + change)
        count += num_added
        if count > best and squared <= allowed:
            best = count
            best_chosen[:] = chosen
    state[0], state[1], state[2], state[4] = squared, count, lam, best


@njit(nogil=True, calls=shared.KERNELS)
def gram_swaps(
    gram: Array,
    pruned: Array,
    kept: Array,
    products: Array,
    state: Array,
    columns: Columns,
    rng: Generator,
    schedule: Schedule,
    num_proposals: int,
) -> None:
    """Swap under the energy ||v||^2, which is ``state[0]``.

    Shapes: gram (k, k), products (k,) = s_i . v; pruned and kept hold positions in the Gram matrix.
    """
    temperature = schedule[0]
    squared = state[0]
    for step in range(num_proposals):
        if step % shared.STRIDE == 0:
            temperature = shared.temperature_at(schedule, step)
        p = int(rng.random() * pruned.size)
        q = int(rng.random() * kept.size)
        i, j = pruned[p], kept[q]
        change = 2.0 * (products[j] - products[i]) + gram[i, i] + gram[j, j] - 2.0 * gram[i, j]
        if not shared.is_accepted(change, temperature, rng):
            continue
        if not shared.is_allowed(columns, i, j):
            continue
        shared.apply_move(columns, i, j)
        pruned[p], kept[q] = j, i
        for m in range(products.size):
            products[m] += gram[j, m] - gram[i, m]
        squared = max(0.0, squared + change)
    state[0] = squared

"""Compiled Metropolis chains of the annealer.

All kernels that call each other live in this file: the on-disk cache does not see edits elsewhere.
Every kernel runs a bounded number of proposals and returns, so that Python holds the clock; state
is passed in and out, and ten calls of a thousand proposals walk the same path as one of ten
thousand. A ``schedule`` is (hot, cold, done, total): the temperature falls geometrically from hot
to cold over ``total`` proposals, ``done`` of which were made before this call.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from subsetsel.support.jit import njit

Array = NDArray[Any]

# Proposals between two updates of the temperature.
STRIDE = 256
# Rows whose curvature is above this many temperatures are hardly ever accepted.
REACH = 30.0


class Columns(NamedTuple):
    """Linear constraints by column, with the left-hand sides of the current subset.

    ``starts`` (k + 1,), ``members`` and ``coefficients`` list what each example adds to which
    constraint; ``activity``, ``lower`` and ``upper`` have shape (c,).
    """

    starts: Array
    members: Array
    coefficients: Array
    activity: Array
    lower: Array
    upper: Array


@njit(nogil=True)
def is_allowed(columns: Columns, leaving: int, joining: int) -> bool:
    """Whether one example may leave and one may join the pruned set; -1 for none."""
    if columns.lower.size == 0:
        return True
    activity = columns.activity
    allowed = True
    apply_move(columns, leaving, joining)
    for side in range(2):
        i = leaving if side == 0 else joining
        if i >= 0:
            for entry in range(columns.starts[i], columns.starts[i + 1]):
                c = columns.members[entry]
                if activity[c] < columns.lower[c] or activity[c] > columns.upper[c]:
                    allowed = False
    apply_move(columns, joining, leaving)
    return allowed


@njit(nogil=True)
def apply_move(columns: Columns, leaving: int, joining: int) -> None:
    """Update the left-hand sides."""
    if leaving >= 0:
        for entry in range(columns.starts[leaving], columns.starts[leaving + 1]):
            columns.activity[columns.members[entry]] -= columns.coefficients[entry]
    if joining >= 0:
        for entry in range(columns.starts[joining], columns.starts[joining + 1]):
            columns.activity[columns.members[entry]] += columns.coefficients[entry]


@njit(nogil=True)
def core_chain(
    gram: Array,
    chosen: Array,
    products: Array,
    state: Array,
    columns: Columns,
    schedule: tuple[float, float, float, float],
    num_proposals: int,
    rng: Generator,
    best_chosen: Array,
) -> int:
    """Flip and swap on a core whose Gram matrix is at hand: O(1) proposals, O(k) accepts.

    The energy is ||v||^2 / (2 lam) - count. Near ||v|| = epsilon its slope in ||v|| is that of the
    dual, so flips stay alive at low temperature, where a penalty with a kink would leave only
    swaps; lam follows the norm, which hovers around epsilon.

    Parameters
    ----------
    gram : (k, k) float64
        Inner products of the core's rows.
    chosen : (k,) bool
        The pruned ones; modified in place.
    products : (k,) float64
        s_i . v for each core row; modified in place.
    state : (5,) float64
        ||v||^2, count, lam, epsilon, best feasible count (-1 for none); modified in place.
    columns : Columns
    schedule : (float, float, float, float)
    num_proposals : int
    rng : numpy.random.Generator
    best_chosen : (k,) bool
        The core of the best feasible subset met; modified in place.

    Returns
    -------
    int
        Accepted proposals.
    """
    k = chosen.size
    squared, count, lam, epsilon, best = state
    allowed = epsilon * epsilon
    least_lam, most_lam = 1e-3 * lam, 1e3 * lam
    hot, cold, done, total_proposals = schedule
    decay = math.log(cold / hot) / total_proposals
    temperature = hot
    inverse = 0.5 / lam
    num_accepted = 0
    for step in range(num_proposals):
        if step % STRIDE == 0:
            temperature = hot * math.exp(decay * (done + step))
            # A slow pull: one e-fold of the norm moves lam by 2 % per stride.
            pull = math.log(max(allowed, 1e-300) / max(squared, 1e-300))
            lam = min(most_lam, max(least_lam, lam * math.exp(0.01 * pull)))
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
        energy = change * inverse - num_added
        if energy > 0.0 and rng.random() >= math.exp(-energy / temperature):
            continue
        leaving = i if chosen[i] else j
        joining = j if chosen[i] else i
        if not is_allowed(columns, leaving, joining):
            continue
        num_accepted += 1
        apply_move(columns, leaving, joining)
        if leaving >= 0:
            chosen[leaving] = False
            row = gram[leaving]
            for m in range(k):
                products[m] -= row[m]
        if joining >= 0:
            chosen[joining] = True
            row = gram[joining]
            for m in range(k):
                products[m] += row[m]
        squared = max(0.0, squared + change)
        count += num_added
        if count > best and squared <= allowed:
            best = count
            best_chosen[:] = chosen
    state[0], state[1], state[2], state[4] = squared, count, lam, best
    return num_accepted


@njit(nogil=True)
def core_swaps(
    gram: Array,
    pruned: Array,
    kept: Array,
    products: Array,
    state: Array,
    columns: Columns,
    schedule: tuple[float, float, float, float],
    num_proposals: int,
    rng: Generator,
) -> int:
    """Swap on a core whose Gram matrix is at hand; the energy is ||v||^2.

    Parameters
    ----------
    gram : (k, k) float64
    pruned, kept : int64
        Positions in the core on either side; modified in place.
    products : (k,) float64
        s_i . v; modified in place.
    state : (1,) float64
        ||v||^2; modified in place.
    columns, schedule, num_proposals, rng
        As in `core_chain`.

    Returns
    -------
    int
        Accepted proposals.
    """
    hot, cold, done, total_proposals = schedule
    decay = math.log(cold / hot) / total_proposals
    temperature = hot
    num_accepted = 0
    squared = state[0]
    for step in range(num_proposals):
        if step % STRIDE == 0:
            temperature = hot * math.exp(decay * (done + step))
        p = int(rng.random() * pruned.size)
        q = int(rng.random() * kept.size)
        i, j = pruned[p], kept[q]
        change = 2.0 * (products[j] - products[i]) + gram[i, i] + gram[j, j] - 2.0 * gram[i, j]
        if change > 0.0 and rng.random() >= math.exp(-change / temperature):
            continue
        if not is_allowed(columns, i, j):
            continue
        num_accepted += 1
        apply_move(columns, i, j)
        pruned[p], kept[q] = j, i
        for m in range(products.size):
            products[m] += gram[j, m] - gram[i, m]
        squared = max(0.0, squared + change)
    state[0] = squared
    return num_accepted


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
def row_swaps(
    rows: Array,
    mask: Array,
    total: Array,
    order: Array,
    sorted_norms: Array,
    reach: float,
    columns: Columns,
    schedule: tuple[float, float, float, float],
    num_proposals: int,
    rng: Generator,
) -> int:
    """Swap on the rows themselves; the energy is ||v||^2.

    Only examples with a squared norm of at most ``reach`` times the temperature are proposed:
    larger ones would hardly ever be accepted.

    Parameters
    ----------
    rows : (n, d) float32 or float64
    mask : (n,) bool
        True means pruned; modified in place.
    total : (d,) float64
        W^T S; modified in place.
    order : (f,) int64
        Free examples by ascending norm.
    sorted_norms : (f,) float64
        Their squared norms.
    reach : float
        Infinity proposes everything always.
    columns, schedule, num_proposals, rng
        As in `core_chain`.

    Returns
    -------
    int
        Accepted proposals.
    """
    hot, cold, done, total_proposals = schedule
    decay = math.log(cold / hot) / total_proposals
    temperature = hot
    num_accepted = 0
    reachable = order.size
    for step in range(num_proposals):
        if step % STRIDE == 0:
            temperature = hot * math.exp(decay * (done + step))
            if reach < math.inf:
                reachable = int(np.searchsorted(sorted_norms, reach * temperature))
                reachable = min(order.size, max(reachable, 64))
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
        if not is_allowed(columns, leaving, joining):
            continue
        change = swap_change(rows, total, leaving, joining)
        if change > 0.0 and rng.random() >= math.exp(-change / temperature):
            continue
        num_accepted += 1
        apply_move(columns, leaving, joining)
        mask[leaving] = False
        mask[joining] = True
        for k in range(total.size):
            total[k] += rows[joining, k] - rows[leaving, k]
    return num_accepted


@njit(nogil=True)
def row_flips(
    rows: Array,
    mask: Array,
    total: Array,
    order: Array,
    sorted_norms: Array,
    state: Array,
    columns: Columns,
    schedule: tuple[float, float, float, float],
    num_proposals: int,
    rng: Generator,
    best_mask: Array,
) -> int:
    """Flip and swap on the rows themselves; the energy and ``state`` are those of `core_chain`.

    Parameters
    ----------
    rows, mask, total, order, sorted_norms
        As in `row_swaps`; proposals are limited to rows whose curvature the temperature can pay.
    state, columns, schedule, num_proposals, rng
        As in `core_chain`.
    best_mask : (n,) bool
        The best feasible subset met; modified in place.

    Returns
    -------
    int
        Accepted proposals.
    """
    squared, count, lam, epsilon, best = state
    allowed = epsilon * epsilon
    least_lam, most_lam = 1e-3 * lam, 1e3 * lam
    hot, cold, done, total_proposals = schedule
    decay = math.log(cold / hot) / total_proposals
    temperature = hot
    num_accepted = 0
    reachable = order.size
    for step in range(num_proposals):
        if step % STRIDE == 0:
            temperature = hot * math.exp(decay * (done + step))
            pull = math.log(max(allowed, 1e-300) / max(squared, 1e-300))
            lam = min(most_lam, max(least_lam, lam * math.exp(0.01 * pull)))
            reach = 2.0 * lam * (REACH * temperature + 1.0)
            reachable = int(np.searchsorted(sorted_norms, reach))
            reachable = min(order.size, max(reachable, 64))
        i = order[int(rng.random() * reachable)]
        j = -1
        if rng.random() < 0.5:
            other = order[int(rng.random() * reachable)]
            if mask[other] != mask[i]:
                j = other
        leaving = i if mask[i] else j
        joining = j if mask[i] else i
        if not is_allowed(columns, leaving, joining):
            continue
        if j >= 0:
            change = swap_change(rows, total, leaving, joining)
            num_added = 0.0
        else:
            num_added = -1.0 if mask[i] else 1.0
            change = flip_change(rows, total, i, num_added)
        energy = 0.5 * change / lam - num_added
        if energy > 0.0 and rng.random() >= math.exp(-energy / temperature):
            continue
        num_accepted += 1
        apply_move(columns, leaving, joining)
        if leaving >= 0:
            mask[leaving] = False
            for k in range(total.size):
                total[k] -= rows[leaving, k]
        if joining >= 0:
            mask[joining] = True
            for k in range(total.size):
                total[k] += rows[joining, k]
        squared = max(0.0, squared + change)
        count += num_added
        if count > best and squared <= allowed:
            best = count
            best_mask[:] = mask
    state[0], state[1], state[2], state[4] = squared, count, lam, best
    return num_accepted


@njit(nogil=True)
def penalty_flips(
    rows: Array,
    mask: Array,
    total: Array,
    order: Array,
    state: Array,
    columns: Columns,
    schedule: tuple[float, float, float, float],
    num_proposals: int,
    rng: Generator,
    best_mask: Array,
) -> int:
    """Flip any free example with a penalty outside the ball: the paper's own annealing.

    The energy is penalty * max(0, ||v|| - epsilon) - count.

    Parameters
    ----------
    rows, mask, total, order
        As in `row_swaps`; the order of the free examples does not matter.
    state : (5,) float64
        ||v||^2, count, penalty, epsilon, best feasible count (-1 for none); modified in place.
    columns, schedule, num_proposals, rng
        As in `core_chain`.
    best_mask : (n,) bool
        The best feasible subset met; modified in place.

    Returns
    -------
    int
        Accepted proposals.
    """
    squared, count, penalty, epsilon, best = state
    hot, cold, done, total_proposals = schedule
    decay = math.log(cold / hot) / total_proposals
    temperature = hot
    excess = max(0.0, math.sqrt(squared) - epsilon)
    num_accepted = 0
    for step in range(num_proposals):
        if step % STRIDE == 0:
            temperature = hot * math.exp(decay * (done + step))
        i = order[int(rng.random() * order.size)]
        leaving = i if mask[i] else -1
        joining = -1 if mask[i] else i
        if not is_allowed(columns, leaving, joining):
            continue
        sign = -1.0 if mask[i] else 1.0
        proposed = max(0.0, squared + flip_change(rows, total, i, sign))
        new_excess = max(0.0, math.sqrt(proposed) - epsilon)
        energy = penalty * (new_excess - excess) - sign
        if energy > 0.0 and rng.random() >= math.exp(-energy / temperature):
            continue
        num_accepted += 1
        apply_move(columns, leaving, joining)
        mask[i] = not mask[i]
        for k in range(total.size):
            total[k] += sign * rows[i, k]
        squared, excess, count = proposed, new_excess, count + sign
        if count > best and excess == 0.0:
            best = count
            best_mask[:] = mask
    state[0], state[1], state[4] = squared, count, best
    return num_accepted

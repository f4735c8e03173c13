"""Compiled best moves inside a pool of examples whose Gram matrix is at hand.

All kernels that call each other live in this file: the on-disk cache does not see edits elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsetsel.support.jit import njit

Array = NDArray[Any]

# Positions in `state`.
SQUARED, SIZE, BEST_SQUARED, STEP, NUM_STALE = 0, 1, 2, 3, 4


class Pool(NamedTuple):
    """K examples and everything that does not change while they are moved.

    Attributes
    ----------
    gram : (K, K) float32 or float64
        s_i . s_j.
    squared_norms : (K,) float64
    starts, members, coefficients
        Their columns of the constraint matrix in compressed form.
    """

    gram: Array
    squared_norms: Array
    starts: Array
    members: Array
    coefficients: Array


@njit(nogil=True)
def can_move(pool: Pool, limits: Array, enters: int, leaves: int) -> bool:
    """Whether the linear constraints hold once ``enters`` is pruned and ``leaves`` is kept.

    Parameters
    ----------
    limits : (3, c) float64
        Left-hand sides now, lower limits, upper limits.
    enters, leaves : int
        Positions in the pool; -1 for none.

    Returns
    -------
    bool
    """
    if enters >= 0:
        for e in range(pool.starts[enters], pool.starts[enters + 1]):
            c = pool.members[e]
            value = limits[0, c] + pool.coefficients[e]
            if leaves >= 0:
                for f in range(pool.starts[leaves], pool.starts[leaves + 1]):
                    if pool.members[f] == c:
                        value -= pool.coefficients[f]
            if value < limits[1, c] or value > limits[2, c]:
                return False
    if leaves >= 0:
        for f in range(pool.starts[leaves], pool.starts[leaves + 1]):
            c = pool.members[f]
            value = limits[0, c] - pool.coefficients[f]
            if enters >= 0:
                for e in range(pool.starts[enters], pool.starts[enters + 1]):
                    if pool.members[e] == c:
                        value += pool.coefficients[e]
            if value < limits[1, c] or value > limits[2, c]:
                return False
    return True


@njit(nogil=True)
def flip(pool: Pool, limits: Array, chosen: Array, gains: Array, state: Array, i: int) -> None:
    """Move one example to the other side and update everything in place."""
    sign = -1.0 if chosen[i] else 1.0
    state[SQUARED] += 2.0 * sign * gains[i] + pool.squared_norms[i]
    state[SIZE] += sign
    chosen[i] = not chosen[i]
    for j in range(gains.size):
        gains[j] += sign * pool.gram[i, j]
    for e in range(pool.starts[i], pool.starts[i + 1]):
        limits[0, pool.members[e]] += sign * pool.coefficients[e]


@njit(nogil=True)
def flip_best(
    pool: Pool,
    limits: Array,
    chosen: Array,
    gains: Array,
    state: Array,
    ball: Array,
    enters: bool,
    max_moves: int,
) -> int:
    """Prune (or keep) again and again the example that leaves the smallest norm.

    Parameters
    ----------
    pool, limits
        See `Pool` and `can_move`; ``limits`` is modified in place.
    chosen : (K,) bool
        Which are pruned; modified in place.
    gains : (K,) float64
        s_i . v with v = W^T S; modified in place.
    state : (5,) float64
        Squared norm and size; modified in place.
    ball : (2,) float64
        Pruning stops before the norm exceeds ``ball[0] - ball[1] * size``.
    enters : bool
        Prune, else keep.
    max_moves : int

    Returns
    -------
    int
        Moves made; fewer than ``max_moves`` if none was left.
    """
    sign = 1.0 if enters else -1.0
    for move in range(max_moves):
        best, lowest = -1, np.inf
        for i in range(gains.size):
            if chosen[i] == enters:
                continue
            value = 2.0 * sign * gains[i] + pool.squared_norms[i]
            if value < lowest:
                is_open = can_move(pool, limits, i, -1) if enters else can_move(pool, limits, -1, i)
                if is_open:
                    best, lowest = i, value
        if best < 0:
            return move
        radius = ball[0] - ball[1] * (state[SIZE] + 1.0)
        if enters and (radius < 0.0 or state[SQUARED] + lowest > radius * radius):
            return move
        flip(pool, limits, chosen, gains, state, best)
    return max_moves


@njit(nogil=True)
def best_swap(
    pool: Pool, limits: Array, chosen: Array, gains: Array, state: Array, tabu: Array
) -> tuple[int, int, float]:
    """Find the exchange of a pruned and a kept example that leaves the smallest norm.

    Parameters
    ----------
    tabu : (K,) int64
        Examples are passed over until ``state[STEP]`` reaches this, unless the exchange is better
        than everything so far.

    Returns
    -------
    enters, leaves : int
        -1 and -1 if there is none.
    change : float
        Of the squared norm.
    """
    num = gains.size
    outside = np.flatnonzero(~chosen)
    inside = np.flatnonzero(chosen)
    enters, leaves = -1, -1
    lowest = np.inf
    aspired = state[BEST_SQUARED] * (1.0 - 1e-9) - state[SQUARED]
    costs = np.empty(num)
    for j in inside:
        costs[j] = pool.squared_norms[j] - 2.0 * gains[j]
    for i in outside:
        own = 2.0 * gains[i] + pool.squared_norms[i]
        for j in inside:
            change = own + costs[j] - 2.0 * pool.gram[i, j]
            if change >= lowest:
                continue
            is_tabu = tabu[i] > state[STEP] or tabu[j] > state[STEP]
            if is_tabu and change >= aspired:
                continue
            if can_move(pool, limits, int(i), int(j)):
                enters, leaves = int(i), int(j)
                lowest = change
    return enters, leaves, lowest


@njit(nogil=True)
def swap_best(
    pool: Pool,
    limits: Array,
    chosen: Array,
    gains: Array,
    state: Array,
    best: Array,
    tabu: Array,
    goal: float,
    patience: int,
    max_moves: int,
) -> int:
    """Make best exchanges; past a local optimum, tabu ones that may raise the norm.

    Parameters
    ----------
    pool, limits, chosen, gains, tabu
        As above.
    state : (5,) float64
        Squared norm, size, the smallest squared norm so far, moves so far, moves since then.
    best : (K,) bool
        Receives ``chosen`` at the smallest norm.
    goal : float
        Stop once the squared norm is at most this.
    patience : int
        Moves without a new smallest norm that are allowed.
    max_moves : int

    Returns
    -------
    int
        Moves made; fewer than ``max_moves`` where the goal was reached or patience ended.
    """
    for move in range(max_moves):
        if state[BEST_SQUARED] <= goal or state[NUM_STALE] > patience:
            return move
        enters, leaves, change = best_swap(pool, limits, chosen, gains, state, tabu)
        if enters < 0 or (patience == 0 and change >= -1e-12 * state[SQUARED]):
            return move
        flip(pool, limits, chosen, gains, state, leaves)
        flip(pool, limits, chosen, gains, state, enters)
        state[STEP] += 1.0
        # An example that entered may do more harm when it leaves at once than the other way round.
        tabu[enters] = np.int64(state[STEP]) + 8 + (np.int64(state[STEP]) * 7) % 8
        tabu[leaves] = np.int64(state[STEP]) + 4 + (np.int64(state[STEP]) * 5) % 8
        state[NUM_STALE] += 1.0
        if state[SQUARED] < state[BEST_SQUARED] * (1.0 - 1e-9):
            # Crumbs are taken along, but do not buy more patience.
            if state[SQUARED] < state[BEST_SQUARED] * (1.0 - 1e-4):
                state[NUM_STALE] = 0.0
            state[BEST_SQUARED] = state[SQUARED]
            best[:] = chosen
    return max_moves

"""Best moves inside a pool of examples whose Gram matrix is at hand.

Shapes, for K examples: chosen (K,) bool says who is pruned, gains (K,) is s_i . v with v = W^T S,
state (5,) the squared norm, the size, the smallest squared norm so far, the exchanges made, and
those made since the smallest norm. All of them are modified in place, and so are the left-hand
sides in ``pool.columns``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsetsel.problem.constraints import Columns
from subsetsel.support.jit import njit

from ._shared_kernels import KERNELS, apply_move, is_allowed, move_row

Array = NDArray[Any]

# Positions in `state`.
SQUARED, SIZE, BEST_SQUARED, STEP, NUM_STALE = 0, 1, 2, 3, 4


class Pool(NamedTuple):
    """K examples: s_i . s_j (K, K), their squared norms (K,), their linear constraints."""

    gram: Array
    squared_norms: Array
    columns: Columns


@njit(nogil=True, calls=KERNELS)
def flip(pool: Pool, chosen: Array, gains: Array, state: Array, i: int) -> None:
    """Move one example to the other side."""
    sign = -1.0 if chosen[i] else 1.0
    state[SQUARED] += 2.0 * sign * gains[i] + pool.squared_norms[i]
    state[SIZE] += sign
    leaving, joining = (i, -1) if chosen[i] else (-1, i)
    apply_move(pool.columns, leaving, joining)
    move_row(chosen, gains, pool.gram, leaving, joining)


@njit(nogil=True, calls=KERNELS)
def flip_best(
    pool: Pool,
    chosen: Array,
    gains: Array,
    state: Array,
    ball: Array,
    enters: bool,
    max_moves: int,
) -> int:
    """Prune (or keep) again and again the example that leaves the smallest norm; count the moves.

    Pruning stops before the norm exceeds ``ball[0] - ball[1] * size``.
    """
    sign = 1.0 if enters else -1.0
    for move in range(max_moves):
        best, lowest = -1, np.inf
        for i in range(gains.size):
            if chosen[i] == enters:
                continue
            value = 2.0 * sign * gains[i] + pool.squared_norms[i]
            if value < lowest:
                leaving, joining = (-1, i) if enters else (i, -1)
                if is_allowed(pool.columns, leaving, joining):
                    best, lowest = i, value
        if best < 0:
            return move
        radius = ball[0] - ball[1] * (state[SIZE] + 1.0)
        if enters and (radius < 0.0 or state[SQUARED] + lowest > radius * radius):
            return move
        flip(pool, chosen, gains, state, best)
    return max_moves


@njit(nogil=True, calls=KERNELS)
def best_swap(
    pool: Pool, chosen: Array, gains: Array, state: Array, tabu: Array
) -> tuple[int, int, float]:
    """Find the exchange that leaves the smallest norm: who enters, who leaves, the change of it.

    An example is passed over until ``state[STEP]`` reaches ``tabu`` (K,), unless the exchange is
    better than everything so far. -1 and -1 where there is no exchange.
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
            if is_allowed(pool.columns, int(j), int(i)):
                enters, leaves = int(i), int(j)
                lowest = change
    return enters, leaves, lowest


@njit(nogil=True, calls=KERNELS)
def swap_best(
    pool: Pool,
    chosen: Array,
    gains: Array,
    state: Array,
    best: Array,
    tabu: Array,
    goal: float,
    patience: int,
    max_moves: int,
) -> int:
    """Make best exchanges, past a local optimum those that may raise the norm; count them.

    Ends once the squared norm is at most ``goal``, or after ``patience`` exchanges without a new
    smallest norm; ``best`` (K,) receives ``chosen`` there.
    """
    for move in range(max_moves):
        if state[BEST_SQUARED] <= goal or state[NUM_STALE] > patience:
            return move
        enters, leaves, change = best_swap(pool, chosen, gains, state, tabu)
        if enters < 0 or (patience == 0 and change >= -1e-12 * state[SQUARED]):
            return move
        flip(pool, chosen, gains, state, leaves)
        flip(pool, chosen, gains, state, enters)
        state[STEP] += 1.0
        # An example that entered may do more harm when it leaves at once than the other way round.
        tabu[enters] = np.int64(state[STEP]) + 8 + (np.int64(state[STEP]) * 7) % 8
        tabu[leaves] = np.int64(state[STEP]) + 4 + (np.int64(state[STEP]) * 5) % 8
        state[NUM_STALE] += 1.0
        if state[SQUARED] < state[BEST_SQUARED] * (1.0 - 1e-9):
            # A gain below 1e-4 is taken, but does not renew the patience.
            if state[SQUARED] < state[BEST_SQUARED] * (1.0 - 1e-4):
                state[NUM_STALE] = 0.0
            state[BEST_SQUARED] = state[SQUARED]
            best[:] = chosen
    return max_moves

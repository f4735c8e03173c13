"""The compiled walk: Metropolis' rule for flips and swaps of examples.

The energy is ||v||^2 - 2 lam m with v = W^T S and m = sum W. Under Eq. 3 lam makes its slope in
||v|| that of the dual at ||v|| = epsilon, so that flips stay alive at low temperature, where a
penalty with a kink would leave only swaps. Under Eq. 4 there are only swaps, and lam is 0.

The walk needs s_i . v for a proposal. With the Gram matrix of k examples at hand it is kept for all
of them: a proposal costs O(1), an accepted one O(k). On the rows themselves both cost O(d). The
kernel makes ``num_proposals`` proposals and returns, so that Python can watch the clock; state is
passed in and modified in place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from subsetsel.problem.constraints import Columns
from subsetsel.support.jit import njit

from . import _shared_kernels as shared

Array = NDArray[Any]

# Positions in the state: ||v||^2, m, lam, epsilon, the largest m met with ||v|| <= epsilon, -1 for
# none. The margin's lam follows.
SQUARED, COUNT, LAM, EPSILON, BEST = 0, 1, 2, 3, 4


class Ground(NamedTuple):
    """What a walk goes on.

    Attributes
    ----------
    matrix : ndarray
        The Gram matrix (k, k), or rows of S (k, d).
    sums : ndarray
        s_i . v for all i (k,), or v itself (d,).
    is_gram : bool
    chosen : ndarray of shape (k,), bool
        Who is pruned.
    by_norm : ndarray of int64
        The examples that may move, the smallest first.
    norms : ndarray of float64
        Their squared norms.
    columns : Columns
        The linear limits.
    """

    matrix: Array
    sums: Array
    is_gram: bool
    chosen: Array
    by_norm: Array
    norms: Array
    columns: Columns


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
def norm_change(ground: Ground, leaving: int, joining: int) -> float:
    """Change of ||v||^2 when one example leaves and one joins; -1 for none."""
    matrix, sums = ground.matrix, ground.sums
    if not ground.is_gram:
        if leaving < 0:
            return flip_change(matrix, sums, joining, 1.0)
        if joining < 0:
            return flip_change(matrix, sums, leaving, -1.0)
        return swap_change(matrix, sums, leaving, joining)
    change = 0.0
    if joining >= 0:
        change += 2.0 * sums[joining] + matrix[joining, joining]
    if leaving >= 0:
        change += matrix[leaving, leaving] - 2.0 * sums[leaving]
        if joining >= 0:
            change -= 2.0 * matrix[leaving, joining]
    return change


@njit(nogil=True)
def part(ground: Ground, order: Array, limit: float) -> tuple[int, int]:
    """List in ``order`` the pruned, then the kept with squared norms of at most ``limit``.

    At least 64 examples are listed, where there are so many. Gives how many are pruned, and all.
    """
    num = min(ground.norms.size, max(64, int(np.searchsorted(ground.norms, limit, side="right"))))
    first, last = 0, num
    for i in ground.by_norm[:num]:
        if ground.chosen[i]:
            order[first] = i
            first += 1
        else:
            last -= 1
            order[last] = i
    return first, num


@njit(nogil=True, calls=(*shared.KERNELS,))
def walk(
    ground: Ground,
    order: Array,
    state: Array,
    best: Array,
    rng: Generator,
    schedule: shared.Schedule,
    flip_share: float,
    reach: float,
    num_proposals: int,
) -> None:
    """Propose flips, in the share ``flip_share`` of all proposals, and swaps.

    Proposed are examples whose squared norm is at most ``reach`` temperatures beyond 2 lam, since
    larger ones would hardly ever be accepted; ``order`` lists them, see `part`. ``best`` (k,)
    receives ``chosen`` where ``state[BEST]`` grows.
    """
    squared, count, lam, epsilon, most, first_lam = state
    temperature = schedule[0]
    num_pruned, num = 0, order.size + 1
    for step in range(num_proposals):
        if step % shared.STRIDE == 0:
            temperature = shared.temperature_at(schedule, step)
            if flip_share > 0.0:
                lam = shared.follow_norm(lam, first_lam, squared, epsilon)
            limit = reach * temperature + 2.0 * lam
            if num > order.size or (num > 64 and ground.norms[int(0.9 * num)] > limit):
                num_pruned, num = part(ground, order, limit)
        is_flip = flip_share > 0.0 and rng.random() < flip_share
        p, q, leaving, joining = -1, -1, -1, -1
        if is_flip:
            p = int(rng.random() * num)
            if p < num_pruned:
                leaving = order[p]
            else:
                joining = order[p]
        elif 0 < num_pruned < num:
            p = int(rng.random() * num_pruned)
            q = num_pruned + int(rng.random() * (num - num_pruned))
            leaving, joining = order[p], order[q]
        else:
            continue
        if not shared.is_allowed(ground.columns, leaving, joining):
            continue
        change = norm_change(ground, leaving, joining)
        added = float(int(joining >= 0) - int(leaving >= 0))
        if not shared.is_accepted(change - 2.0 * lam * added, temperature, rng):
            continue
        shared.apply_move(ground.columns, leaving, joining)
        shared.move_row(ground.chosen, ground.sums, ground.matrix, leaving, joining)
        squared = max(0.0, squared + change)
        count += added
        if q >= 0:
            order[p], order[q] = joining, leaving
        elif joining >= 0:
            order[p], order[num_pruned] = order[num_pruned], joining
            num_pruned += 1
        else:
            num_pruned -= 1
            order[p], order[num_pruned] = order[num_pruned], leaving
        if count > most and squared <= epsilon * epsilon:
            most = count
            best[:] = ground.chosen
    state[SQUARED], state[COUNT], state[LAM], state[BEST] = squared, count, lam, most

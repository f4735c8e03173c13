"""Kernels that several compiled searches share: linear limits, temperature, acceptance.

Numba's disk cache sees edits of a kernel's own file only. A kernel that calls one of these names it
in ``njit(calls=...)``; an edit here then makes the caller's cached code stale too.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.random import Generator
from numpy.typing import NDArray

from subsetsel.problem.constraints import Columns
from subsetsel.support.jit import njit

Array = NDArray[Any]

# The temperature falls geometrically from hot to cold over ``total`` proposals of a chain, of which
# ``done`` were made before this call: (hot, cold, done, total).
Schedule = tuple[float, float, float, float]

# Proposals between two updates of the temperature.
STRIDE = 256
# The factor that lam may be away from the margin's.
FAR = 100.0


@njit(nogil=True)
def apply_move(columns: Columns, leaving: int, joining: int) -> None:
    """Update the left-hand sides: one example leaves the pruned set, one joins; -1 for none."""
    if leaving >= 0:
        for entry in range(columns.starts[leaving], columns.starts[leaving + 1]):
            columns.activity[columns.members[entry]] -= columns.coefficients[entry]
    if joining >= 0:
        for entry in range(columns.starts[joining], columns.starts[joining + 1]):
            columns.activity[columns.members[entry]] += columns.coefficients[entry]


@njit(nogil=True)
def is_allowed(columns: Columns, leaving: int, joining: int) -> bool:
    """Whether the linear limits hold after such a move; the left-hand sides end as they were."""
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
def move_row(chosen: Array, sums: Array, matrix: Array, leaving: int, joining: int) -> None:
    """Update who is pruned (k,) and the sums (m,) of their rows of a matrix (k, m)."""
    if leaving >= 0:
        chosen[leaving] = False
        for m in range(sums.size):
            sums[m] -= matrix[leaving, m]
    if joining >= 0:
        chosen[joining] = True
        for m in range(sums.size):
            sums[m] += matrix[joining, m]


@njit(nogil=True)
def temperature_at(schedule: Schedule, step: int) -> float:
    """Temperature of a chain after ``step`` proposals of this call."""
    hot, cold, done, total = schedule
    return hot * math.exp(math.log(cold / hot) / total * (done + step))


@njit(nogil=True)
def is_accepted(energy: float, temperature: float, rng: Generator) -> bool:
    """Metropolis' rule for a move that raises the energy by so much."""
    return not (energy > 0.0 and rng.random() >= math.exp(-energy / temperature))


@njit(nogil=True)
def follow_norm(lam: float, first: float, squared: float, epsilon: float) -> float:
    """Move lam slowly to where ||v|| hovers around epsilon: 2 % per stride and e-fold of the norm.

    It stays within a factor of 100 of the ``first``, which belongs to the margin. While it is warm,
    the norm is above epsilon whatever lam is; a lam that went on falling would not be back in time.
    """
    pull = math.log(max(epsilon * epsilon, 1e-300) / max(squared, 1e-300))
    return min(FAR * first, max(first / FAR, lam * math.exp(0.01 * pull)))


KERNELS = (apply_move, is_allowed, move_row, temperature_at, is_accepted, follow_norm)

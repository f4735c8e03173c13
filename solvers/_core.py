"""Eq. 4 with far more examples than dimensions: who is searched, and who is only balanced.

Almost any choice of most examples can then be completed to a small sum by the rest. So the examples
outside a core are drawn at random and balanced by a few sweeps of 0 and 1, and the search spends
its time on the core: half the smallest rows, whose exchanges correct finely, half rows drawn below
the median, which move far enough.

References
----------
One pass that keeps signed sums small: Bansal, Jiang, Singla and Sinha, Online vector balancing and
geometric discrepancy, arXiv:1912.03350.
"""

from __future__ import annotations

import numpy as np

from subsetsel.bounds.dual import is_drifting
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import IndexArray

from ._walk import is_uneven

# Examples in the core for each of d parameters, and at least.
_CORE_ROWS, _FEWEST = 48, 12_000
# A core above this share of the free examples is not worth it.
_MOST_SHARE = 0.25
# What the sweeps may leave, in units of the summed lengths of the core's rows over sqrt(d): half of
# them, chosen by sign, move the sum by .4 of it along one direction.
RESIDUAL, MOST_PASSES = 0.2, 8


def has_core(problem: Problem) -> bool:
    """Whether a search of a core alone is worth it: rows cancel, and some are far smaller."""
    num = int(np.count_nonzero(problem.free))
    if len(problem.constraints) or is_drifting(problem):
        return False
    if not is_uneven(problem.rows.squared_norms[problem.free]):
        return False
    return _core_size(problem.d) <= _MOST_SHARE * num


def draw_core(
    by_norm: IndexArray, d: int, rng: np.random.Generator
) -> tuple[IndexArray, IndexArray]:
    """Divide examples, the smallest first, into a core and the others."""
    size = _core_size(d)
    smallest, middle = size // 2, by_norm[size // 2 : max(size, by_norm.size // 2)]
    drawn = rng.choice(middle, size - smallest, replace=False)
    core = np.sort(np.concatenate([by_norm[:smallest], drawn]))
    return core, np.setdiff1d(by_norm, core)


def _core_size(d: int) -> int:
    return max(_FEWEST, _CORE_ROWS * d)

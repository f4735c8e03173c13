"""Small problems for exact search: reduced to their rank, and rounded to integers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import OptionError
from subsetsel.problem.problem import Problem
from subsetsel.rows.rank import MAX_SIDE, Reduction, reduce_rank

# CP-SAT adds absolute coefficients of a row in 32 bits in places (or-tools issue 5293).
MAX_ROW = 2**30


def reduce_for_exact(problem: Problem, name: str, max_examples: int, max_rank: int) -> Reduction:
    """Reduce the rank of S for an exact search that only small problems allow.

    Parameters
    ----------
    problem : Problem
    name : str
        The solver's.
    max_examples, max_rank : int

    Returns
    -------
    Reduction

    Raises
    ------
    OptionError
        If there are too many examples or directions.
    """
    if problem.n > max_examples or min(problem.n, problem.d) > MAX_SIDE:
        raise OptionError(
            f"solver {name!r} branches on single examples and holds at most {max_examples}, "
            f"but n = {problem.n}; use solver='anneal'."
        )
    reduced = reduce_rank(problem.rows)
    if reduced.rank > max_rank:
        raise OptionError(
            f"solver {name!r} squares one variable per direction of S and holds at most "
            f"{max_rank}, but the rank of S is {reduced.rank}; use solver='anneal'."
        )
    return reduced


@dataclass(frozen=True)
class Quantized:
    """Integer rows and how far their norms may be from the true ones.

    Attributes
    ----------
    rows : ndarray of shape (n, rank), int64
    unit : float
        One integer step.
    error : float
        In units: bound on the difference of norms, for any W of the size that is allowed.
    """

    rows: NDArray[np.int64]
    unit: float
    error: float


def quantize(reduced: Reduction, radius: float, resolution: int, max_size: int) -> Quantized:
    """Round S V to integers, ``resolution`` units to the radius unless rows are too long for that.

    Parameters
    ----------
    reduced : Reduction
    radius : float
        The norm that matters.
    resolution : int
    max_size : int
        Most examples a subset may have.

    Returns
    -------
    Quantized
    """
    R = reduced.rows
    longest = float(np.abs(R).sum(axis=0).max(initial=0.0))
    unit = max(radius / resolution, longest / MAX_ROW, 1e-300)
    rows = np.rint(R / unit)
    rest = R / unit - rows
    by_row = np.sort(np.linalg.norm(rest, axis=1))[::-1][:max_size].sum()
    spectral = np.linalg.norm(rest, 2) if rest.size else 0.0
    tails = np.sort(reduced.tails)[::-1][:max_size].sum() / unit
    # R / unit itself is rounded: 2^-53 of at most 2^30 units an entry is far below 1e-6.
    error = min(float(by_row), math.sqrt(max_size) * float(spectral)) * (1 + 1e-9)
    error += float(tails) + 1e-6 * math.sqrt(max(1, reduced.rank)) * max_size
    return Quantized(rows.astype(np.int64), unit, error)

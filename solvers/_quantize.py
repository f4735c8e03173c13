"""Rows rounded to integers, with a bound on what that does to a norm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subsetsel.rows.rank import Reduction

# CP-SAT adds absolute coefficients of a row in 32 bits in places (or-tools issue 5293).
MAX_ROW = 2**30


@dataclass(frozen=True)
class Quantized:
    """Integer rows (n, rank), the length of one integer step, and the error of a norm in steps.

    The error holds for any W of the size that is allowed.
    """

    rows: NDArray[np.int64]
    unit: float
    error: float


def quantize(reduced: Reduction, radius: float, resolution: int, max_size: int) -> Quantized:
    """Round S V to ``resolution`` steps per radius, or to fewer where rows are too long for that.

    A subset has at most ``max_size`` examples.
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

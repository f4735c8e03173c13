"""Entries that no sum can be trusted with: NaN, infinities, and how large the others are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Entries:
    """What is known of the entries of an array.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
    largest : float
        Size of the largest entry before ``bad``.
    bad : tuple (row, column, value, count, num_rows) or None
        The first entry that is not finite, and how many there are in the ``num_rows`` around it.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    largest: float
    bad: tuple[int, int, float, int, int] | None


def entries_of(
    shape: tuple[int, int], dtype: Any, blocks: Iterable[tuple[int, int, NDArray[Any]]]
) -> Entries:
    """Look at an array block by block, each ``(start, stop, rows)``, up to the first bad entry."""
    overall = 0.0
    for start, stop, rows in blocks:
        # A NaN survives maximum and minimum, so one comparison finds every bad entry.
        largest = max(float(rows.max()), -float(rows.min()))
        if np.isfinite(largest):
            overall = max(overall, largest)
            continue
        places = np.argwhere(~np.isfinite(rows))
        row, column = int(places[0, 0]), int(places[0, 1])
        value = float(rows[row, column])
        bad = (start + row, column, value, len(places), stop - start)
        return Entries(shape, np.dtype(dtype), overall, bad)
    return Entries(shape, np.dtype(dtype), overall, None)

"""S as an array: in memory or memory-mapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.rows.base import AnyFloatArray, IndexArray, Rows
from subsetsel.support.entries import Entries, entries_of

# Squares of larger entries would overflow when a solver sums a million rows in the type of S.
_LARGEST = {np.dtype(np.float32): 1e15, np.dtype(np.float64): 1e140}
# Where all entries are smaller their squares vanish: every subset would seem to have the norm 0.
_SMALLEST = 1e-140


class DenseRows(Rows):
    """S held as one (n, d) array of float32 or float64, of any strides, perhaps memory-mapped.

    Parameters
    ----------
    array : ndarray of shape (n, d)
        Never copied and never modified.
    is_checked : bool
        Whether its entries are known to be fit for sums, and need not be looked at.

    Raises
    ------
    ProblemError
        If the array is not two-dimensional, is empty, has another dtype, or holds a NaN or an
        infinite value (the message says where).
    """

    storage = "dense"

    def __init__(self, array: AnyFloatArray, *, is_checked: bool = False) -> None:
        if array.ndim != 2:
            raise ProblemError(
                f"S must have two dimensions (n examples, d parameters), got shape {array.shape}; "
                "reshape a single column with S[:, None]."
            )
        if array.size == 0:
            raise ProblemError(f"S is empty: its shape is {array.shape}.")
        if array.dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
            raise ProblemError(
                f"S must be float32 or float64, got {array.dtype}; "
                "convert it with S.astype(np.float32)."
            )
        self._array = array
        self.shape = (array.shape[0], array.shape[1])
        self.dtype = array.dtype
        if not is_checked:
            refuse_entries([self.entries()], lambda _, row, column: f"S[{row}, {column}]")

    def entries(self) -> Entries:
        """Look at all entries, up to the first that is not finite."""
        return entries_of(self.shape, self.dtype, self.blocks())

    @property
    def held_bytes(self) -> int | None:
        """Bytes of memory that keeping these rows takes; None where they are mapped from a file.

        Such rows are not kept but mapped again, and the file is looked at again, in each round.
        """
        found: int | None = getattr(self._array, "held_bytes", self.nbytes)
        return found

    def block(self, start: int, stop: int) -> AnyFloatArray:
        """Rows ``start`` to ``stop``; see `Rows.block`."""
        return np.ascontiguousarray(self._array[start:stop])

    def take(self, indices: IndexArray) -> AnyFloatArray:
        """Copy chosen rows; see `Rows.take`."""
        return np.ascontiguousarray(self._array[indices])

    def dense(self) -> AnyFloatArray | None:
        """Give the array itself where it is C-contiguous; see `Rows.dense`."""
        return self._array if self._array.flags.c_contiguous else None


def refuse_entries(found: Sequence[Entries | None], place: Callable[[int, int, int], str]) -> None:
    """Refuse a NaN, an infinity, or entries whose squares overflow or vanish.

    Parameters
    ----------
    found : sequence of Entries
        Of each part of S; None where it is empty.
    place : callable
        Names an entry by its part, and its row and column there.

    Raises
    ------
    ProblemError
    """
    overall = 0.0
    for part, one in enumerate(found):
        if one is None:
            continue
        if one.bad is not None:
            row, column, value, count, num_rows = one.bad
            raise ProblemError(
                f"S must be finite, but {place(part, row, column)} is {value} "
                f"(the first of {count} such entries in {num_rows} rows); "
                "remove or repair these examples first."
            )
        if one.largest > _LARGEST[one.dtype]:
            raise ProblemError(
                f"S holds an entry of size {one.largest:g}; squares of such numbers overflow "
                f"in {one.dtype}. Rescale S and epsilon together."
            )
        overall = max(overall, one.largest)
    if 0 < overall < _SMALLEST:
        raise ProblemError(
            f"the largest entry of S has the size {overall:g}; squares of such numbers "
            f"vanish. Rescale S and epsilon together."
        )

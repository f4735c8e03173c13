"""S as an array: in memory or memory-mapped."""

from __future__ import annotations

from typing import Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.rows.base import AnyFloatArray, IndexArray, Rows

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

    Raises
    ------
    ProblemError
        If the array is not two-dimensional, is empty, has another dtype, or holds a NaN or an
        infinite value (the message says where).
    """

    storage = "dense"

    def __init__(self, array: AnyFloatArray) -> None:
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
        self._require_finite()

    def _require_finite(self) -> None:
        """Refuse a NaN, an infinity, or entries whose squares overflow or vanish."""
        overall = 0.0
        for start, _, rows in self.blocks():
            # A NaN survives maximum and minimum, so one comparison finds every bad entry.
            largest = max(float(rows.max()), -float(rows.min()))
            if largest <= _LARGEST[self.dtype]:
                overall = max(overall, largest)
                continue
            if np.isfinite(largest):
                raise ProblemError(
                    f"S holds an entry of size {largest:g}; squares of such numbers overflow in "
                    f"{self.dtype}. Rescale S and epsilon together."
                )
            bad = np.argwhere(~np.isfinite(rows))
            if bad.size:
                row, column = int(bad[0, 0]), int(bad[0, 1])
                raise ProblemError(
                    f"S must be finite, but S[{start + row}, {column}] is {rows[row, column]} "
                    f"(the first of {len(bad)} such entries in rows {start} to "
                    f"{start + len(rows) - 1}); remove or repair these examples first."
                )
        if 0 < overall < _SMALLEST:
            raise ProblemError(
                f"the largest entry of S has the size {overall:g}; squares of such numbers vanish. "
                "Rescale S and epsilon together."
            )

    def block(self, start: int, stop: int) -> AnyFloatArray:
        """Rows ``start`` to ``stop``; see `Rows.block`."""
        return np.ascontiguousarray(self._array[start:stop])

    def take(self, indices: IndexArray) -> AnyFloatArray:
        """Copy chosen rows; see `Rows.take`."""
        return np.ascontiguousarray(self._array[indices])

    def dense(self) -> AnyFloatArray | None:
        """Give the array itself where it is C-contiguous; see `Rows.dense`."""
        return self._array if self._array.flags.c_contiguous else None


def as_rows(S: Any) -> Rows:
    """Accept whatever a user calls an influence matrix.

    Parameters
    ----------
    S : Rows, ndarray, torch.Tensor, memory map or nested sequence
        Shape (n, d). A tensor on a GPU is copied to the host; everything else is used in place.

    Raises
    ------
    ProblemError
        If it is not a two-dimensional, finite, non-empty array of float32 or float64.
    """
    if isinstance(S, Rows):
        return S
    # A tensor is recognised by its methods, so that torch need not be imported to ask.
    if hasattr(S, "detach") and hasattr(S, "cpu"):
        try:
            S = S.detach().cpu().numpy()
        except TypeError as error:
            raise ProblemError(
                f"S is a tensor of type {S.dtype}, which NumPy cannot hold; "
                "convert it with S.float()."
            ) from error
    if hasattr(S, "toarray"):
        raise ProblemError("S is a sparse matrix; give S.toarray().")
    try:
        array = np.asanyarray(S)
    except ValueError as error:
        raise ProblemError(f"S is not an array of numbers: {error}.") from error
    if isinstance(array, np.ma.MaskedArray):
        raise ProblemError("S is a masked array; fill or drop its masked entries first.")
    return DenseRows(array)

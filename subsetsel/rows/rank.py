"""Exact rank reduction: the same norms from fewer columns.

With V an orthonormal basis of the row space of S, ||W^T S|| = ||W^T S V|| for every W. Head
influence has rank at most (C - 1) (h + 1), and n examples never span more than n directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.rows import Rows
from subsetsel.rows.base import UNIT, FloatArray, euclidean

# The Gram matrix of the smaller side is decomposed: above this side it takes 0.8 GB and minutes.
MAX_SIDE = 10_000
_CHUNK = 512


@dataclass(frozen=True)
class Reduction:
    """S V, and how far it is from S.

    Attributes
    ----------
    rows : ndarray of shape (n, rank), float64
        S V.
    basis : ndarray of shape (d, rank), float64
        V: orthonormal columns, the strongest direction first.
    tails : ndarray of shape (n,)
        Upper bound on ||s_i - V r_i||, rounding of r_i and of sums included, for rows that are
        exact: ||W^T S|| and ||W^T S V|| differ by at most the sum of ``tails`` over W.
    offset : ndarray of shape (rank,), float64
        V^T v0, zeros without one; V has a column for the rest of v0 outside the row space.
    offset_tail : float
        Upper bound on ||v0 - V V^T v0||, which is added to the sum of ``tails``.
    """

    rows: FloatArray
    basis: FloatArray
    tails: FloatArray
    offset: FloatArray
    offset_tail: float

    @property
    def rank(self) -> int:
        """Number of columns left."""
        return int(self.rows.shape[1])

    def lift(self, direction: FloatArray) -> FloatArray:
        """Map a vector of shape (rank,) back to the parameters, shape (d,)."""
        lifted: FloatArray = self.basis @ direction
        return lifted


def reduce_rank(rows: Rows, offset: FloatArray | None = None) -> Reduction:
    """Rotate S, and the offset where there is one, onto an orthonormal basis of their space.

    Parameters
    ----------
    rows : Rows
        Shape (n, d) with min(n, d) at most `MAX_SIDE`; read in blocks, never modified.
    offset : ndarray of shape (d,), optional
        v0.

    Returns
    -------
    Reduction
        Directions whose singular value is below sqrt(min(n, d) u) of the largest, u the float64
        unit, cannot be told from rounding in a Gram matrix: they are dropped and enter ``tails``.

    Raises
    ------
    ProblemError
        If min(n, d) is too large for a Gram matrix.
    """
    n, d = rows.shape
    if min(n, d) > MAX_SIDE:
        raise ProblemError(
            f"rank reduction decomposes a Gram matrix of side min(n, d) = {min(n, d)}, more than "
            f"{MAX_SIDE}; use a solver that works on S itself."
        )
    basis = _row_space(rows) if d <= n else _row_space_of_wide(rows)
    if offset is not None:
        basis = _with_rest(basis, offset)
    reduced = np.empty((n, basis.shape[1]))
    tails = np.empty(n)
    for at, part in _parts(rows, n):
        reduced[at] = part @ basis
        tails[at] = np.linalg.norm(part - reduced[at] @ basis.T, axis=1)
    # Rounding of the two products and of V^T V = I, each below (d + rank) units per row, and of the
    # rows themselves where a block is not exactly what the sums are made of.
    relative = 2 * (d + basis.shape[1] + 4) * UNIT + 2 * rows.block_error
    tails += relative * np.sqrt(rows.squared_norms)
    if rows.is_exact:
        tails += rows.row_error
    if offset is None:
        return Reduction(reduced, basis, tails, np.zeros(basis.shape[1]), 0.0)
    start: FloatArray = basis.T @ offset
    tail = euclidean(offset - basis @ start)
    tail += 2 * (d + basis.shape[1] + 4) * UNIT * euclidean(offset)
    return Reduction(reduced, basis, tails, start, tail)


def _with_rest(basis: FloatArray, vector: FloatArray) -> FloatArray:
    """Add to an orthonormal basis (d, r) the direction in which a vector leaves its span."""
    rest = vector - basis @ (basis.T @ vector)
    # Once more, so that it is orthogonal to rounding.
    rest -= basis @ (basis.T @ rest)
    length = euclidean(rest)
    if length <= len(vector) * UNIT * euclidean(vector):
        return basis
    return np.column_stack([basis, rest / length])


def _parts(rows: Rows, stop: int) -> Iterator[tuple[slice, FloatArray]]:
    """Walk through the first ``stop`` rows in float64."""
    for start in range(0, stop, _CHUNK):
        at = slice(start, min(start + _CHUNK, stop))
        yield at, rows.block(at.start, at.stop).astype(np.float64, copy=False)


def _strongest(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenpairs that are larger than rounding errors, the largest first."""
    values, vectors = np.linalg.eigh(gram)
    largest = max(float(values[-1]), 0.0)
    is_kept = values > len(values) * UNIT * largest
    return values[is_kept][::-1], vectors[:, is_kept][:, ::-1]


def _row_space(rows: Rows) -> FloatArray:
    """V from S^T S, accumulated block by block."""
    gram = np.zeros((rows.d, rows.d))
    for _, _, part in rows.blocks():
        wide = part.astype(np.float64, copy=False)
        gram += wide.T @ wide
    return np.ascontiguousarray(_strongest(gram)[1])


def _row_space_of_wide(rows: Rows) -> FloatArray:
    """V from S S^T = Q L Q^T as S^T Q L^(-1/2), made orthonormal to rounding by QR."""
    gram = np.empty((rows.n, rows.n))
    for here, left in _parts(rows, rows.n):
        for there, right in _parts(rows, here.stop):
            gram[here, there] = left @ right.T
            gram[there, here] = gram[here, there].T
    values, vectors = _strongest(gram)
    scaled = vectors / np.sqrt(values)
    basis = np.zeros((rows.d, len(values)))
    for at, part in _parts(rows, rows.n):
        basis += part.T @ scaled[at]
    return np.ascontiguousarray(np.linalg.qr(basis)[0])

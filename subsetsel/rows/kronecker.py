"""Rows that are scaled outer products: computed from their factors when they are read."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from subsetsel.rows.base import (
    BLOCK_BYTES,
    MAX_DIRECTIONS,
    AnyFloatArray,
    BoolArray,
    FloatArray,
    IndexArray,
    Rows,
)


class KroneckerRows(Rows):
    """Row i is ``values * (left_i right_i^T + share_i constant)``, flattened.

    This is S of a linear head under an E-KFAC Hessian, in its eigenbasis. It approximates the exact
    rows, and its rows and norms cost no solve. For heads that are too large for exact rows the
    searches work on it, and the subset found is judged on the exact rows.

    Parameters
    ----------
    left : ndarray of shape (n, m)
        Residuals in the class eigenbasis.
    right : ndarray or SciPy array of compressed rows, of shape (n, q)
        Features in their eigenbasis.
    values : ndarray of shape (m, q)
        Inverse curvatures.
    shares : ndarray of shape (n,)
    constant : ndarray of shape (m, q)
    """

    storage = "factored"

    def __init__(
        self,
        left: AnyFloatArray,
        right: Any,
        values: FloatArray,
        shares: FloatArray,
        constant: FloatArray,
    ) -> None:
        self.left, self.right = left, right
        self.values, self.shares, self.constant = values, shares, constant
        self.shape = (len(left), values.size)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)

    @property
    def _is_sparse(self) -> bool:
        return not isinstance(self.right, np.ndarray)

    @property
    def search_width(self) -> int:
        """Number of columns of `search_matrix`: of sparse features few, since d are many."""
        most = super().search_width
        return min(most, MAX_DIRECTIONS) if self._is_sparse else most

    def block(self, start: int, stop: int) -> AnyFloatArray:
        """Rows ``start`` to ``stop``; see `Rows.block`."""
        return self._rows(slice(start, stop))

    def take(self, indices: IndexArray) -> AnyFloatArray:
        """Chosen rows; see `Rows.take`."""
        return self._rows(np.asarray(indices, dtype=np.int64))

    def _rows(self, chosen: IndexArray | slice) -> AnyFloatArray:
        left, shares = self.left[chosen], self.shares[chosen].astype(self.dtype)
        # Everything in the precision of the rows: mixed products cost several times as much.
        values, constant = (x.astype(self.dtype) for x in (self.values, self.constant))
        out = np.empty((len(left), *self.values.shape), dtype=self.dtype)
        right = self.right[chosen].toarray() if self._is_sparse else self.right[chosen]
        np.multiply(left[:, :, None], right[:, None, :], out=out)
        shift = np.empty_like(values)
        for one, share in zip(out, shares, strict=True):
            np.multiply(constant, share, out=shift)
            one += shift
            one *= values
        return out.reshape(len(left), self.d)

    def dot(self, direction: FloatArray) -> FloatArray:
        """S u; see `Rows.dot`."""
        out: FloatArray = self._products(direction[None, :])[0]
        return out

    def _products(self, directions: FloatArray) -> FloatArray:
        (m, q), k = self.values.shape, len(directions)
        pulled = directions.reshape(k, m, q) * self.values
        out = (pulled * self.constant).sum(axis=(1, 2))[:, None] * self.shares
        columns = np.ascontiguousarray(pulled.reshape(k * m, q).T)
        for rows in self._chunks():
            logits = (self.right[rows] @ columns).reshape(-1, k, m)
            out[:, rows] += np.einsum("ikm,im->ki", logits, self.left[rows])
        return np.asarray(out)

    def sum(self, weights: FloatArray | BoolArray) -> FloatArray:
        """S^T w; see `Rows.sum`."""
        w = np.asarray(weights, dtype=np.float64)
        total = (w @ self.shares) * self.constant
        for rows in self._chunks():
            total = total + (self.right[rows].T @ (self.left[rows] * w[rows, None])).T
        return np.asarray((total * self.values).ravel())

    @cached_property
    def squared_norms(self) -> FloatArray:
        """Squared norm of each row, shape (n,), float64, by products of squares."""
        squares = np.square(self.values)
        cross = 2 * squares * self.constant
        out = np.square(self.shares) * float((squares * np.square(self.constant)).sum())
        for rows in self._chunks():
            left, right = self.left[rows].astype(np.float64), self.right[rows]
            out[rows] += ((right * right) @ squares.T * np.square(left)).sum(axis=1)
            out[rows] += self.shares[rows] * (right @ cross.T * left).sum(axis=1)
        return np.maximum(out, 0.0)

    def _chunks(self) -> list[slice]:
        width = self.right.nnz // self.n if self._is_sparse else self.values.shape[1]
        size = max(64, BLOCK_BYTES // (8 * (self.values.shape[0] + width)))
        return [slice(start, start + size) for start in range(0, self.n, size)]

"""S as factors: residuals and features, with one solve per product, and never n x d numbers."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray, Rows


class Factors(Protocol):
    """What factored rows are made of; implemented by `subsetsel.influence`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""

    @property
    def metric(self) -> str:
        """The unit of the row norms: ``"parameter"`` or ``"loss"``."""

    @property
    def block_size(self) -> int:
        """How many rows are solved for at a time."""

    @property
    def is_exact(self) -> bool:
        """Whether solves are direct; otherwise each single row costs an iterative solve."""

    @property
    def proxy(self) -> Rows:
        """Approximate rows that cost no solve."""

    def rows(self, indices: IndexArray | slice) -> FloatArray:
        """Chosen rows of S, shape (k, d)."""

    def sums(self, weights: FloatArray) -> FloatArray:
        """S^T w for each row w of ``weights``, shape (k, d)."""

    def products(self, directions: FloatArray) -> FloatArray:
        """S u for each row u of ``directions``, shape (k, n)."""


class FactoredRows(Rows):
    """The influence matrix of a linear head, held as a row-wise Khatri-Rao product.

    S^T w costs one product of features and residuals and one solve, S u one solve and one product.
    Each single row and each exact row norm costs a solve, so where n d is large work with products.

    Parameters
    ----------
    factors : Factors
    dtype : numpy dtype
        In which rows are handed out.
    """

    storage = "factored"

    def __init__(self, factors: Factors, dtype: Any = np.float32) -> None:
        self.factors = factors
        self.shape = factors.shape
        self.dtype = np.dtype(dtype)

    @property
    def held_bytes(self) -> int | None:
        """None: what the rows are made of has its own account."""
        return None

    def __sizeof__(self) -> int:
        # What it takes to send them, for an engine that decides where tasks run.
        return object.__sizeof__(self) + sys.getsizeof(self.factors)

    @property
    def block_size(self) -> int:
        """Rows in one block: as many as are solved for at a time."""
        return self.factors.block_size

    def block(self, start: int, stop: int) -> AnyFloatArray:
        """Rows ``start`` to ``stop``, each solved for when it is read; see `Rows.block`."""
        return np.ascontiguousarray(self.factors.rows(slice(start, stop)), dtype=self.dtype)

    def take(self, indices: IndexArray) -> AnyFloatArray:
        """Chosen rows, each solved for when it is read; see `Rows.take`."""
        out = np.empty((len(indices), self.d), dtype=self.dtype)
        for start in range(0, len(indices), self.block_size):
            part = np.asarray(indices[start : start + self.block_size], dtype=np.int64)
            out[start : start + len(part)] = self.factors.rows(part)
        return out

    @property
    def sums_cheaply(self) -> bool:
        """A sum takes one solve, as every single row does."""
        return True

    def dot(self, direction: FloatArray) -> FloatArray:
        """S u; see `Rows.dot`."""
        directions = np.ascontiguousarray(direction[None, :], dtype=np.float64)
        out: FloatArray = self.factors.products(directions)[0]
        return out

    def sum(self, weights: FloatArray | BoolArray) -> FloatArray:
        """S^T w; see `Rows.sum`."""
        total: FloatArray = self.factors.sums(np.asarray(weights, dtype=np.float64)[None, :])[0]
        return total

    @property
    def proxy(self) -> Rows:
        """These rows where solves are direct, else their approximation; see `Rows.proxy`."""
        return self if self.factors.is_exact else self.factors.proxy

    @cached_property
    def squared_norms(self) -> FloatArray:
        """Squared norm of each row, shape (n,), float64; computed once.

        From exact solves where they are direct. Where they are iterative, the norms are those of
        `proxy`: approximations, and no bounds on the exact ones.
        """
        if not self.factors.is_exact:
            return self.factors.proxy.squared_norms
        out: NDArray[np.float64] = np.empty(self.n)
        for start in range(0, self.n, self.block_size):
            rows = self.factors.rows(slice(start, min(start + self.block_size, self.n)))
            np.einsum("ij,ij->i", rows, rows, out=out[start : start + len(rows)])
        return out

    def search_matrix(self) -> AnyFloatArray:
        """Give an array for random access to single rows; see `Rows.search_matrix`.

        It is that of `proxy` where exact rows cost an iterative solve each.
        """
        return super().search_matrix() if self.factors.is_exact else self.proxy.search_matrix()

    @property
    def search_width(self) -> int:
        """Number of columns of `search_matrix`; see `Rows.search_width`."""
        return super().search_width if self.factors.is_exact else self.proxy.search_width

    def _products(self, directions: FloatArray) -> FloatArray:
        return self.factors.products(directions)

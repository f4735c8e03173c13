"""S as factors: residuals, features and one solve, never n x d numbers."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray, Rows
from subsetsel.support.memory import free_memory

# S is written out for a search up to this share of the memory that is free.
SEARCH_SHARE = 0.5
# More directions than this cost time and no longer help the search.
MAX_DIRECTIONS = 1024


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
        """Whether solves are direct; otherwise single rows are too dear to be walked through."""

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

    S^T w costs one product of features and residuals and one solve, S u one solve and one product;
    single rows and exact row norms cost a solve each, so work with products where n d is large.

    Parameters
    ----------
    factors : Factors
    dtype : numpy dtype
        In which rows are handed out.
    """

    def __init__(self, factors: Factors, dtype: Any = np.float32) -> None:
        self.factors = factors
        self.shape = factors.shape
        self.metric = factors.metric
        self.dtype = np.dtype(dtype)

    @property
    def block_size(self) -> int:
        """Rows in one block: as many as are solved for at a time."""
        return self.factors.block_size

    def block(self, start: int, stop: int) -> AnyFloatArray:
        """Rows ``start`` to ``stop``, solved for anew; see `Rows.block`.

        Returns
        -------
        ndarray of shape (stop - start, d)
        """
        return np.ascontiguousarray(self.factors.rows(slice(start, stop)), dtype=self.dtype)

    def take(self, indices: IndexArray) -> AnyFloatArray:
        """Chosen rows, solved for anew; see `Rows.take`.

        Returns
        -------
        ndarray of shape (len(indices), d)
        """
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
        """S u; see `Rows.dot`.

        Returns
        -------
        ndarray of shape (n,), float64
        """
        out: FloatArray = self.products(direction[None, :])[0]
        return out

    def sum(self, weights: FloatArray | BoolArray) -> FloatArray:
        """S^T w; see `Rows.sum`.

        Returns
        -------
        ndarray of shape (d,), float64
        """
        total: FloatArray = self.factors.sums(np.asarray(weights, dtype=np.float64)[None, :])[0]
        return total

    def products(self, directions: FloatArray) -> FloatArray:
        """S u for several directions, cheaper together than one by one.

        Parameters
        ----------
        directions : ndarray of shape (k, d)

        Returns
        -------
        ndarray of shape (k, n), float64
        """
        return self.factors.products(np.ascontiguousarray(directions, dtype=np.float64))

    def estimate_squared_norms(
        self, num_probes: int = 64, *, seed: int | np.random.Generator = 0
    ) -> FloatArray:
        """Estimate the squared row norms from random directions.

        Each estimate is the squared norm times a chi-square variable over its ``num_probes``
        degrees of freedom: its relative standard error is sqrt(2 / num_probes).

        Parameters
        ----------
        num_probes : int
            One solve each.
        seed : int or numpy Generator

        Returns
        -------
        ndarray of shape (n,), float64
        """
        rng = np.random.default_rng(seed)
        total = np.zeros(self.n)
        for start in range(0, num_probes, 16):
            probes = rng.standard_normal((min(16, num_probes - start), self.d))
            total += np.square(self.products(probes)).sum(axis=0)
        return total / num_probes

    @property
    def proxy(self) -> Rows:
        """These rows where solves are direct, else their approximation; see `Rows.proxy`."""
        return self if self.factors.is_exact else self.factors.proxy

    @cached_property
    def squared_norms(self) -> FloatArray:
        """Squared norm of each row, shape (n,), float64; computed once.

        From exact solves where they are direct. Where they are iterative those of `proxy`, which
        are no bounds: use `estimate_squared_norms` for an unbiased estimate.
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

        Returns
        -------
        ndarray of shape (n, r)
            S, where half of the free memory holds it. Otherwise its products with random Gaussian
            directions, scaled so that squared norms are right on average; or the approximate
            rows of `proxy` where exact ones cost an iterative solve each.
        """
        if not self.factors.is_exact:
            return self.proxy.search_matrix()
        budget = SEARCH_SHARE * free_memory()
        if self.nbytes <= budget:
            return super().search_matrix()
        return self._project(int(np.clip(budget // (4 * self.n), 1, MAX_DIRECTIONS)))

    def _project(self, num_directions: int, *, seed: int = 0) -> AnyFloatArray:
        rng = np.random.default_rng(seed)
        out = np.empty((self.n, num_directions), dtype=np.float32)
        scale = num_directions**-0.5
        for start in range(0, num_directions, 16):
            probes = rng.standard_normal((min(16, num_directions - start), self.d))
            out[:, start : start + len(probes)] = scale * self.products(probes).T
        return out

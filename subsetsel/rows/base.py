"""`Rows`: all that solvers and bounds may ask of S."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from subsetsel.shards.table import Shards
from subsetsel.support.memory import most_held, require_memory

FloatArray = NDArray[np.float64]
AnyFloatArray = NDArray[np.floating]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# The float64 copy of one block stays near the last-level cache.
BLOCK_BYTES = 8 * 2**20
# More directions than this cost time and do not help the search.
MAX_DIRECTIONS = 1024
# Directions whose products with S are computed at a time.
_NUM_TOGETHER = 16
# Float64 rounds each operation by at most half of this.
UNIT = float(np.finfo(np.float64).eps)
# What a direct solve may lose: half the digits, which a Hessian of condition 1e7 just about takes.
# A probe of the products must agree to this share of it.
SOLVE_ERROR, _PROBED_SHARE = UNIT**0.5, 1e-2
# Between these norms no square of an entry that counts has overflowed or vanished.
_SMALLEST, _GREATEST = 1e-140, 1e150


def euclidean(vector: FloatArray) -> float:
    """||v||_2, also where the squares of its entries would vanish or overflow."""
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(vector))
    if _SMALLEST < norm < _GREATEST or not vector.size:
        return norm
    scale = float(np.abs(vector).max())
    return scale * float(np.linalg.norm(vector / scale)) if 0 < scale < np.inf else scale


class Rows(ABC):
    """The rows s_1, ..., s_n of S, however they are stored.

    Solvers and bounds ask for blocks, for chosen rows, for the products S u and S^T w and for row
    norms, and need not know how S is stored. No method writes to S. A new kind of storage
    implements `block` and `take`; everything else follows from these two, and may be overridden
    where the storage has a faster way.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    dtype : numpy.dtype
        float32 or float64: the type in which rows are handed out. Products are always float64.
    approximation : str or None
        In what way the rows are no exact influence, where it is known that they are not.
    storage : {"dense", "factored", "sharded", "blocks"}
        An array; a formula that costs a solve for each row; shards, perhaps of a cluster; anything
        else that gives blocks.
    inverse : {"cholesky", "cg"} or None
        How the rows were solved for, where this package did it.
    pass_time : float
        Seconds that one pass over S took, once `total` has measured it; 0 before.
    """

    shape: tuple[int, int]
    dtype: np.dtype[np.floating]
    approximation: str | None = None
    storage: str = "blocks"
    inverse: str | None = None
    pass_time: float = 0.0

    @abstractmethod
    def block(self, start: int, stop: int) -> AnyFloatArray:
        """Rows ``start`` to ``stop``.

        Returns
        -------
        ndarray of shape (stop - start, d)
            C-contiguous; a view where possible, so read-only to the caller.
        """

    @abstractmethod
    def take(self, indices: IndexArray) -> AnyFloatArray:
        """Copy chosen rows.

        Returns
        -------
        ndarray of shape (len(indices), d)
        """

    def dense(self) -> AnyFloatArray | None:
        """Give S as one C-contiguous array of shape (n, d) if that costs no copy, else None."""
        return None

    def search_matrix(self) -> AnyFloatArray:
        """Give an array for random access to single rows.

        Returns
        -------
        ndarray of shape (n, r)
            S itself where it is dense and C-contiguous, else a copy of it. Where `search_width` is
            less than d it is a projection: products with random Gaussian directions, float32,
            scaled so that squared norms are right on average. A subset found on it must be judged
            by `sum`.

        Raises
        ------
        OutOfMemoryError
            If it does not fit into the memory that is free.
        """
        dense = self.dense()
        if dense is not None:
            return dense
        width = self.search_width
        is_whole = width == self.d
        out_type = self.dtype if is_whole else np.dtype(np.float32)
        require_memory(
            f"the {self.n:,} x {width:,} matrix that the search works on",
            self.n * width * out_type.itemsize,
            "Float32, fewer columns or fewer examples take less.",
        )
        out = np.empty((self.n, width), dtype=out_type)
        if is_whole:
            for start, stop, rows in self.blocks():
                out[start:stop] = rows
        else:
            self._project(out)
        return out

    @property
    def search_width(self) -> int:
        """Number of columns of `search_matrix`: d where S is an array or may be held.

        By n, d, type and the plan of `subsetsel.support.memory` alone, whatever is free.
        """
        most = most_held()
        if self.dense() is not None or self.nbytes <= most:
            return self.d
        return max(1, min(most // (4 * self.n), MAX_DIRECTIONS, self.d - 1))

    def _project(self, out: AnyFloatArray) -> None:
        """Fill an array with products of S with random directions."""
        rng = np.random.default_rng(0)
        width = out.shape[1]
        for start in range(0, width, _NUM_TOGETHER):
            directions = rng.standard_normal((min(_NUM_TOGETHER, width - start), self.d))
            products = self._products(directions)
            out[:, start : start + len(directions)] = width**-0.5 * products.T

    def _products(self, directions: FloatArray) -> FloatArray:
        """S u for each row u of ``directions``, shape (k, n)."""
        return np.stack([self.dot(direction) for direction in directions])

    def choices(self) -> dict[str, str | int]:
        """Tell what was chosen by the plan of memory and decides the answer with the seed.

        Returns
        -------
        dict
            JSON types: ``storage``, ``search_width``, ``metric`` where norms are no changes of
            parameters, and ``inverse`` where it is known.
        """
        chosen: dict[str, str | int] = {"storage": self.storage, "search_width": self.search_width}
        metric = getattr(self, "metric", "parameter")
        if metric != "parameter":
            chosen["metric"] = metric
        return chosen if self.inverse is None else {**chosen, "inverse": self.inverse}

    @property
    def proxy(self) -> Rows:
        """Rows to search on: these, or an approximation where each row costs an iterative solve.

        A subset found on an approximation must be judged by `sum` of the rows themselves.
        """
        return self

    # --- how far the numbers can be trusted -------------------------------------------------------

    @cached_property
    def is_exact(self) -> bool:
        """Whether products, sums and norms are those of one matrix, up to `row_error`.

        Nothing that rests on norms is proved where they are not: where rows are solved for by an
        iteration, or where the two products contradict each other.
        """
        return self.proxy is self and (self._is_stored or self._agrees())

    @cached_property
    def row_error(self) -> FloatArray:
        """Outward limits e of what the products lose, shape (n,).

        ``dot`` is off by at most e_i ||u|| in each entry, ``sum`` by at most the sum of |w_i| e_i.
        Infinite where rows are not exact.
        """
        if not self.is_exact:
            return np.full(self.n, np.inf)
        size = min(self.n, self.block_size)
        num_terms = self.d + size + self.n // size + 8
        relative = num_terms * UNIT + (0.0 if self._is_stored else SOLVE_ERROR)
        return relative * np.sqrt(self.squared_norms)

    @property
    def block_error(self) -> float:
        """How far `block` and `take` are from the rows of the products, as a share of each row.

        0 where the products are those of the blocks; else the rounding to `dtype` and the solve.
        """
        return 0.0 if self._is_stored else float(np.finfo(self.dtype).eps) + SOLVE_ERROR

    @property
    def _is_stored(self) -> bool:
        """Whether the products are computed from what `block` gives."""
        kind = type(self)
        return bool(kind.dot is Rows.dot and kind.sum is Rows.sum)

    def _agrees(self) -> bool:
        """Whether u . S^T 1 and 1 . S u, found in two ways, are the same for a random u."""
        direction = np.random.default_rng(0).standard_normal(self.d)
        direction /= np.linalg.norm(direction)
        miss = abs(float(direction @ self.total) - float(self.dot(direction).sum()))
        lengths = float(np.sqrt(self.squared_norms).sum())
        return bool(miss <= _PROBED_SHARE * SOLVE_ERROR * lengths)

    @property
    def sums_cheaply(self) -> bool:
        """Whether S^T w costs no more than reading a few rows."""
        return False

    @property
    def shards(self) -> Shards | None:
        """The shards that S lies in; None where it is in one piece."""
        return None

    @property
    def n(self) -> int:
        """Number of examples."""
        return self.shape[0]

    @property
    def d(self) -> int:
        """Number of parameters."""
        return self.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that S takes when held densely."""
        return self.n * self.d * self.dtype.itemsize

    @property
    def block_size(self) -> int:
        """Rows in one block, so that its float64 copy stays near the last-level cache."""
        return max(1, BLOCK_BYTES // (8 * max(1, self.d)))

    def blocks(self) -> Iterator[tuple[int, int, AnyFloatArray]]:
        """Walk through S once.

        Yields
        ------
        start, stop, rows
            ``rows`` has shape (stop - start, d).
        """
        for start in range(0, self.n, self.block_size):
            stop = min(start + self.block_size, self.n)
            yield start, stop, self.block(start, stop)

    def dot(self, direction: FloatArray) -> FloatArray:
        """S u, accumulated in float64.

        Parameters
        ----------
        direction : ndarray of shape (d,)
            u.

        Returns
        -------
        ndarray of shape (n,), float64
        """
        out = np.empty(self.n)
        for start, stop, rows in self.blocks():
            np.dot(rows.astype(np.float64, copy=False), direction, out=out[start:stop])
        return out

    def sum(self, weights: FloatArray | BoolArray) -> FloatArray:
        """S^T w, accumulated in float64.

        Parameters
        ----------
        weights : ndarray of shape (n,)
            w; a Boolean mask sums the chosen rows.

        Returns
        -------
        ndarray of shape (d,), float64
        """
        total = np.zeros(self.d)
        for start, stop, rows in self.blocks():
            part = weights[start:stop]
            chosen = np.flatnonzero(part)
            if chosen.size < part.size // 2:
                total += part[chosen].astype(np.float64) @ rows[chosen].astype(np.float64)
            else:
                total += part.astype(np.float64) @ rows.astype(np.float64, copy=False)
        return total

    @cached_property
    def squared_norms(self) -> FloatArray:
        """Squared Euclidean norm of each row, shape (n,), float64; computed once."""
        out = np.empty(self.n)
        for start, stop, rows in self.blocks():
            wide = rows.astype(np.float64, copy=False)
            np.einsum("ij,ij->i", wide, wide, out=out[start:stop])
        return out

    @cached_property
    def total(self) -> FloatArray:
        """S^T 1, shape (d,), float64; computed once, and `pass_time` measured by it."""
        started = time.perf_counter()
        total = self.sum(np.ones(self.n, dtype=np.bool_))
        self.pass_time = time.perf_counter() - started
        return total

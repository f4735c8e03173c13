"""S in shards: on disk, read one after the other, or held by the workers of a cluster."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from subsetsel.rows.base import AnyFloatArray, BoolArray, FloatArray, IndexArray, Rows
from subsetsel.shards.table import Shards


class ShardedRows(Rows):
    """Rows of S that lie in shards, each of which is `Rows` of its own.

    Everything is a sum, or a list, over shards in their order, so that the answer is the same for
    any number of workers. `block` and `take` bring rows to this process: ask for few.

    Parameters
    ----------
    shards : Shards
        Of `Rows`; of None where a shard is empty.
    d : int
    dtype : numpy dtype
        Of the rows that are handed out.
    kind : {"stored", "solved"}
        Whether each shard is an array, or a formula that costs a solve for each row.
    """

    storage = "sharded"

    def __init__(self, shards: Shards, d: int, dtype: Any, *, kind: str = "stored") -> None:
        self._shards = shards
        self.shape = (shards.n, d)
        self.dtype = np.dtype(dtype)
        self._kind = kind

    @property
    def shards(self) -> Shards:
        """The shards, each of them `Rows`; no search may ask for all rows one by one."""
        return self._shards

    def block(self, start: int, stop: int) -> AnyFloatArray:
        """Rows ``start`` to ``stop``; see `Rows.block`."""
        return self.take(np.arange(start, stop, dtype=np.int64))

    def take(self, indices: IndexArray) -> AnyFloatArray:
        """Bring chosen rows here; see `Rows.take`."""
        wanted = np.asarray(indices, dtype=np.int64)
        out = np.empty((len(wanted), self.d), dtype=self.dtype)
        found = self._shards.find(wanted)
        each = [(wanted[part] - self._shards.starts[k],) for k, part in found]
        rows = self._shards.map(_take, each=each, only=[k for k, _ in found])
        for (_, part), own in zip(found, rows, strict=True):
            out[part] = own
        return out

    def dot(self, direction: FloatArray) -> FloatArray:
        """S u; see `Rows.dot`."""
        return _joined(self._shards.map(_dot, direction))

    def sum(self, weights: FloatArray | BoolArray) -> FloatArray:
        """S^T w; see `Rows.sum`. A shard whose weights are all 0 is not asked."""
        parts = self._shards.split(np.asarray(weights))
        asked = [k for k, (part,) in enumerate(parts) if part.any()]
        total = np.zeros(self.d)
        for part in self._shards.map(_sum, each=[parts[k] for k in asked], only=asked):
            total += part
        return total

    @cached_property
    def squared_norms(self) -> FloatArray:
        """Squared Euclidean norm of each row; see `Rows.squared_norms`."""
        return _joined(self._shards.map(_squared_norms))

    @property
    def sums_cheaply(self) -> bool:
        """Whether S^T w costs no more than reading a few rows: it is one round, as `take` is."""
        return True

    @property
    def _is_stored(self) -> bool:
        return self._kind == "stored"


def _joined(parts: list[FloatArray]) -> FloatArray:
    return np.concatenate([np.zeros(0), *parts])


def _take(rows: Rows | None, indices: IndexArray) -> AnyFloatArray:
    assert rows is not None
    return rows.take(indices)


def _dot(rows: Rows | None, direction: FloatArray) -> FloatArray:
    return np.zeros(0) if rows is None else rows.dot(direction)


def _sum(rows: Rows | None, weights: FloatArray | BoolArray) -> FloatArray:
    assert rows is not None
    return rows.sum(weights)


def _squared_norms(rows: Rows | None) -> FloatArray:
    return np.zeros(0) if rows is None else rows.squared_norms

"""S in shards: on disk, read one after the other, or held by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from subsetsel.errors import OutOfMemoryError, ProblemError
from subsetsel.rows.base import (
    SOLVE_ERROR,
    UNIT,
    AnyFloatArray,
    BoolArray,
    FloatArray,
    IndexArray,
    Rows,
)
from subsetsel.rows.dense import DenseRows, refuse_entries
from subsetsel.shards.files import Files, Paths, find_files
from subsetsel.shards.open import open_workers
from subsetsel.shards.pieces import Source, load_arrays
from subsetsel.shards.sources import open_files
from subsetsel.shards.table import Shards
from subsetsel.support.entries import Entries
from subsetsel.support.memory import describe, most_held


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

    def blocks(self) -> Iterator[tuple[int, int, AnyFloatArray]]:
        """Walk through S once, a shard at a time; see `Rows.blocks`."""
        starts, step = self._shards.starts.tolist(), self.block_size
        for k, (first, end) in enumerate(pairwise(starts)):
            if first == end:
                continue
            (rows,) = self._shards.map(_all_rows, only=[k])
            for start in range(first, end, step):
                stop = min(start + step, end)
                yield start, stop, rows[start - first : stop - first]

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

    def search_matrix(self) -> AnyFloatArray:
        """Bring S here where it may be held; see `Rows.search_matrix`.

        Raises
        ------
        OutOfMemoryError
            Where it may not: a search works on chosen rows then.
        """
        if self.nbytes > most_held():
            raise OutOfMemoryError(
                f"S of {self.n:,} x {self.d:,} in shards takes {describe(self.nbytes)}, and a "
                f"search that asks for every row may hold {describe(most_held())}. Choose a solver "
                "that brings only the rows near the margin here, such as 'anneal', or set "
                "SUBSETSEL_MEMORY_GIB."
            )
        return super().search_matrix()

    @property
    def search_width(self) -> int:
        """d: nothing is searched on a projection of rows in shards."""
        return self.d

    def choices(self) -> dict[str, str | int]:
        """Tell what decides the answer with the seed; see `Rows.choices`."""
        return {**super().choices(), "num_shards": len(self._shards)}

    @cached_property
    def row_error(self) -> FloatArray:
        """Outward limits of what the products lose; see `Rows.row_error`.

        A sum goes over the rows of a block, the blocks of a shard and the shards.
        """
        if not self.is_exact:
            return np.full(self.n, np.inf)
        longest = int(np.diff(self._shards.starts).max(initial=0))
        size = min(longest, self.block_size)
        num_terms = self.d + size + longest // max(1, size) + len(self._shards) + 8
        relative = num_terms * UNIT + (0.0 if self._is_stored else SOLVE_ERROR)
        return relative * np.sqrt(self.squared_norms)

    @property
    def sums_cheaply(self) -> bool:
        """Whether S^T w costs no more than reading a few rows: it is one round, as `take` is."""
        return True

    @property
    def _is_stored(self) -> bool:
        return self._kind == "stored"


def open_rows(
    paths: Paths,
    *,
    engine: Any = None,
    columns: Sequence[str] | None = None,
    rows_per_shard: int | None = None,
) -> Rows:
    """Read S from files: one that fits the plan of memory as an array, all others in shards.

    Parameters
    ----------
    paths, engine, columns, rows_per_shard
        See `subsetsel.shards.sources.open_table`. With an engine, with ``rows_per_shard``, and with
        more than one file the rows always lie in shards.

    Raises
    ------
    ProblemError
        If S is not two-dimensional, or holds an entry that is not finite, named by file and row, or
        one whose square overflows or vanishes.
    FileFormatError
        See `subsetsel.shards.sources.open_table`.
    """
    workers = open_workers(engine)
    files = find_files(paths, workers, columns=columns)
    if not files.width:
        raise ProblemError(
            f"S must have two dimensions (n examples, d parameters), and {files.paths[0]} holds "
            "one number per example; store a single column as S[:, None]."
        )
    if engine is None and rows_per_shard is None and _is_one_array(files):
        return DenseRows(files.whole())
    return _looked_at(open_files(files, workers, _load_rows, rows_per_shard))


def rows_in_shards(shards: Shards) -> ShardedRows:
    """Make `ShardedRows` of shards of arrays, whose entries are looked at.

    Raises
    ------
    ProblemError
        As `open_rows`, or if the shards have not all the same width.
    """
    return _looked_at(shards.derive(_as_dense))


def _looked_at(shards: Shards) -> ShardedRows:
    found = shards.map(_entries)
    widths = {one.shape[1]: k for k, one in enumerate(found) if one is not None}
    if len(widths) != 1:
        named = " and ".join(f"{shards.names[k]} has {width}" for width, k in widths.items())
        raise ProblemError(
            f"S in shards must have rows of one length, and {named or 'there are none'}; give all "
            "of them the same columns."
        )
    refuse_entries(found, lambda k, row, column: f"column {column} of {_locate(shards, k, row)}")
    dtype = np.result_type(*(one.dtype for one in found if one is not None))
    return ShardedRows(shards, next(iter(widths)), dtype)


def _locate(shards: Shards, k: int, row: int) -> str:
    return shards.locate(int(shards.starts[k]) + row)


def _is_one_array(files: Files) -> bool:
    return len(files.paths) == 1 and files.nbytes <= most_held()


def _load_rows(source: Source) -> DenseRows:
    return DenseRows(load_arrays(source), is_checked=True)


def _as_dense(array: Any) -> DenseRows | None:
    return DenseRows(array, is_checked=True) if len(array) else None


def _entries(rows: DenseRows | None) -> Entries | None:
    return None if rows is None else rows.entries()


def _all_rows(rows: Rows | None) -> AnyFloatArray:
    assert rows is not None
    return rows.block(0, rows.n)


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

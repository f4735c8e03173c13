"""Files of one table: which there are, whether they fit together, and where they are cut."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.errors import FileFormatError, OptionError
from subsetsel.shards.pieces import ALIGNMENT, Piece, Source, load_arrays
from subsetsel.shards.readers import ENDINGS, About, describe
from subsetsel.shards.workers import Workers
from subsetsel.support.memory import describe as in_words
from subsetsel.support.memory import planned_memory
from subsetsel.support.parts import parts_of

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]

SHARD_BYTES = 64 * 2**20
"""Bytes of a shard, unless there would be more than `MAX_SHARDS`."""
MAX_SHARDS = 256
# Of the memory that is planned with: a shard is read as a whole, and computed with in float64.
_SHARE_OF_PLAN = 16


@dataclass(frozen=True)
class Files:
    """Files that hold rows of one table, one after the other, and what each says of itself."""

    paths: Sequence[str]
    about: Sequence[About]
    label: str | None

    @property
    def num_rows(self) -> int:
        """Examples in all files."""
        return sum(one.num_rows for one in self.about)

    @property
    def width(self) -> int:
        """Numbers in a row; 0 where each is a single value."""
        return self._first.width

    @property
    def nbytes(self) -> int:
        """Bytes of all rows together, once they are read."""
        return sum(one.num_rows * one.row_bytes for one in self.about)

    def whole(self) -> Any:
        """Read everything; an npy file of floats is mapped."""
        parts = zip(self.paths, self.about, strict=True)
        return load_arrays(self._source([_piece(*part, 0, part[1].num_rows) for part in parts]))

    def cut(self, rows_per_shard: int | None, *, is_mapped: bool) -> list[Source]:
        """Cut the files into shards, each named by what it is read from."""
        given = 1 if rows_per_shard is None else rows_per_shard
        if not isinstance(given, Integral) or isinstance(given, bool) or given < 1:
            raise OptionError(
                f"rows_per_shard must be a positive whole number, got {rows_per_shard!r}."
            )
        shards = _gather(self._ranges(rows_per_shard), self._most_rows(rows_per_shard))
        return [self._source(part)._replace(is_mapped=is_mapped) for part in shards]

    @property
    def _first(self) -> About:
        return next(one for one in self.about if one.num_rows)

    def _source(self, pieces: Sequence[Piece]) -> Source:
        return Source(tuple(pieces), self._first.columns, self.label, is_mapped=True)

    def _most_rows(self, rows_per_shard: int | None) -> int:
        if rows_per_shard is not None:
            return int(rows_per_shard)
        most = max(SHARD_BYTES, min(self.nbytes // MAX_SHARDS, planned_memory() // _SHARE_OF_PLAN))
        most //= max(one.row_bytes for one in self.about)
        return most - most % ALIGNMENT or most or 1

    def _ranges(self, rows_per_shard: int | None) -> Iterator[Piece]:
        """Give the ranges of rows that are read as a whole."""
        most = self._most_rows(rows_per_shard)
        for path, one in zip(self.paths, self.about, strict=True):
            ends = np.cumsum([0, *(one.units or _even(one.num_rows, most))]).tolist()
            for start, stop in pairwise(ends):
                yield _piece(path, one, start, stop)


def _even(num_rows: int, most: int) -> list[int]:
    """Cut into as few parts as can be, alike but for the last, and aligned where they may be."""
    num = -(-num_rows // most)
    step = -(-num_rows // max(1, num))
    if step + -step % ALIGNMENT <= most:
        step += -step % ALIGNMENT
    return [min(step, num_rows - start) for start in range(0, num_rows, max(1, step))]


def _piece(path: str, about: About, start: int, stop: int) -> Piece:
    return Piece(path, os.path.abspath(path), start, stop, about.stamp)


def find_files(
    paths: Paths,
    workers: Workers,
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
) -> Files:
    """List files, look at what each says of itself, and see that they fit together."""
    if isinstance(columns, str):
        columns = [columns]
    names = list(_list(paths))
    found = workers.run(describe, [(os.path.abspath(name), columns, label) for name in names])
    files = Files(names, found, label)
    filled = [(name, one) for name, one in zip(names, found, strict=True) if one.num_rows]
    if not filled:
        raise FileFormatError(f"{_listed(names)} hold no example; give files that have rows.")
    first, expected = filled[0]
    for name, one in filled:
        _refuse_differences(first, expected, name, one)
        largest = max(one.units, default=0) * one.row_bytes
        if largest > planned_memory() // _SHARE_OF_PLAN:
            raise FileFormatError(
                f"{name} is read in pieces of {max(one.units):,} rows, the largest of which takes "
                f"{in_words(largest)}; at most {in_words(planned_memory() / _SHARE_OF_PLAN)} are "
                "planned for one. Write it with smaller row groups, as by frame.to_parquet(path, "
                "row_group_size=100_000), or smaller chunks, or set SUBSETSEL_MEMORY_GIB."
            )
    return files


def _gather(pieces: Iterable[Piece], most_rows: int) -> Iterator[list[Piece]]:
    """Put pieces that follow each other into one shard while they are small enough together."""
    shard: list[Piece] = []
    num_rows = 0
    for piece in pieces:
        own = piece.stop - piece.start
        if shard and num_rows + own > most_rows:
            yield shard
            shard, num_rows = [], 0
        last = shard[-1] if shard else None
        if last is not None and last.path == piece.path:
            shard[-1] = last._replace(stop=piece.stop)
        else:
            shard.append(piece)
        num_rows += own
    if shard:
        yield shard


def _list(paths: Paths) -> Iterator[str]:
    """List the files, and refuse what is none of them, several kinds, and one named twice."""
    given = [paths] if isinstance(paths, (str, PathLike)) else paths
    seen: dict[str, str] = {}
    for one in given:
        text = os.fspath(one)
        if "://" in text:
            raise FileFormatError(
                f"{text} is an address, and only files of a file system are read by their names; "
                "give a dask array, as by dask.array.from_zarr or "
                "dask.dataframe.read_parquet(...).to_dask_array(lengths=True)."
            )
        for part in parts_of(Path(text), ENDINGS):
            if part.suffix not in ENDINGS:
                raise FileFormatError(
                    f"{part}: files in shards end in one of {', '.join(ENDINGS)}; write it as one "
                    "of these, or read it into an array yourself."
                )
            path = str(part)
            if os.path.realpath(path) in seen:
                raise FileFormatError(
                    f"{path} is named twice, and its examples would count twice; name it once."
                )
            seen[os.path.realpath(path)] = path
            first = next(iter(seen.values()))
            if not path.endswith(Path(first).suffix):
                raise FileFormatError(
                    f"{first} and {path} are of two kinds; give files of one, as a glob such as "
                    f"'folder/*{Path(first).suffix}'."
                )
            yield path
    if not seen:
        raise FileFormatError("the list of files is empty; name at least one.")


def _refuse_differences(first: str, expected: About, name: str, found: About) -> None:
    if found.width != expected.width:
        raise FileFormatError(
            f"{name} has {found.width} numbers in a row, and {first} has {expected.width}; write "
            "both with the same features, or leave one out."
        )
    theirs, own = dict(expected.types), dict(found.types)
    for column in (*theirs, *own):
        if theirs.get(column) != own.get(column):
            here, there = (one.get(column, "is not there") for one in (own, theirs))
            raise FileFormatError(
                f"{column!r} is not the same in {name} ({here}) and in {first} ({there}). Write "
                "both with the same columns of the same types, or name columns that they share."
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")

"""Parquet: columns by name, read batch by batch into one array, from one file or from several."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array
from subsetsel.support.arrow import join_features, read_labels
from subsetsel.support.optional import import_extra
from subsetsel.support.parquet import (
    index_columns,
    named_columns,
    opened_parquet,
    refuse_differences,
)

_BATCH = 1 << 14


class ParquetTable:
    """The columns of a parquet file, or of several that have the same, one after the other."""

    kind = "column"

    def __init__(self, path: Path, parts: Sequence[Path]) -> None:
        self.path = str(path)
        self._parts = parts
        self._rows: list[int] = []
        for part in parts:
            with opened_parquet(part) as file:
                schema = file.schema_arrow
                self._rows.append(file.metadata.num_rows)
                if part == parts[0]:
                    first = schema
                    self.names: Sequence[str] = schema.names
                    self.index: Sequence[str] = index_columns(schema)
                elif len(parts) > 1:
                    refuse_differences(parts[0], first, part, schema)
        if not sum(self._rows):
            raise FileFormatError(f"{path} holds no example.")

    def take(
        self, features: Sequence[str], label: str | None, identity: str | None
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Read columns of numbers, or of lists of as many, as they are stored; labels and ids."""
        y = None if label is None else self._column(label)
        ids = None if identity is None else self._column(identity, is_id=True)
        if not features:
            return None, y, ids
        with named_columns(self.path):
            X = join_features(self.path, sum(self._rows), features, self._batches(features))
        return X, y, ids

    def place(self, row: int) -> str:
        """Say in which row, and of which part."""
        if len(self._parts) == 1:
            return f"row {row}"
        ends = list(itertools.accumulate(self._rows))
        at = bisect.bisect_right(ends, row)
        return f"row {row - ends[at] + self._rows[at]} of {self._parts[at]}"

    def _batches(self, names: Sequence[str]) -> Iterator[Any]:
        for part in self._parts:
            with opened_parquet(part) as file:
                yield from file.iter_batches(batch_size=_BATCH, columns=list(names))

    def _column(self, name: str, *, is_id: bool = False) -> Array:
        """Read labels, or ids, among which dates are texts."""
        arrow = import_extra("pyarrow", "parquet", "parquet files")
        columns = []
        for part in self._parts:
            with opened_parquet(part) as file:
                columns.append(file.read(columns=[name]).column(name))
        column = arrow.chunked_array([chunk for one in columns for chunk in one.chunks])
        with named_columns(self.path):
            if is_id and arrow.types.is_temporal(column.type):
                column = column.cast(arrow.string())
            return read_labels(self.path, column, name)


def read_parquet_metadata(path: Path) -> dict[bytes, bytes]:
    """Read what a file says of itself."""
    with opened_parquet(path) as file:
        return dict(file.schema_arrow.metadata or {})

"""Parquet: columns by name, read batch by batch into one array, from one file or from several."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.formats.arrow import join_features, read_labels
from subsetsel.formats.data import Array
from subsetsel.support.memory import check_fits
from subsetsel.support.optional import import_extra

_BATCH = 1 << 14


class ParquetTable:
    """The columns of a parquet file, or of several that have the same, one after the other."""

    kind = "column"

    def __init__(self, path: Path, parts: Sequence[Path]) -> None:
        self.path = str(path)
        self._parts = parts
        self._rows: list[int] = []
        for part in parts:
            with _opened(part) as file:
                schema = file.schema_arrow
                self._rows.append(file.metadata.num_rows)
                if part == parts[0]:
                    first = schema
                    self.names: Sequence[str] = schema.names
                    self.index: Sequence[str] = _index(schema)
                elif len(parts) > 1:
                    _refuse_differences(parts[0], first, part, schema)
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
        with _named(self.path):
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
            with _opened(part) as file:
                yield from file.iter_batches(batch_size=_BATCH, columns=list(names))

    def _column(self, name: str, *, is_id: bool = False) -> Array:
        """Read labels, or ids, among which dates are texts."""
        arrow = import_extra("pyarrow", "parquet", "parquet files")
        columns = []
        for part in self._parts:
            with _opened(part) as file:
                columns.append(file.read(columns=[name]).column(name))
        column = arrow.chunked_array([chunk for one in columns for chunk in one.chunks])
        with _named(self.path):
            if is_id and arrow.types.is_temporal(column.type):
                column = column.cast(arrow.string())
            return read_labels(self.path, column, name)


def read_parquet_metadata(path: Path) -> dict[bytes, bytes]:
    """Read what a file says of itself."""
    with _opened(path) as file:
        return dict(file.schema_arrow.metadata or {})


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Turn an error about columns into one about a file."""
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    try:
        yield
    except FileFormatError:
        raise
    except ProblemError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (arrow.ArrowException, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path} is not a parquet file, or is damaged: {error}.") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file, and turn every error into a `FileFormatError` that names it."""
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    parquet = import_extra("pyarrow.parquet", "parquet", "parquet files")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in names:
                if names.count(name) > 1:
                    raise FileFormatError(f"{path} has two columns named {name!r}; rename one.")
            about = file.metadata
            # What each row group says it takes once it is unpacked.
            sizes = (about.row_group(g).total_byte_size for g in range(about.num_row_groups))
            check_fits(str(path), max(sizes, default=0))
            yield file
    except FileFormatError:
        raise
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path} is not a parquet file, or is damaged: {error}.") from error


def _index(schema: Any) -> list[str]:
    """Name the columns in which pandas stored the index of a frame."""
    about = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    columns = about.get("index_columns", []) if isinstance(about, dict) else []
    if not isinstance(columns, list):
        return []
    return [name for name in columns if isinstance(name, str) and name in schema.names]


def _refuse_differences(first: Path, expected: Any, part: Path, schema: Any) -> None:
    """Refuse a part that has other columns than the first, or columns of other types."""
    for one, names, other in (
        (part, set(expected.names) - set(schema.names), first),
        (first, set(schema.names) - set(expected.names), part),
    ):
        if names:
            raise FileFormatError(
                f"{one} has no column {min(names)!r}, which {other} has. Write both with the same "
                "columns, or name one of them."
            )
    for name in expected.names:
        wanted, found = expected.field(name).type, schema.field(name).type
        if wanted != found:
            raise FileFormatError(
                f"{part}: column {name!r} holds {found}, and in {first} it holds {wanted}. Write "
                "both with one type."
            )

"""Parquet: columns by name, read batch by batch into one array."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array, Data, as_text
from subsetsel.formats.tables import require_label
from subsetsel.support.memory import check_fits
from subsetsel.support.optional import import_extra

_BATCH = 1 << 14


def read_parquet_matrix(path: Path) -> Array:
    """Read a file all of whose columns are numbers, or lists of as many numbers.

    Returns
    -------
    ndarray of shape (n, d)

    Raises
    ------
    FileFormatError
        If it is something else, is damaged, or does not fit into memory.
    """
    with _opened(path) as file:
        return _features(path, file, file.schema_arrow.names)


def read_parquet(path: Path, label: str, identity: str) -> Data:
    """Read labelled examples.

    Parameters
    ----------
    path : Path
    label, identity : str
        Columns that hold the labels and the ids; all others are features.

    Returns
    -------
    Data

    Raises
    ------
    FileFormatError
        If it is something else, is damaged, lacks the labels, or does not fit into memory.
    """
    with _opened(path) as file:
        names = file.schema_arrow.names
        require_label(path, label, names)
        others = [name for name in names if name not in {label, identity}]
        if not others:
            raise FileFormatError(f"{path} has no column of features beside {label!r}.")
        y = _values(path, file, label)
        ids = _values(path, file, identity) if identity in names else None
        return Data(_features(path, file, others), y, ids)


def read_parquet_column(path: Path, name: str) -> Array:
    """Read one column of numbers or texts.

    Returns
    -------
    ndarray of shape (n,)
    """
    with _opened(path) as file:
        require_label(path, name, file.schema_arrow.names)
        return _values(path, file, name)


def read_parquet_metadata(path: Path) -> dict[bytes, bytes]:
    """Read what a file says of itself.

    Returns
    -------
    dict
    """
    with _opened(path) as file:
        return dict(file.schema_arrow.metadata or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    parquet = import_extra("pyarrow.parquet", "parquet", "parquet files")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise FileFormatError(f"{path} has two columns of one name.")
            groups = range(file.metadata.num_row_groups)
            check_fits(str(path), max((_group_size(file, g) for g in groups), default=0))
            if not file.metadata.num_rows:
                raise FileFormatError(f"{path} holds no example.")
            yield file
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is not a parquet file, or is damaged: {error}.") from error


def _group_size(file: Any, group: int) -> int:
    """Bytes that one row group says it takes once it is unpacked."""
    size: int = file.metadata.row_group(group).total_byte_size
    return size


def _features(path: Path, file: Any, names: list[str]) -> Array:
    """Read columns into one array, a batch at a time."""
    types = import_extra("pyarrow", "parquet", "parquet files").types
    n = file.metadata.num_rows
    first = next(file.iter_batches(batch_size=1, columns=names), None)
    if first is None:
        raise FileFormatError(f"{path} says it has {n} rows and holds none.")
    widths, kinds = [], []
    for name in names:
        column = first.column(name)
        kind, width = column.type, 1
        kind = getattr(kind, "storage_type", kind)
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            width = len(column[0].as_py() or [])
            kind = kind.value_type
        if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
            raise FileFormatError(
                f"{path}: column {name!r} holds {kind}, not numbers. Turn it into numbers first, "
                "or leave it out; --label and --id name the columns that are no features."
            )
        widths.append(width)
        kinds.append(np.dtype(np.float32) if types.is_float16(kind) else kind.to_pandas_dtype())
    dtype = np.result_type(np.float32, *kinds)
    dtype = np.dtype(np.float64) if dtype.kind != "f" else dtype
    check_fits(str(path), n * sum(widths) * dtype.itemsize)
    out = np.empty((n, sum(widths)), dtype=dtype)
    edges = np.cumsum([0, *widths])
    start = 0
    for batch in file.iter_batches(batch_size=_BATCH, columns=names):
        stop = start + len(batch)
        if stop > n:
            raise FileFormatError(f"{path} says it has {n} rows and holds more.")
        for c, name in enumerate(names):
            block = out[start:stop, edges[c] : edges[c + 1]]
            _fill(block, batch.column(name), widths[c], path, name, start)
        start = stop
    if start != n:
        raise FileFormatError(f"{path} says it has {n} rows and holds {start}.")
    return out


def _fill(block: Array, column: Any, width: int, path: Path, name: str, start: int) -> None:
    column = getattr(column, "storage", column)
    if hasattr(column, "flatten"):
        lengths = column.value_lengths() if hasattr(column, "value_lengths") else None
        short = (
            np.zeros(0, dtype=np.int64)
            if lengths is None
            else np.flatnonzero(lengths.fill_null(0).to_numpy(zero_copy_only=False) != width)
        )
        if short.size or column.null_count:
            row = start + (int(short[0]) if short.size else 0)
            raise FileFormatError(
                f"{path}: the lists of column {name!r} have not all {width} numbers; look at row "
                f"{row}."
            )
        column = column.flatten()
    block[...] = column.to_numpy(zero_copy_only=False).reshape(block.shape)


def _values(path: Path, file: Any, name: str) -> Array:
    """Read labels or ids: integers or texts."""
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    column = file.read(columns=[name]).column(name).combine_chunks()
    if arrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise FileFormatError(f"{path}: column {name!r} has no value in row {row}.")
    kind = column.type
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        return as_text(f"{path}: column {name!r}", column.to_pylist())
    if not (
        arrow.types.is_integer(kind)
        or arrow.types.is_boolean(kind)
        or arrow.types.is_floating(kind)
    ):
        raise FileFormatError(f"{path}: column {name!r} holds {kind}, neither numbers nor text.")
    values: Array = column.to_numpy(zero_copy_only=False)
    return values

"""Rows of files of arrays and of columns: npy, npz, parquet and zarr, a range of rows at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError
from subsetsel.support.arrays import as_text
from subsetsel.support.arrow import join_features, read_labels
from subsetsel.support.npz import map_npy, npz_header, read_npz_rows
from subsetsel.support.optional import import_extra
from subsetsel.support.parquet import index_columns, named_columns, opened_parquet

Array = NDArray[Any]
Stamp = tuple[int, int]

ENDINGS = (".npy", ".npz", ".parquet", ".zarr")

_BATCH = 1 << 14
_LARGEST_WHOLE = 2**53
_WIDE = {"DOUBLE", "INT64", "INT32"}


class About(NamedTuple):
    """What a file says of itself, before any row is read.

    Attributes
    ----------
    stamp : tuple of int
        Its size in bytes, and when it was changed last.
    num_rows, width : int
        Width is 0 where each row is one value.
    itemsize : int
        Bytes of a number, once it is read.
    units : tuple of int
        Rows of the pieces that are read as a whole; empty where any range can be read.
    columns : tuple of str
        Columns, or the array, that hold the features.
    types : tuple of (str, str)
        Columns, with the labels, or the array of the labels; and what each holds.
    """

    stamp: Stamp
    num_rows: int
    width: int
    itemsize: int
    units: tuple[int, ...]
    columns: tuple[str, ...]
    types: tuple[tuple[str, str], ...]

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes once it is read."""
        return max(1, self.width) * self.itemsize


def stamp_of(path: str) -> Stamp:
    """Give the size of a file, and when it was changed; of a zarr store, those of its metadata."""
    if path.endswith(".zarr"):
        names = ("zarr.json", ".zarray", ".zgroup")
        path = next((f"{path}/{one}" for one in names if os.path.exists(f"{path}/{one}")), path)
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def describe(path: str, columns: Sequence[str] | None, label: str | None) -> About:
    """Look at a file.

    Parameters
    ----------
    path : str
    columns : sequence of str or None
        Columns of a table, or the one array of several, that hold the features. All but the label
        where None: of several arrays the one named ``X``, or the only one that is left.
    label : str or None

    Raises
    ------
    FileFormatError
        If it is not what its ending says, or has not what is asked for.
    """
    if path.endswith(".parquet"):
        return _describe_parquet(path, columns, label)
    known = _arrays_in(path)
    name = _choose(path, known, columns, label)
    shape, dtype, rows_of_chunk = known[name]
    wanted = [name] if label is None else [name, label]
    for one in wanted:
        if not known[one][0] or known[one][0][0] != shape[0]:
            raise FileFormatError(
                f"{path}: array {one!r} has shape {known[one][0]} and {name!r} has {shape}; each "
                "needs one row per example."
            )
    if len(shape) > 2 or shape[1:] == (0,):
        raise FileFormatError(
            f"{path}: array {name!r} has shape {shape}, and rows of numbers are needed, shape (n, "
            "d). Store array.reshape(len(array), -1)."
        )
    width = shape[1] if len(shape) == 2 else 0
    if width:
        dtype = _float_type(dtype, f"{path}: array {name!r}")
    step = rows_of_chunk
    units = () if not step else tuple(min(step, shape[0] - at) for at in range(0, shape[0], step))
    types = tuple((one, "text" if known[one][1].kind in "UOT" else "numbers") for one in wanted)
    return About(
        stamp_of(path), shape[0], width, dtype.itemsize, units=units, columns=(name,), types=types
    )


def read(
    path: str, start: int, stop: int, columns: Sequence[str], label: str | None
) -> tuple[Array, Array | None]:
    """Read rows ``start`` to ``stop`` of features, float32 or float64, and of labels.

    Values that are one per row are given as they are stored.
    """
    if path.endswith(".parquet"):
        return _read_parquet(path, start, stop, columns, label)
    (name,) = columns
    X = _slice(path, name, start, stop)
    if X.ndim == 2:
        X = _as_floats(X, f"{path}: array {name!r}", start)
    return X, None if label is None else _slice(path, label, start, stop)


# --- numbers --------------------------------------------------------------------------------------


def _float_type(dtype: Any, what: str) -> np.dtype[Any]:
    """Choose float32 or float64, whichever holds every number of a type."""
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise FileFormatError(
            f"{what} holds {dtype}, and real numbers of at most 64 bits are needed. Store "
            "array.astype(numpy.float32), or name another array."
        )
    is_narrow = dtype.kind == "b" or dtype.itemsize <= (4 if dtype.kind == "f" else 2)
    return np.dtype(np.float32 if is_narrow else np.float64)


def _as_floats(array: Array, what: str, first: int) -> Array:
    """Convert numbers without losing any; those that are fit already stay where they are."""
    dtype = _float_type(array.dtype, what)
    if array.dtype == dtype:
        return array
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        bad = np.argwhere((array > _LARGEST_WHOLE) | (array < -_LARGEST_WHOLE))
        if bad.size:
            row, column = int(bad[0, 0]), int(bad[0, 1])
            raise FileFormatError(
                f"{what} holds {array[row, column]} in row {first + row}, column {column}, which "
                "float64 does not tell from its neighbours. Store array.astype(numpy.float64)."
            )
    return np.asarray(array).astype(dtype)


# --- arrays: npy, npz, zarr -----------------------------------------------------------------------


def _arrays_in(path: str) -> dict[str, tuple[tuple[int, ...], np.dtype[Any], int]]:
    """Shape, type and rows of a chunk, 0 where any range can be read, of each array by name."""
    if path.endswith(".npy"):
        array = map_npy(Path(path))
        return {"X": (array.shape, array.dtype, 0)}
    if path.endswith(".npz"):
        return {name: (*about, 0) for name, about in npz_header(path).items()}
    with _opened_zarr(path) as store:
        arrays = dict(store.arrays()) if hasattr(store, "arrays") else {"X": store}
        return {
            name: (one.shape, one.dtype, (one.shards or one.chunks)[0] if one.ndim else 0)
            for name, one in arrays.items()
        }


def _choose(path: str, known: Any, columns: Sequence[str] | None, label: str | None) -> str:
    """Choose the array of features, and see that the labels are there."""
    listed = ", ".join(map(repr, known)) or "none"
    if label is not None and label not in known:
        cure = (
            "Give the labels by themselves: an array, or the path of their file."
            if path.endswith(".npy")
            else "Name the array of the labels, or give them by themselves."
        )
        raise FileFormatError(f"{path} has no array {label!r} of labels; it holds {listed}. {cure}")
    if columns is not None and len(columns) != 1:
        raise FileFormatError(
            f"{path}: of a file of arrays one holds the features, and columns={list(columns)} "
            f"names {len(columns)}; name one of {listed}."
        )
    rest = [name for name in known if name != label]
    wanted = columns[0] if columns else "X" if "X" in rest or len(rest) != 1 else rest[0]
    if wanted not in known:
        raise FileFormatError(
            f"{path} has no array {wanted!r}; it holds {listed}. Name the one that holds the "
            "features with columns=[...]."
        )
    return wanted


def _slice(path: str, name: str, start: int, stop: int) -> Array:
    if path.endswith(".npy"):
        return map_npy(Path(path))[start:stop]
    if path.endswith(".npz"):
        return read_npz_rows(path, name, start, stop)
    with _opened_zarr(path) as store:
        part = (store[name] if hasattr(store, "arrays") else store)[start:stop]
    array: Array = np.asarray(part)
    if array.dtype.kind in "OT":
        return as_text(f"{path}: array {name!r}", array.tolist())
    return array


@contextmanager
def _opened_zarr(path: str) -> Iterator[Any]:
    zarr = import_extra("zarr", "zarr", "zarr stores")
    try:
        yield zarr.open(path, mode="r")
    except FileFormatError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise FileFormatError(f"{path} is not a zarr store, or is damaged: {error}.") from error


# --- parquet --------------------------------------------------------------------------------------


def _describe_parquet(path: str, columns: Sequence[str] | None, label: str | None) -> About:
    with opened_parquet(Path(path)) as file:
        schema, about = file.schema_arrow, file.metadata
        others = {label, *index_columns(schema)}
        names = [name for name in schema.names if name not in others]
        names = names if columns is None else list(columns)
        for name in [*names, *([] if label is None else [label])]:
            if name not in schema.names:
                more = ", ..." if len(schema.names) > 8 else ""
                raise FileFormatError(
                    f"{path} has no column {name!r}; its columns are "
                    f"{', '.join(map(repr, schema.names[:8]))}{more}. Name one of these, or give "
                    "the labels by themselves."
                )
        if not names:
            raise FileFormatError(f"{path} has no column of features beside {label!r}.")
        num_leaves = [_num_leaves(schema.field(name).type) for name in schema.names]
        ends = np.cumsum([0, *num_leaves])
        leaves = [
            leaf
            for name, (start, stop) in zip(schema.names, pairwise(ends), strict=True)
            if name in names
            for leaf in range(start, stop)
        ]
        groups = [about.row_group(g) for g in range(about.num_row_groups)]
        units = tuple(group.num_rows for group in groups if group.num_rows)
        values = sum(group.column(leaf).num_values for group in groups for leaf in leaves)
        kinds = {group.column(leaf).physical_type for group in groups for leaf in leaves}
        width = values // max(1, about.num_rows)
        itemsize = 8 if kinds & _WIDE else 4
        wanted = names if label is None else [*names, label]
        types = tuple((name, str(schema.field(name).type)) for name in wanted)
    return About(
        stamp_of(path), sum(units), width, itemsize, units=units, columns=tuple(names), types=types
    )


def _num_leaves(kind: Any) -> int:
    """Columns of the file in which a column of the table is stored."""
    if hasattr(kind, "value_field"):
        return _num_leaves(kind.value_field.type)
    if hasattr(kind, "key_field"):
        return _num_leaves(kind.key_field.type) + _num_leaves(kind.item_field.type)
    return sum(_num_leaves(kind.field(k).type) for k in range(kind.num_fields)) or 1


def _read_parquet(
    path: str, start: int, stop: int, columns: Sequence[str], label: str | None
) -> tuple[Array, Array | None]:
    with opened_parquet(Path(path)) as file:
        about = file.metadata
        lengths = [about.row_group(g).num_rows for g in range(about.num_row_groups)]
        begins = np.cumsum([0, *lengths])[:-1]
        groups = [
            g for g, begin in enumerate(begins.tolist()) if start <= begin < stop and lengths[g]
        ]
        batches = file.iter_batches(
            batch_size=_BATCH, row_groups=groups, columns=list(columns), use_threads=False
        )
        with named_columns(path):
            X: Array
            if len(columns) == 1 and _is_text(file.schema_arrow.field(columns[0]).type):
                X = _read_column(file, groups, columns[0], start)
            else:
                X = join_features(path, stop - start, columns, batches, start)
            y = None if label is None else _read_column(file, groups, label, start)
    return X, y


def _read_column(file: Any, groups: Sequence[int], name: str, start: int) -> Array:
    table = file.read_row_groups(list(groups), columns=[name], use_threads=False)
    return read_labels("the file", table.column(name), name, start)


def _is_text(kind: Any) -> bool:
    return "string" in str(kind) and not hasattr(kind, "value_field")

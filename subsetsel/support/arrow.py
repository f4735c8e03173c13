"""Columns of Arrow, which parquet files and Hugging Face data sets both give, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import ProblemError
from subsetsel.support.arrays import as_text
from subsetsel.support.memory import check_fits
from subsetsel.support.optional import import_extra

Array = NDArray[Any]
# From here on float64 does not tell neighbouring integers apart.
_LARGEST_WHOLE = 2**53


def join_features(
    what: str, n: int, names: Sequence[str], batches: Iterable[Any], first: int = 0
) -> Array:
    """Write columns of numbers, or of lists of as many numbers, into one array of n rows.

    Parameters
    ----------
    what : str
        Begins the message where the array does not fit into memory.
    n : int
        How many rows the source says it has.
    names : sequence of str
        Columns, in the order in which they stand side by side in the array.
    batches : iterable of pyarrow.RecordBatch
        One at a time is held.
    first : int
        Row of the source that they begin with, for messages.

    Returns
    -------
    ndarray of shape (n, h)
        float32, or float64 where a column needs it.

    Raises
    ------
    ProblemError
        If a column does not hold numbers, its lists differ in length, or there are not n rows.
    """
    out: Array | None = None
    start = 0
    for batch in batches:
        block = np.hstack([_numbers(batch.column(name), name, first + start) for name in names])
        stop = start + len(block)
        if out is None:
            dtype = np.result_type(np.float32, block.dtype)
            check_fits(what, n * block.shape[1] * dtype.itemsize)
            out = np.empty((n, block.shape[1]), dtype=dtype)
        if stop > n:
            raise ProblemError(f"the source says it has {n} rows and holds more.")
        if block.shape[1] != out.shape[1]:
            raise ProblemError(
                f"the lists of {', '.join(names)} differ in length: {block.shape[1]} numbers in "
                f"row {first + start}, and {out.shape[1]} in row {first}."
            )
        out[start:stop] = block
        start = stop
    if out is None or start != n:
        raise ProblemError(f"the source says it has {n} rows and holds {start}.")
    return out


def _numbers(column: Any, name: str, start: int) -> Array:
    """One row of numbers per example, for a column that begins at row ``start``."""
    compute = import_extra("pyarrow.compute", "parquet", "columns of Arrow")
    num_rows = len(column)
    values = getattr(column, "storage", column)
    _refuse_nulls(values, name, start, num_rows)
    # Pictures are lists of lists.
    while hasattr(values.type, "value_field"):
        lengths = compute.list_value_length(values).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(lengths != lengths[:1])
        if bad.size:
            at = start + bad[0] * num_rows // len(lengths)
            raise ProblemError(
                f"the lists of column {name!r} differ in length: {lengths[bad[0]]} in row {at}, "
                f"and {lengths[0]} in row {start}."
            )
        values = values.flatten()
        _refuse_nulls(values, name, start, num_rows)
    numbers: Array = values.to_numpy(zero_copy_only=False)
    if numbers.dtype.kind not in "fiub":
        raise ProblemError(
            f"column {name!r} holds {column.type}, not numbers. Turn texts into embeddings and "
            "categories into numbers first, or leave the column out (--drop on the command line). "
            "Columns of labels and ids are no features: name them (--label and --id), as those of "
            "weights, which are numbers (--weight)."
        )
    if numbers.dtype.itemsize > 4 and numbers.dtype.kind in "iu":
        _refuse_inexact(numbers.reshape(num_rows, -1), name, start)
    return numbers.reshape(num_rows, -1)


def _refuse_inexact(numbers: Array, name: str, start: int) -> None:
    """Refuse whole numbers that would not stay what they are in float64."""
    bad = np.argwhere((numbers > _LARGEST_WHOLE) | (numbers < -_LARGEST_WHOLE))
    if bad.size:
        row, column = int(bad[0, 0]), int(bad[0, 1])
        raise ProblemError(
            f"column {name!r} holds {numbers[row, column]} in row {start + row}, which float64 "
            "does not tell from its neighbours. Where these are ids, say so (--id on the command "
            "line) or leave the column out (--drop); where they are amounts, store them as float64."
        )


def _refuse_nulls(values: Any, name: str, start: int, num_rows: int) -> None:
    """Refuse values that are missing, by the row of the table in which the first one stands."""
    if values.null_count:
        at = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        raise ProblemError(
            f"column {name!r} has no value in row {start + at * num_rows // len(values)}. Fill it "
            "in, leave the example out, or leave the column out (--drop on the command line)."
        )


def read_labels(what: str, column: Any, name: str, first: int = 0) -> Array:
    """Turn a column of labels or ids, which must be complete, into an array of numbers or texts.

    ``first`` is the row of the source that it begins with, for messages.
    """
    types = import_extra("pyarrow", "parquet", "columns of Arrow").types
    column = column.combine_chunks()
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise ProblemError(
            f"column {name!r} has no value in row {first + row}. Fill it in, or leave the example "
            "out."
        )
    if (
        types.is_string(column.type)
        or types.is_large_string(column.type)
        or types.is_string_view(column.type)
    ):
        return as_text(f"{what}: column {name!r}", column.to_pylist())
    values: Array = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "fiub":
        raise ProblemError(
            f"column {name!r} holds {column.type}, neither numbers nor text. Write it as text, or "
            "name another column."
        )
    return values

"""Arrays from whatever users hold their numbers in."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from subsetsel.errors import FileFormatError, MissingExtraError, ProblemError
from subsetsel.support.memory import check_fits

_NUMBERS = (Real, np.bool_, Decimal)


def to_numpy(given: Any, name: str) -> NDArray[Any]:
    """Turn nested lists, an array, a tensor of any device and type, or a frame into an array.

    Tensors and frames are recognised by their methods, so that neither torch nor pandas need be
    imported to ask. Floating tensors become float64, since NumPy has no bfloat16. Python's own
    numbers in an array of objects become numbers, and missing ones among them NaN; rows that are
    lists or arrays are stacked. A list that holds texts becomes an array of objects.

    Raises
    ------
    ProblemError
        If it is no array: a stream, a set, lists that differ in length; if values are masked; if it
        is sparse; or if a column of a frame holds no numbers.
    """
    if is_tensor(given):
        return _from_tensor(given, name)
    frame = as_frame(given, name)
    if frame is not None:
        return _from_frame(frame, name)
    if issparse(given):
        raise ProblemError(f"{name} is a sparse matrix; give {name}.toarray().")
    refuse_mask(given, name, f"leave these examples out or fill them in, as {name}.filled(0)")
    if isinstance(given, (list, tuple)):
        given = _unwrap(given, name)
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ProblemError(f"{name} is not a rectangular array: {error}.") from error
    if array.dtype.kind == "V":
        raise ProblemError(
            f"{name} has named fields, {array.dtype}; give an array of one type, as by "
            f"numpy.lib.recfunctions.structured_to_unstructured({name})."
        )
    if array.dtype.kind != "O":
        return array
    if array.ndim == 0:
        got = "None" if given is None else f"a {type(given).__name__}"
        raise ProblemError(
            f"{name} must be a list or an array in the order of the examples, got {got}; of a "
            "generator make a list."
        )
    return _from_objects(array, name)


def is_tensor(given: Any) -> bool:
    """Whether it, or a type, is a tensor of torch."""
    return hasattr(given, "detach") and hasattr(given, "cpu")


def as_frame(given: Any, name: str) -> Any:
    """Give a frame of pandas as it is, and one of polars or Arrow as one of pandas; None for else.

    NumPy takes their dates for numbers.
    """
    if not hasattr(given, "columns"):
        return None
    if hasattr(given, "iloc"):
        return given
    if not hasattr(given, "to_pandas"):
        return None
    try:
        return given.to_pandas()
    except ImportError as error:
        raise MissingExtraError(
            f"{name} is a {type(given).__name__}, which needs pandas and pyarrow to be read: "
            'pip install "subsetsel[pandas]".'
        ) from error


def is_missing(value: Any) -> bool:
    """Whether one value is None, NaN, or what pandas has for either."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, (*_NUMBERS, np.generic)) and bool(value != value)


def refuse_mask(given: Any, name: str, cure: str) -> None:
    """Refuse an array of which values are masked: the values behind the mask mean nothing."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        mask = np.atleast_1d(np.ma.getmaskarray(given))
        row = int(np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))[0])
        raise ProblemError(f"{name} holds masked values, the first in row {row}; {cure}.")


def column_numbers(column: Any, what: str) -> NDArray[Any]:
    """Numbers of a column of pandas, shape (n, h); h is 1 unless the column holds lists.

    ``what`` begins the message: ``"column 'width'"``.
    """
    dtype = column.dtype
    cure = None
    if dtype.kind in "iufb":
        if isinstance(dtype, np.dtype):
            return np.asarray(column).reshape(-1, 1)
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan)).reshape(-1, 1)
    if dtype.kind == "M":
        cure = "count the seconds, as by (column - column.min()).dt.total_seconds()"
    elif dtype.kind == "m":
        cure = "count the seconds, as by column.dt.total_seconds()"
    elif dtype == "category":
        cure = (
            "make a column of each category by pandas.get_dummies(frame, columns=[...]), or, where "
            "they are amounts, numbers by column.astype(float)"
        )
    if cure is None:
        array = to_numpy(column.to_numpy(), what)
        if array.dtype.kind in "iufb":
            return array.reshape(len(column), -1)
        cure = (
            "of categories make columns by pandas.get_dummies(frame, columns=[...]), of texts that "
            "are numbers make numbers by pandas.to_numeric(column)"
        )
    raise ProblemError(
        f"{what} cannot be a feature: it holds {dtype}. Leave it out by frame.drop(columns=...), "
        f"or {cure}."
    )


def as_text(what: str, values: Sequence[str]) -> NDArray[np.str_]:
    """Make a text array of shape (n,), in which every element is as wide as the longest.

    ``what`` begins the message where that does not fit into memory: a file, and which part of it.
    NumPy drops zero bytes at the end of a text, and two texts might become one; they are refused.
    """
    check_fits(what, 4 * len(values) * max(map(len, values), default=0))
    for row, value in enumerate(values):
        if "\0" in value:
            raise FileFormatError(
                f"{what} holds a zero byte in example {row}, {value!r}, which no text has. If the "
                "file is in UTF-16, say --encoding utf-16."
            )
    return np.array(values, dtype=np.str_)


def _from_tensor(given: Any, name: str) -> NDArray[Any]:
    if given.is_meta or given.is_nested:
        kind = "no data (it lies on the device meta)" if given.is_meta else "rows of many lengths"
        raise ProblemError(f"{name} is a tensor that holds {kind}; give a dense tensor.")
    if str(given.layout) != "torch.strided":
        raise ProblemError(f"{name} is a sparse tensor ({given.layout}); give {name}.to_dense().")
    given = given.detach().cpu()
    given = given.dequantize() if given.is_quantized else given.resolve_conj().resolve_neg()
    return np.asarray((given.double() if given.is_floating_point() else given).numpy())


def _from_frame(frame: Any, name: str) -> NDArray[Any]:
    dtypes = set(frame.dtypes)
    if dtypes and all(isinstance(one, np.dtype) and one.kind in "iufb" for one in dtypes):
        return np.asarray(frame.to_numpy(dtype=np.result_type(*dtypes)))
    blocks = [
        column_numbers(frame.iloc[:, k], f"column {label!r} of {name}")
        for k, label in enumerate(frame.columns)
    ]
    return np.hstack(blocks) if blocks else np.empty(frame.shape)


def _unwrap(items: Sequence[Any], name: str) -> Any:
    """Make arrays of tensors in a list, whose masks and gradients NumPy would not look at.

    Texts stay objects: NumPy would turn numbers and NaN among them into texts.
    """
    kinds = set(map(type, items))
    if any(issubclass(kind, (str, bytes)) for kind in kinds):
        return np.fromiter(items, dtype=object, count=len(items))
    if not any(is_tensor(kind) or issubclass(kind, np.ma.MaskedArray) for kind in kinds):
        return items
    return [
        to_numpy(item, f"{name}[{k}]") if is_tensor(item) or np.ma.isMA(item) else item
        for k, item in enumerate(items)
    ]


def _from_objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Stack rows that are lists or arrays; make numbers of numbers; leave all else as it is."""
    flat = array.ravel()
    if array.ndim == 1 and len(flat) and isinstance(flat[0], (list, tuple, np.ndarray)):
        return to_numpy(list(flat), name)
    if array.ndim == 1 and len(flat) and is_tensor(flat[0]):
        return to_numpy(list(flat), name)
    if any(issubclass(kind, (str, bytes)) for kind in set(map(type, flat))):
        return array
    missing = np.fromiter(map(is_missing, flat), dtype=np.bool_, count=len(flat))
    if missing.all() or not all(isinstance(value, _NUMBERS) for value in flat[~missing]):
        return array
    flat = np.where(missing, np.nan, flat)
    numbers = np.array(flat.tolist())
    if numbers.dtype.kind not in "iufb":
        numbers = flat.astype(np.float64)
    return numbers.reshape(array.shape)

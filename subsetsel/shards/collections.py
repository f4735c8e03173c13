"""Arrays and data frames of Dask as shards: each chunk of rows becomes arrays of NumPy, once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import OptionError, ProblemError
from subsetsel.shards.open import open_workers
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial, Workers
from subsetsel.support.optional import import_extra


def is_dask(value: Any) -> bool:
    """Whether a value is a collection of Dask; Dask itself is not loaded."""
    return hasattr(type(value), "__dask_graph__")


def from_dask(X: Any, y: Any = None, *, label: str | None = None, engine: Any = None) -> Shards:
    """Hold an array or a data frame of Dask, with its labels, as shards of NumPy arrays.

    Each chunk of rows is one shard. With a client, every chunk is computed once and stays with the
    workers; without one, this process computes a chunk whenever it is asked for.

    Parameters
    ----------
    X : dask array of shape (n, d) or (n,), dask data frame or series
        Chunks along the columns are merged. Lengths of chunks need not be known. Numbers that are
        not float32 become float64; what has one dimension, as labels do, stays as it is.
    y : dask array, dask series or array-like of shape (n,), optional
        Labels, in the order of the rows of X.
    label : str, optional
        In place of ``y``: the column of the data frame that holds the labels.
    engine : optional
        See `open_workers`. None takes the client that is active in this process, if there is one.

    Returns
    -------
    Shards
        Of arrays, or of pairs (array, labels) where there are labels.

    Raises
    ------
    ProblemError
        If X is no such collection, or its chunks are not of NumPy and pandas, or X and y do not
        have the same rows.
    OptionError
        If the engine does not know Dask.
    """
    workers = _workers(engine)
    blocks, lengths = _row_blocks(X)
    dtype, columns = _numbers(X, label)
    sources: list[tuple[Any, ...]] = [(block, dtype, columns, label) for block in blocks]
    if label is not None and y is not None:
        raise ProblemError(f"labels are given twice, by label={label!r} and by y; give one.")
    if is_dask(y):
        labels = _label_blocks(y, lengths, len(blocks))
        sources = [(*source, part) for source, part in zip(sources, labels, strict=True)]
    held = _hold(workers, sources)
    names = [f"chunk {k} of X" for k in range(len(held))]
    if lengths is None or label is not None or is_dask(y):
        sizes = workers.run(_lengths, [(one,) for one in held])
        _check_lengths(sizes, names)
        lengths = [size[0] for size in sizes]
    shards = Shards(workers, held, lengths, names)
    if y is None or is_dask(y):
        return shards
    array = np.asarray(y)
    if array.shape != (shards.n,):
        raise ProblemError(f"y must have shape ({shards.n},), as X has rows, got {array.shape}.")
    return shards.derive(_pair, each=shards.split(array))


def _workers(engine: Any) -> Workers:
    if engine is None and "distributed" in sys.modules:
        import distributed

        try:
            engine = distributed.default_client()
        except ValueError:
            engine = None
    workers = open_workers(engine)
    if not isinstance(workers, Serial) and not hasattr(workers, "hold_delayed"):
        raise OptionError(
            f"engine={engine!r} cannot compute collections of Dask; give a distributed.Client, or "
            "None."
        )
    return workers


def _hold(workers: Any, sources: Sequence[tuple[Any, ...]]) -> list[Any]:
    if isinstance(workers, Serial):
        return list(workers.hold(_computed, sources))
    held: list[Any] = workers.hold_delayed(_as_shard, sources)
    return held


def _computed(*source: Any) -> Any:
    from dask.base import compute

    found: tuple[Any, ...] = compute(*source, scheduler="synchronous")
    return _as_shard(*found)


# --- what is asked of the collections, before anything is computed --------------------------------


def _row_blocks(X: Any) -> tuple[list[Any], list[int] | None]:
    """Give the chunks of rows, each of them delayed, and their lengths where these are known."""
    if _is_frame(X) or _is_series(X):
        return list(X.to_delayed()), None
    if not _is_array(X):
        raise ProblemError(
            f"X must be a dask array or a dask data frame, got {type(X).__name__}. The data of an "
            "xarray are its attribute .data; a bag becomes a frame by .to_dataframe()."
        )
    if X.ndim not in {1, 2}:
        raise ProblemError(
            f"X must have two dimensions, got {X.ndim}; X.reshape((len(X), -1)) flattens rows."
        )
    # All columns of a row must lie in one chunk.
    whole = X.rechunk({1: -1}) if X.ndim == 2 and X.numblocks[1] != 1 else X
    return list(whole.to_delayed().ravel()), _known_lengths(whole)


def _known_lengths(array: Any) -> list[int] | None:
    lengths = array.chunks[0]
    return None if any(np.isnan(length) for length in lengths) else [int(one) for one in lengths]


def _label_blocks(y: Any, lengths: list[int] | None, count: int) -> list[Any]:
    """Give the chunks of the labels, as many as X has and, where that is known, as long."""
    if not (_is_array(y) or _is_series(y)):
        raise ProblemError(
            f"y must be a dask array or series, or an array, got {type(y).__name__}; "
            "give one column, as in frame['label']."
        )
    if y.ndim != 1:
        raise ProblemError(f"y must have one dimension, got {y.ndim}; take y[:, 0].")
    if _is_array(y) and lengths is not None:
        own = _known_lengths(y)
        if own is not None and sum(own) != sum(lengths):
            raise ProblemError(
                f"X has {sum(lengths)} rows and y has {sum(own)}; both must have the same."
            )
        if own is not None and own != lengths:
            y = y.rechunk((tuple(lengths),))
    if y.npartitions != count:
        raise ProblemError(
            f"X has {count} chunks of rows and y has {y.npartitions}, and their lengths are not "
            "known; make both from one frame, or call compute_chunk_sizes() of both arrays."
        )
    return list(y.to_delayed()) if _is_series(y) else list(y.to_delayed().ravel())


def _numbers(X: Any, label: str | None) -> tuple[str | None, list[Any] | None]:
    """Give the type that the numbers of X are held in, and the columns that hold them."""
    if not _is_frame(X):
        if label is not None:
            raise ProblemError(
                f"label={label!r} names a column, and X is an array; give y, or a data frame."
            )
        if _is_series(X):
            return None, None
        if type(X._meta) is not np.ndarray:
            raise ProblemError(
                f"chunks of X must be NumPy arrays, got {type(X._meta).__name__}; "
                "X.map_blocks(...) converts each, as cupy.asnumpy and sparse's todense() do."
            )
        return _float_type([X.dtype], ["X"]) if X.ndim == 2 else None, None
    pandas = import_extra("pandas", "dask", "data frames of Dask")
    if not isinstance(X._meta, pandas.DataFrame):
        raise ProblemError(
            f"partitions of X must be pandas data frames, got {type(X._meta).__name__}; "
            "X.to_backend('pandas') converts them."
        )
    if label is not None and label not in X.columns:
        raise ProblemError(
            f"label={label!r} is no column of X; it has {', '.join(map(str, X.columns[:20]))}."
        )
    columns = [name for name in X.columns if name != label]
    return _float_type([X.dtypes[name] for name in columns], columns), columns


def _float_type(types: Sequence[Any], columns: Sequence[Any]) -> str:
    """Give float32 where all numbers fit in it, else float64."""
    for kind, column in zip(types, columns, strict=True):
        if getattr(kind, "kind", "O") not in "biuf":
            raise ProblemError(
                f"column {column!r} of X is of type {kind}; features must be numbers: "
                "encode it, or drop it (label= names the column of the labels)."
            )
    small = all(kind.kind == "f" and kind.itemsize <= 4 for kind in types)
    return "float32" if small and types else "float64"


def _is_array(value: Any) -> bool:
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(value, module.Array)


def _is_frame(value: Any) -> bool:
    module = sys.modules.get("dask.dataframe")
    return module is not None and isinstance(value, module.DataFrame)


def _is_series(value: Any) -> bool:
    module = sys.modules.get("dask.dataframe")
    return module is not None and isinstance(value, module.Series)


def _check_lengths(sizes: Sequence[tuple[int, int | None]], names: Sequence[str]) -> None:
    for (rows, labels), name in zip(sizes, names, strict=True):
        if labels is not None and rows != labels:
            raise ProblemError(
                f"{name} has {rows} rows and the chunk of y has {labels} labels; make both from "
                "one frame, or give y the chunks of X by y.rechunk(X.chunks[0])."
            )


# --- what is done with one chunk, on a worker -----------------------------------------------------


def _as_shard(
    block: Any, dtype: str | None, columns: list[Any] | None, label: str | None, labels: Any = None
) -> Any:
    """Make contiguous arrays of one chunk: its numbers, and its labels where there are any."""
    if columns is None:
        numbers = np.ascontiguousarray(block, dtype=dtype)
    else:
        # Missing values of types that pandas can mark become NaN, which is refused by name later.
        table = block[columns].to_numpy(dtype=dtype, na_value=np.nan)
        numbers = np.ascontiguousarray(table)
    if label is not None:
        labels = block[label]
    return numbers if labels is None else (numbers, np.asarray(labels))


def _lengths(value: Any) -> tuple[int, int | None]:
    if isinstance(value, tuple):
        return len(value[0]), len(value[1])
    return len(value), None


def _pair(numbers: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return numbers, labels

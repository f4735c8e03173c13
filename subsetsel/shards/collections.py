"""Dask arrays and data frames as shards: one for each chunk of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.shards.dask import DaskWorkers
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial, Workers
from subsetsel.support.optional import import_extra


def from_dask(X: Any, *, label: str | None = None, engine: Any = None) -> Shards:
    """Hold the chunks of a collection as NumPy arrays.

    Parameters
    ----------
    X : dask.array.Array or dask.dataframe.DataFrame or Series
        Its chunks of rows become the shards; columns are brought into one chunk. Lengths that are
        not known are counted, which reads the data once.
    label : str, optional
        A column of a data frame: each shard is then a pair of features and labels.
    engine : optional
        See `subsetsel.shards.open.open_workers`; by default the client that is active, and this
        process where there is none.

    Returns
    -------
    Shards
        Of arrays, or of pairs of arrays; a series, or the only column of a frame, gives one number
        or text for each example.

    Raises
    ------
    ProblemError
        If ``label`` is no column, or a column of a data frame holds no numbers.
    """
    import_extra("dask", "dask", "Dask collections")
    workers = _workers_of(engine)
    if hasattr(X, "map_partitions"):
        X = X.to_frame() if X.ndim == 1 else X
        _require_columns(X, label)
        lengths, parts = list(X.map_partitions(len).compute()), X.to_delayed()
    else:
        if label is not None:
            raise ProblemError(
                f"a Dask array has no column {label!r}; give y as an array, or a data frame as X."
            )
        if np.isnan(np.asarray(X.shape, dtype=np.float64)).any():
            X = X.compute_chunk_sizes()
        if X.ndim == 2 and len(X.chunks[1]) > 1:
            X = X.rechunk({1: -1})
        lengths, parts = list(X.chunks[0]), list(X.to_delayed().ravel())
    names = [f"chunk {k}" for k in range(len(lengths))]
    load: Callable[..., Any] = _arrays
    if isinstance(workers, DaskWorkers):
        parts = workers.client.compute(list(parts))
    else:
        load = _compute
    held = workers.hold(load, [(part, label) for part in parts])
    return Shards(workers, held, [int(length) for length in lengths], names)


def _workers_of(engine: Any) -> Workers:
    from subsetsel.shards.open import open_workers

    if engine is not None:
        return open_workers(engine)
    try:
        from distributed import default_client

        return open_workers(default_client())
    except (ImportError, ValueError):
        # No package, or no client.
        return Serial()


def _require_columns(frame: Any, label: str | None) -> None:
    """Demand that the label is a column, and that all others hold numbers."""
    names = list(frame.columns)
    if label is not None and label not in names:
        shown = ", ".join(map(str, names[:20]))
        raise ProblemError(f"there is no column {label!r}; the columns are {shown}.")
    kinds = zip(names, frame.dtypes, strict=True)
    bad = [str(name) for name, kind in kinds if name != label and kind.kind not in "fiub"]
    if bad and len(names) > 1:
        raise ProblemError(
            f"column {bad[0]!r} holds no numbers ({len(bad)} such columns); encode it, or drop it "
            "with frame.drop(columns=...)."
        )


def _compute(chunk: Any, label: str | None) -> Any:
    return _arrays(chunk.compute(scheduler="synchronous"), label)


def _arrays(chunk: Any, label: str | None) -> Any:
    """Turn a chunk into an array, or a part of a data frame with labels into two."""
    if not hasattr(chunk, "columns"):
        return np.asarray(chunk)
    if label is not None:
        return chunk.drop(columns=label).to_numpy(), chunk[label].to_numpy()
    return chunk.to_numpy() if chunk.shape[1] > 1 else chunk.iloc[:, 0].to_numpy()

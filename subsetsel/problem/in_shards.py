"""Features, labels and weights that lie in files or collections, read as shards and never whole."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import OptionError, ProblemError
from subsetsel.shards.table import Shards

# A text that ends so, or holds a wildcard, is the name of files, and else that of a column.
_ENDINGS = (".npy", ".npz", ".parquet", ".zarr")


def lies_in_shards(X: Any) -> bool:
    """Whether data is given by paths, as shards, or as a collection of Dask."""
    if isinstance(X, (str, PathLike, Shards)) or isinstance(getattr(X, "table", None), Shards):
        return True
    if isinstance(X, (list, tuple)) and X and all(isinstance(one, (str, PathLike)) for one in X):
        return True
    return _is_dask(X)


def open_features(X: Any, y: Any, engine: Any) -> tuple[Any, Any]:
    """Look through features in shards, and bring their labels here; others stay as they are.

    Parameters
    ----------
    X : array_like, path, list of paths, dask collection, Shards or FeatureShards
    y : array_like of shape (n,), column, path, list of paths, dask collection, or None
        None where the labels lie beside the features in `Shards`.
    engine : None, distributed.Client or address
        See `subsetsel.shards.open.open_workers`.

    Returns
    -------
    X : array_like or FeatureShards
    y : array_like of shape (n,)

    Raises
    ------
    OptionError
        If an engine is given for features in memory.
    ProblemError
        For features or labels that a head cannot be trained on.
    """
    if not lies_in_shards(X):
        if engine is not None:
            raise OptionError(
                f"engine={engine!r} computes with features in shards, and X is {_kind_of(X)} in "
                "this process; give paths or a dask array, or leave engine out."
            )
        return X, y
    from subsetsel.influence.head.feature_shards import FeatureShards

    if isinstance(X, FeatureShards):
        return X, y
    label = y if isinstance(y, str) and not _is_path(y) else None
    features, labels = FeatureShards.survey(_open(X, label, engine))
    if y is not None and label is None:
        labels = bring(y, engine, "y")
    if labels is None:
        raise ProblemError(
            "y is None, and the shards hold features alone; give the name of the column of "
            "labels, their files, or an array of one label per example."
        )
    return features, labels


def bring(values: Any, engine: Any, name: str) -> Any:
    """Bring one number or text per example here from files or a collection; arrays stay."""
    if isinstance(values, str) and not _is_path(values):
        raise ProblemError(
            f"{name} must be an array of one value per example, or files of them, got {values!r}."
        )
    is_text = isinstance(values, (list, tuple)) and not all(_is_path(one) for one in values)
    if is_text or not lies_in_shards(values):
        return values
    parts = [part for part in _open(values, None, engine).map(_column) if len(part)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _open(X: Any, label: str | None, engine: Any) -> Shards:
    if isinstance(X, Shards):
        return X
    if _is_dask(X):
        from subsetsel.shards.collections import from_dask

        found: Shards = from_dask(X, label=label, engine=engine)
        return found
    from subsetsel.shards.sources import open_table

    table: Shards = open_table(X, label=label, engine=engine)
    return table


def _column(value: Any) -> NDArray[Any]:
    """Give the one column of a shard."""
    array = np.asarray(value)
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        raise ProblemError(
            f"labels and weights must be one per example, and their shard has shape {array.shape}."
        )
    return array


def _is_path(text: str) -> bool:
    return fspath(text).endswith(_ENDINGS) or any(sign in text for sign in "*?[/\\")


def _is_dask(X: Any) -> bool:
    return type(X).__module__.partition(".")[0] in {"dask", "dask_expr"}


def _kind_of(X: Any) -> str:
    return f"an array of shape {np.shape(X)}" if hasattr(X, "shape") else type(X).__name__

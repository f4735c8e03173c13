"""Hugging Face `datasets`: from a data set to examples, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.formats.data import Data, as_text
from subsetsel.problem.solution import Solution
from subsetsel.support.memory import check_fits
from subsetsel.support.optional import import_extra

_BATCH = 4096


def data_from_dataset(
    dataset: Any,
    *,
    features: str | Sequence[str],
    label: str = "label",
    identity: str | None = None,
) -> Data:
    """Read labelled examples from columns of a data set, a batch at a time.

    Parameters
    ----------
    dataset : datasets.Dataset
        One split.
    features : str or sequence of str
        Columns of numbers, or of lists of as many numbers, such as embeddings.
    label : str
        Column of integers (``ClassLabel`` too) or texts.
    identity : str, optional
        Column of ids.

    Returns
    -------
    Data
        ``X``, ``y`` and ``ids``, for `subsetsel.prune` or `Problem.from_features`.

    Raises
    ------
    ProblemError
        If it is no single split, a column is missing, or a feature is not made of numbers.
    """
    library = import_extra("datasets", "datasets", "Hugging Face data sets")
    if not isinstance(dataset, library.Dataset):
        raise ProblemError(
            f"data_from_dataset needs one split, a datasets.Dataset; got {type(dataset).__name__}."
        )
    names = [features] if isinstance(features, str) else list(features)
    wanted = [*names, label, *([identity] if identity is not None else [])]
    for name in wanted:
        if name not in dataset.column_names:
            raise ProblemError(
                f"the data set has no column {name!r}; its columns are "
                f"{', '.join(dataset.column_names)}."
            )
    if not len(dataset):
        raise ProblemError("the data set is empty: it has no example to prune.")
    X: Any = None
    start = 0
    for batch in dataset.with_format("numpy", columns=names).iter(batch_size=_BATCH):
        block = np.hstack([_numbers(batch[name], name) for name in names])
        if X is None:
            kind = np.float64 if block.dtype == np.float64 else np.float32
            size = len(dataset) * block.shape[1]
            check_fits("the features of the data set", size * np.dtype(kind).itemsize)
            X = np.empty((len(dataset), block.shape[1]), dtype=kind)
        if block.shape[1] != X.shape[1]:
            raise ProblemError(
                f"the lists of {', '.join(names)} differ in length near row {start}."
            )
        X[start : start + len(block)] = block
        start += len(block)
    ids = None if identity is None else _plain(dataset, identity)
    return Data(X, _plain(dataset, label), ids)


def mark_pruned(dataset: Any, solution: Solution, column: str = "pruned") -> Any:
    """Add a column that says which examples are pruned, and keep them all.

    Parameters
    ----------
    dataset : datasets.Dataset
    solution : Solution
    column : str
        Its name; not there yet.

    Returns
    -------
    datasets.Dataset

    Raises
    ------
    ProblemError
        If the solution speaks of another number of examples.
    """
    if len(dataset) != solution.n:
        raise ProblemError(
            f"the solution speaks of {solution.n} examples, and the data set holds {len(dataset)}."
        )
    return dataset.add_column(column, solution.mask.tolist())


def _numbers(values: Any, name: str) -> np.ndarray[Any, Any]:
    array = np.asarray(values)
    if array.dtype == object:
        lengths = {len(value) for value in values if hasattr(value, "__len__")}
        if len(lengths) > 1:
            raise ProblemError(f"the lists of column {name!r} differ in length: {sorted(lengths)}.")
    if array.dtype.kind not in "fiub":
        raise ProblemError(
            f"column {name!r} holds {array.dtype}, not numbers; add a column of embeddings first."
        )
    return array.reshape(len(array), -1)


def _plain(dataset: Any, name: str) -> np.ndarray[Any, Any]:
    values = dataset.with_format(None)[name][:]
    if any(value is None for value in values):
        raise ProblemError(f"column {name!r} has no value in row {values.index(None)}.")
    if isinstance(values[0], str):
        return as_text(f"column {name!r}", values)
    return np.asarray(values)

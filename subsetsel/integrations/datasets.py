"""Hugging Face `datasets`: from a data set to examples, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.formats.data import Data, require_columns
from subsetsel.integrations.columns import check_feature_names, check_ids
from subsetsel.integrations.take import check_one_table
from subsetsel.problem.solution import Solution
from subsetsel.support.arrow import join_features, read_labels
from subsetsel.support.labels import to_labels
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
        Column of integers or texts; of a ``ClassLabel`` the names of the classes are taken.
    identity : str, optional
        Column of ids, each once.

    Returns
    -------
    Data
        ``X``, ``y`` and ``ids``, for `subsetsel.prune` or `Problem.from_features`.

    Raises
    ------
    ProblemError
        If it is no single split, a column is missing, a feature is not made of numbers, an example
        has no label, or an id occurs twice.
    """
    _check_split(dataset, "data_from_dataset")
    names = [features] if isinstance(features, str) else list(features)
    check_feature_names(names, label)
    others = [label] if identity is None else [label, identity]
    require_columns("the data set", [*names, *others], dataset.column_names)
    if not len(dataset):
        raise ProblemError("the data set is empty: it has no example to prune.")
    tables = dataset.with_format("arrow", columns=names).iter(batch_size=_BATCH)
    batches = (batch for table in tables for batch in table.to_batches())
    X = join_features("the features of the data set", len(dataset), names, batches)
    columns = dataset.with_format("arrow", columns=others)[:]
    y, *ids = (read_labels("the data set", columns.column(name), name) for name in others)
    for values in ids:
        is_repeated = np.ones(len(values), dtype=np.bool_)
        is_repeated[np.unique(values, return_index=True)[1]] = False
        cure = "without identity= they are named by number"
        check_ids(is_repeated, values.tolist(), f"column {identity!r}", cure)
    return Data(X, _with_names(to_labels(y, f"dataset[{label!r}][:]"), dataset, label), *ids)


def mark_pruned(dataset: Any, solution: Solution, column: str = "pruned") -> Any:
    """Add a column that says which examples are pruned, and keep them all.

    Parameters
    ----------
    dataset : datasets.Dataset
    solution : Solution
    column : str
        Its name. A mark of an earlier subset must be taken off first.

    Returns
    -------
    datasets.Dataset
        With a Boolean column, True where an example is pruned.

    Raises
    ------
    ProblemError
        If it is no single split, the solution speaks of another number of examples, or there is a
        column of that name.
    """
    _check_split(dataset, "mark_pruned")
    if len(dataset) != solution.n:
        raise ProblemError(
            f"the solution speaks of {solution.n} examples, and the data set holds {len(dataset)}; "
            "give the one that was pruned."
        )
    if column in dataset.column_names:
        raise ProblemError(
            f"the data set has a column {column!r} already; take it off by "
            f"dataset.remove_columns({column!r}), or give another name with column=."
        )
    return dataset.add_column(column, solution.mask.tolist())


def _check_split(dataset: Any, function: str) -> None:
    library = import_extra("datasets", "datasets", "Hugging Face data sets")
    if not isinstance(dataset, library.Dataset):
        check_one_table(dataset, f"{function}(dataset[{{}}], ...)")
        make = "from_pandas(dataset)" if hasattr(dataset, "iloc") else "from_list(list(dataset))"
        raise ProblemError(
            f"{function} needs one split, a datasets.Dataset, got a {type(dataset).__name__}; make "
            f"one by datasets.Dataset.{make}."
        )


def _with_names(y: Any, dataset: Any, label: str) -> Any:
    """Names of the classes where the data set knows them."""
    names = getattr(dataset.features[label], "names", None)
    if not names:
        return y
    unlabelled = np.flatnonzero(y < 0)
    if unlabelled.size:
        raise ProblemError(
            f"column {label!r} is {y[unlabelled[0]]} in row {unlabelled[0]}: this example has no "
            "label, as those of many a test split; leave such rows out by "
            f"dataset.filter(lambda row: row[{label!r}] >= 0)."
        )
    check_fits(f"the names of column {label!r}", 4 * len(y) * max(map(len, names)))
    return np.array(names)[y]

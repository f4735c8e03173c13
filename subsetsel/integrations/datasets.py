"""Hugging Face `datasets`: from a data set to examples, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from subsetsel.errors import ProblemError
from subsetsel.formats.arrow import join_features, read_labels
from subsetsel.formats.data import Data, require_columns
from subsetsel.problem.solution import Solution
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
    others = [label] if identity is None else [label, identity]
    require_columns("the data set", [*names, *others], dataset.column_names)
    if not len(dataset):
        raise ProblemError("the data set is empty: it has no example to prune.")
    tables = dataset.with_format("arrow", columns=names).iter(batch_size=_BATCH)
    batches = (batch for table in tables for batch in table.to_batches())
    X = join_features("the features of the data set", len(dataset), names, batches)
    columns = dataset.with_format("arrow", columns=others)[:]
    y, *ids = (read_labels("the data set", columns.column(name), name) for name in others)
    return Data(X, y, *ids)


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
        With a Boolean column, True where an example is pruned.

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

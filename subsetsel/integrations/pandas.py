"""pandas: frames to examples, and a subset as a frame. Parquet comes with `read_parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.formats.data import Data, require_columns
from subsetsel.integrations.columns import check_column_names, check_feature_names, check_ids
from subsetsel.problem.solution import Solution
from subsetsel.support.arrays import column_numbers
from subsetsel.support.labels import to_labels


def data_from_frame(
    frame: Any,
    *,
    label: str,
    features: str | Sequence[str] | None = None,
    identity: str | None = None,
) -> Data:
    """Read labelled examples from a frame.

    Parameters
    ----------
    frame : pandas.DataFrame
    label : str
        Column of labels.
    features : str or sequence of str, optional
        Columns of numbers; a column of arrays or lists stands for as many. By default all but the
        label and the id.
    identity : str, optional
        Column of ids, each once; by default the frame's own index.

    Returns
    -------
    Data
        ``X``, ``y`` and ``ids``, for `subsetsel.prune` or `Problem.from_features`. The ids are an
        array where they are integers or texts, and else (dates, several levels) an index of pandas.

    Raises
    ------
    ProblemError
        If it is no frame of pandas or has no rows, if a column is missing or there twice, or holds
        no numbers where it should, if a label or an id is missing, or if an id occurs twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from subsetsel.integrations.pandas import data_from_frame
    >>> frame = pd.DataFrame({"width": [1.0, 2.0], "kind": ["a", "b"]}, index=["x", "y"])
    >>> data = data_from_frame(frame, label="kind")
    >>> data.X.shape, data.y.tolist(), data.ids.tolist()
    ((2, 1), ['a', 'b'], ['x', 'y'])
    """
    _check_frame(frame)
    names = [features] if isinstance(features, str) else features
    others = [label] if identity is None else [label, identity]
    if names is None:
        names = [name for name in frame.columns if name not in others]
    require_columns("the frame", [*names, *others], list(frame.columns))
    check_feature_names(names, label)
    labels = frame[label]
    _require_values(frame, label)
    blocks = [column_numbers(frame[name], f"column {name!r}") for name in names]
    ids = frame.index
    if identity is not None:
        ids = _ids_of(frame, identity)
    return Data(np.hstack(blocks), to_labels(labels, f"frame[{label!r}]"), _plain(ids))


def subset_frame(solution: Solution, ids: ArrayLike | None = None) -> Any:
    """Turn a subset into a frame with a column ``pruned``.

    Parameters
    ----------
    solution : Solution
    ids : array_like of shape (n,), pandas.Index or pandas.DataFrame, optional
        The index of the frame, or a frame that has it; 0 to n - 1 otherwise. Each id once, so that
        ``frame.join(subset_frame(solution, frame.index))`` keeps its rows.

    Returns
    -------
    pandas.DataFrame
        One line per example, in their order.

    Raises
    ------
    ProblemError
        If there is not one id per example, or one occurs twice.
    """
    if ids is None:
        return pd.DataFrame({"pruned": solution.mask})
    index = ids.index if isinstance(ids, pd.DataFrame) else ids
    if not isinstance(index, pd.Index):
        index = np.asarray(index)
        if index.ndim != 1:
            raise ProblemError(
                f"ids must hold one id per example, shape ({solution.n},), got {index.shape}; give "
                "frame.index."
            )
        index = pd.Index(index)
    if len(index) != solution.n:
        raise ProblemError(
            f"ids must hold one id per example: the solution speaks of {solution.n}, got "
            f"{len(index)}; give those of the data that were pruned."
        )
    check_ids(index.duplicated(), index, "ids", "frame.assign(pruned=solution.mask) needs none")
    return pd.DataFrame({"pruned": solution.mask}, index=index)


def _check_frame(frame: Any) -> None:
    if not isinstance(frame, pd.DataFrame):
        cure = "pandas.DataFrame(...)"
        if hasattr(frame, "to_pandas"):
            cure = "frame.to_pandas()"
        elif hasattr(frame, "to_frame"):
            cure = "the frame it is a column of"
        raise ProblemError(
            f"data_from_frame needs a pandas.DataFrame, got a {type(frame).__name__}; give {cure}."
        )
    check_column_names(frame)
    if not len(frame):
        raise ProblemError("the frame has no rows: there is no example to prune.")


def _require_values(frame: Any, name: str) -> None:
    missing = np.flatnonzero(frame[name].isna())
    if missing.size:
        raise ProblemError(
            f"column {name!r} has no value in row {frame.index[missing[0]]!r}; leave such rows out "
            f"by frame.dropna(subset=[{name!r}])."
        )


def _ids_of(frame: Any, identity: str) -> Any:
    _require_values(frame, identity)
    ids = pd.Index(frame[identity])
    cure = "without identity= the index of the frame names the examples"
    check_ids(ids.duplicated(), ids, f"column {identity!r}", cure)
    return ids


def _plain(index: Any) -> Any:
    """Numbers and texts as NumPy knows them; an index of anything else as it is."""
    if index.inferred_type == "string":
        return np.asarray(index).astype(np.str_)
    return np.asarray(index) if index.inferred_type in {"integer", "floating"} else index

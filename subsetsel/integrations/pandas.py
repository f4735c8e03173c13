"""pandas: frames to examples, and a subset as a frame. Parquet comes with `read_parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.formats.data import Data, require_columns
from subsetsel.problem.solution import Solution


def data_from_frame(
    frame: Any,
    *,
    label: str,
    features: Sequence[str] | None = None,
    identity: str | None = None,
) -> Data:
    """Read labelled examples from a frame.

    Parameters
    ----------
    frame : pandas.DataFrame
    label : str
        Column of labels.
    features : sequence of str, optional
        Columns of numbers; a column of arrays or lists stands for as many. By default all but the
        label and the id.
    identity : str, optional
        Column of ids; by default the frame's own index.

    Returns
    -------
    Data
        ``X``, ``y`` and ``ids``, for `subsetsel.prune` or `Problem.from_features`.

    Raises
    ------
    ProblemError
        If a column is missing, or holds no numbers where it should.

    Examples
    --------
    >>> import pandas as pd
    >>> from subsetsel.integrations.pandas import data_from_frame
    >>> frame = pd.DataFrame({"width": [1.0, 2.0], "kind": ["a", "b"]}, index=["x", "y"])
    >>> data = data_from_frame(frame, label="kind")
    >>> data.X.shape, data.y.tolist(), data.ids.tolist()
    ((2, 1), ['a', 'b'], ['x', 'y'])
    """
    names = (
        list(features)
        if features is not None
        else [name for name in frame.columns if name not in {label, identity}]
    )
    others = [label] if identity is None else [label, identity]
    require_columns("the frame", [*names, *others], list(frame.columns))
    if not names:
        raise ProblemError("the frame has no column of features.")
    if frame[label].isna().any():
        row = frame.index[int(np.flatnonzero(frame[label].isna())[0])]
        raise ProblemError(f"column {label!r} has no value in row {row!r}.")
    blocks = [_numbers(frame[name], name) for name in names]
    ids = frame.index if identity is None else frame[identity]
    return Data(np.hstack(blocks), _plain(frame[label]), _plain(ids))


def subset_frame(solution: Solution, ids: ArrayLike | None = None) -> Any:
    """Turn a subset into a frame with a column ``pruned``.

    Parameters
    ----------
    solution : Solution
    ids : array_like of shape (n,), optional
        The index of the frame; 0 to n - 1 otherwise.

    Returns
    -------
    pandas.DataFrame
        One line per example, in their order.
    """
    return pd.DataFrame({"pruned": solution.mask}, index=None if ids is None else np.asarray(ids))


def _numbers(column: Any, name: str) -> np.ndarray[Any, Any]:
    try:
        if column.dtype == object:
            block = np.stack([np.asarray(value) for value in column])
            if block.dtype.kind not in "fiub":
                raise TypeError(f"its values are {block.dtype}")
        else:
            block = column.to_numpy(dtype=None if column.dtype.kind in "fiub" else np.float64)
    except (TypeError, ValueError) as error:
        raise ProblemError(
            f"column {name!r} cannot be a feature: {error}. Name the columns of numbers with "
            "features=."
        ) from error
    return block.reshape(len(column), -1)


def _plain(values: Any) -> np.ndarray[Any, Any]:
    """Integers and text as NumPy knows them."""
    array = np.asarray(values)
    return array.astype(np.str_) if array.dtype.kind not in "iubf" else array

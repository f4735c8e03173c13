"""The kept or the pruned examples of anything that holds them in order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from subsetsel.errors import ProblemError
from subsetsel.problem.solution import Solution
from subsetsel.rows.base import IndexArray


def take_kept(data: Any, solution: Solution) -> Any:
    """Take the examples to train on.

    Parameters
    ----------
    data : object
        Something with one item per example, in the order of the solution: a NumPy array, a torch
        tensor or map-style data set, a Hugging Face ``Dataset``, a pandas or polars frame, an Arrow
        table, a SciPy sparse matrix, a list.
    solution : Solution

    Returns
    -------
    object
        Of the same kind; of a torch data set a ``torch.utils.data.Subset``.

    Raises
    ------
    ProblemError
        If it has not one item per example, or cannot be indexed.

    Examples
    --------
    >>> import numpy as np, subsetsel
    >>> from subsetsel.integrations import take_kept
    >>> solution = subsetsel.Solution(np.array([True, False, True]), norm=0.1, status="feasible")
    >>> take_kept(["a", "b", "c"], solution)
    ['b']
    """
    return _take(data, solution.kept, solution.n)


def take_pruned(data: Any, solution: Solution) -> Any:
    """Take the examples that are left out; all else is as for `take_kept`."""
    return _take(data, solution.pruned, solution.n)


def _take(data: Any, indices: IndexArray, n: int) -> Any:
    num_items = _length(data)
    if num_items != n:
        raise ProblemError(
            f"the solution speaks of {n} examples, and this {type(data).__name__} holds "
            f"{num_items}: it is not what was pruned."
        )
    home = type(data).__module__.partition(".")[0]
    if isinstance(data, np.ndarray) or home in {"scipy", "polars"}:
        return data[indices]
    if hasattr(data, "iloc"):
        return data.iloc[indices]
    if home == "datasets":
        return data.select(indices)
    if home == "pyarrow":
        return data.take(indices)
    # Where torch was never imported, nothing is a tensor or a torch data set.
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(data, torch.Tensor):
        return data[torch.as_tensor(indices, device=data.device)]
    if torch is not None and isinstance(data, torch.utils.data.Dataset):
        return torch.utils.data.Subset(data, indices.tolist())
    if isinstance(data, Sequence):
        items = [data[i] for i in indices]
        return tuple(items) if isinstance(data, tuple) else items
    raise ProblemError(
        f"do not know how to take examples of a {type(data).__name__}; index it with "
        "solution.kept, an array of integers."
    )


def _length(data: Any) -> int:
    shape = getattr(data, "shape", None)
    if shape:
        return int(shape[0])
    try:
        return len(data)
    except TypeError as error:
        raise ProblemError(
            f"a {type(data).__name__} has no length, so its examples cannot be named by number; "
            "turn a stream into a list or a map-style data set first."
        ) from error

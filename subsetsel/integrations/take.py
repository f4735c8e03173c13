"""The kept or the pruned examples of anything that holds them in order."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

from subsetsel.errors import ProblemError
from subsetsel.problem.solution import Solution
from subsetsel.rows.base import IndexArray

# Formats of SciPy whose rows can be taken; another is made CSR first, as DIA would grow without
# bounds if it were to come back.
_WITH_ROWS = ("csr", "csc", "lil", "dok")


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
        Of the same kind; of a torch data set a ``torch.utils.data.Subset``, and CSR of a sparse
        matrix in a format whose rows cannot be taken (COO, BSR, DIA).

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
    return _take(data, _check(solution).kept, solution.n)


def take_pruned(data: Any, solution: Solution) -> Any:
    """Take the examples that are left out; all else is as for `take_kept`."""
    return _take(data, _check(solution).pruned, solution.n)


def check_one_table(data: Any, what: str) -> None:
    """Refuse several tables in one, as splits of a data set; ``what`` shows how to name one."""
    if isinstance(data, Mapping):
        names = [repr(name) for name in data] or ["'train'"]
        raise ProblemError(
            f"a {type(data).__name__} holds {len(data)} parts ({', '.join(names[:5])}"
            f"{', ...' if len(names) > 5 else ''}); give the part that was pruned, as "
            f"{what.format(names[0])}."
        )


def _check(solution: Any) -> Solution:
    if isinstance(solution, Solution):
        return solution
    raise ProblemError(
        f"solution must be a Solution, got a {type(solution).__name__}; subsetsel.prune returns "
        "two things, solution, check = subsetsel.prune(...)."
    )


def _take(data: Any, indices: IndexArray, n: int) -> Any:
    if not issparse(data):
        check_one_table(data, "take_kept(data[{}], solution)")
    num_items = _length(data)
    if num_items != n:
        raise ProblemError(
            f"the solution speaks of {n} examples, and this {type(data).__name__} holds "
            f"{num_items}: it is not what was pruned. Of several arrays take of each by itself."
        )
    if issparse(data):
        has_rows = data.format in _WITH_ROWS or data.ndim == 1
        return (data if has_rows else data.tocsr())[indices]
    home = type(data).__module__.partition(".")[0]
    if isinstance(data, np.ndarray) or home == "polars":
        return data[indices]
    if hasattr(data, "iloc"):
        return data.iloc[indices]
    if home == "datasets" and hasattr(data, "select"):
        return data.select(indices)
    if home == "pyarrow" or (home == "pandas" and hasattr(data, "dtype")):
        return data.take(indices)
    # Where torch was never imported, nothing is a tensor or a torch data set.
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        taken = _take_of_torch(torch, data, indices)
        if taken is not None:
            return taken
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        items = [data[i] for i in indices.tolist()]
        return tuple(items) if isinstance(data, tuple) else items
    raise ProblemError(
        f"do not know how to take examples of a {type(data).__name__}; index it with "
        "solution.kept, an array of integers."
    )


def _take_of_torch(torch: Any, data: Any, indices: IndexArray) -> Any:
    """Take of a tensor or a data set; None where it is neither."""
    if isinstance(data, torch.Tensor):
        chosen = torch.as_tensor(indices, device=data.device)
        if data.layout in {torch.strided, torch.sparse_coo}:
            return data.index_select(0, chosen)
        return data.to_sparse_coo().index_select(0, chosen).to_sparse_csr()
    if isinstance(data, torch.utils.data.DataLoader):
        raise ProblemError(
            "a DataLoader holds batches; take of its data set: take_kept(data.dataset, solution)."
        )
    if isinstance(data, torch.utils.data.IterableDataset):
        raise _no_number(data)
    if isinstance(data, torch.utils.data.Dataset):
        return torch.utils.data.Subset(data, indices.tolist())
    return None


def _length(data: Any) -> int:
    shape = getattr(data, "shape", None)
    if shape:
        return int(shape[0])
    try:
        return len(data)
    except TypeError as error:
        raise _no_number(data) from error


def _no_number(data: Any) -> ProblemError:
    return ProblemError(
        f"a {type(data).__name__} has no length or no order, so its examples cannot be named by "
        "number; turn a stream into a list or a map-style data set first."
    )

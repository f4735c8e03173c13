"""Whatever a user calls an influence matrix, as `Rows`."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from subsetsel.errors import OptionError, ProblemError
from subsetsel.rows.base import Rows
from subsetsel.rows.dense import DenseRows
from subsetsel.rows.sharded import open_rows, rows_in_shards


def as_rows(S: Any, engine: Any = None) -> Rows:
    """Accept whatever a user calls an influence matrix.

    Parameters
    ----------
    S : Rows, ndarray, torch.Tensor, memory map, nested sequence, paths or dask array
        Shape (n, d). A tensor on a GPU is copied to the host; everything else is used in place. A
        path, a glob or a list of paths is read as `open_rows` does; the chunks of a dask array are
        shards.
    engine : optional
        Who holds the shards of files; see `subsetsel.shards.open.open_workers`.

    Raises
    ------
    ProblemError
        If it is not a two-dimensional, finite, non-empty array of float32 or float64.
    OptionError
        If an engine is given for rows that lie in this process.
    """
    if _are_paths(S):
        return open_rows(S, engine=engine)
    if hasattr(type(S), "__dask_graph__"):
        from subsetsel.shards.collections import from_dask

        return rows_in_shards(from_dask(S, engine=engine))
    if engine is not None:
        raise OptionError(
            f"engine={engine!r} computes with rows in shards, and S is a {type(S).__name__} in "
            "this process; give the paths of files or a dask array, or leave engine out."
        )
    if isinstance(S, Rows):
        return S
    # A tensor is recognised by its methods, so that torch need not be imported to ask.
    if hasattr(S, "detach") and hasattr(S, "cpu"):
        try:
            S = S.detach().cpu().numpy()
        except TypeError as error:
            raise ProblemError(
                f"S is a tensor of type {S.dtype}, which NumPy cannot hold; "
                "convert it with S.float()."
            ) from error
    if hasattr(S, "toarray"):
        raise ProblemError("S is a sparse matrix; give S.toarray().")
    try:
        array = np.asanyarray(S)
    except ValueError as error:
        raise ProblemError(f"S is not an array of numbers: {error}.") from error
    if isinstance(array, np.ma.MaskedArray):
        raise ProblemError("S is a masked array; fill or drop its masked entries first.")
    return DenseRows(array)


def _are_paths(S: Any) -> bool:
    if isinstance(S, (str, PathLike)):
        return True
    return (
        isinstance(S, (list, tuple))
        and bool(S)
        and all(isinstance(one, (str, PathLike)) for one in S)
    )

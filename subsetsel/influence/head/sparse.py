"""Sparse features from whatever users hold them in: SciPy, torch, pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_sparse(X: Any) -> Any | None:
    """Sparse features as SciPy has them, of any format; None where X is not sparse.

    Only pandas and torch know whether theirs are, so that neither is imported to ask.
    """
    from scipy import sparse

    # `np.asarray` wraps a sparse matrix instead of reading it.
    if isinstance(X, np.ndarray) and X.dtype.hasobject and X.ndim == 0:
        X = X.item()
    if sparse.issparse(X):
        return X
    if str(getattr(X, "layout", "")).startswith("torch.sparse"):
        return _from_torch(X)
    # A frame has this accessor only if all of its columns are sparse.
    accessor: Any = getattr(X, "sparse", None)
    return accessor.to_coo() if hasattr(accessor, "to_coo") and X.ndim == 2 else None


def _from_torch(X: Any) -> Any:
    from scipy import sparse

    given = X.detach().cpu().to_sparse_coo().coalesce()
    values = given.values()
    numbers = (values.double() if values.is_floating_point() else values).numpy()
    return sparse.coo_array((numbers, tuple(given.indices().numpy())), shape=tuple(given.shape))


def compress_rows(X: Any) -> Any:
    """Give a float64 array of compressed rows, sorted, each place once; X itself stays as it is."""
    from scipy import sparse

    rows = sparse.csr_array(X, dtype=np.float64)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def arrays_of(X: Any) -> tuple[NDArray[Any], ...]:
    """Give an array itself, and of a SciPy array of compressed rows its numbers, places, shape."""
    if isinstance(X, np.ndarray):
        return (X,)
    return (X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64), np.array(X.shape))

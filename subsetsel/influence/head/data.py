"""Settings, features and weights as users give them, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence.head.sparse import as_sparse, compress_rows
from subsetsel.rows.base import FloatArray, IndexArray
from subsetsel.support.arrays import to_numpy

# The Hessian needs squares of features; those of larger numbers would overflow.
_MAX_FEATURE = 1e100


_CHOICES = {
    "loss": ("cross_entropy", "squared"),
    "inverse": ("auto", "cholesky", "cg"),
    "ridge": ("included", "excluded"),
    "metric": ("parameter", "loss"),
    "storage": ("auto", "dense", "factored"),
    "curvature": ("gauss-newton", "hessian"),
}


def check_choices(**given: str) -> None:
    """Refuse a word that a setting does not know."""
    for name, value in given.items():
        if value not in _CHOICES[name]:
            raise OptionError(f"{name} must be one of {', '.join(_CHOICES[name])}, got {value!r}.")


def check_features(X: Any, num_features: int | None = None) -> Any:
    """Features, shape (n, h), as finite float64 numbers of sensible size, or a ProblemError.

    An ndarray, or a SciPy array of compressed rows where X is sparse.
    """
    found = as_sparse(X)
    array = to_numpy(X, "X") if found is None else found
    if array.dtype.kind not in "fiub":
        raise ProblemError(
            f"X must hold real numbers, got dtype {array.dtype}; encode texts and categories first."
        )
    if array.ndim != 2:
        raise ProblemError(
            f"X must have two dimensions (n examples, h features), got shape {array.shape}; "
            "flatten images with X.reshape(len(X), -1)."
        )
    if 0 in array.shape:
        raise ProblemError(f"X is empty: its shape is {array.shape}.")
    if num_features is not None and array.shape[1] != num_features:
        raise ProblemError(f"X has {array.shape[1]} features, the head has {num_features}.")
    if found is not None:
        rows = compress_rows(found)
        _require_sensible(rows.data, rows)
        return rows
    wide = np.ascontiguousarray(array, dtype=np.float64)
    _require_sensible(wide, wide)
    return wide


def _require_sensible(numbers: FloatArray, X: Any) -> None:
    """Refuse a NaN, an infinity, or numbers whose squares overflow, among those that X stores."""
    largest = float(np.abs(numbers).max(initial=0.0))
    if not np.isfinite(largest):
        places = np.nonzero(~np.isfinite(numbers))[0]
        if numbers.ndim == 1:
            places = np.searchsorted(X.indptr, places, side="right") - 1
        raise ProblemError(
            f"X must be finite, but NaN or infinite values stand in {_name_rows(np.unique(places))}"
            "; remove or repair these examples."
        )
    if largest > _MAX_FEATURE:
        raise ProblemError(
            f"X holds values of size {largest:.3g}, more than {_MAX_FEATURE:g}; scale the features."
        )


def check_lengths(X: Any, y: NDArray[Any]) -> None:
    """Demand one label per example."""
    if X.shape[0] != len(y):
        raise ProblemError(
            f"X has {X.shape[0]} rows but y has {len(y)} labels; there must be one label per "
            "example."
        )


def check_weights(sample_weight: Any, n: int) -> FloatArray:
    """Weights of n examples, positive and finite, as float64."""
    weights = to_numpy(sample_weight, "sample_weight")
    if weights.shape != (n,) or weights.dtype.kind not in "fiub":
        raise ProblemError(
            f"sample_weight must hold one number per example, shape ({n},); got {weights.dtype} "
            f"of shape {weights.shape}."
        )
    weights = weights.astype(np.float64)
    bad = np.flatnonzero(~((weights > 0) & (weights < np.inf)))
    if bad.size:
        raise ProblemError(
            f"sample_weight must be positive and finite, but sample_weight[{bad[0]}] is "
            f"{weights[bad[0]]}; drop examples that do not count."
        )
    return weights


def check_l2(l2: Any) -> float:
    """Weight decay, positive and finite."""
    try:
        value = float(l2)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"l2 must be a number, got {l2!r}.") from error
    if not 0 < value < np.inf:
        raise ProblemError(
            f"l2 must be positive and finite, got {l2!r}: without weight decay the head has no "
            "unique minimizer and nothing can be certified. Use the value the model is trained "
            "with, such as 1e-3."
        )
    return value


def _name_rows(indices: IndexArray, most: int = 5) -> str:
    shown = ", ".join(str(i) for i in indices[:most])
    if len(indices) == 1:
        return f"row {shown}"
    more = "" if len(indices) <= most else f" and {len(indices) - most} more"
    return f"rows {shown}{more}"

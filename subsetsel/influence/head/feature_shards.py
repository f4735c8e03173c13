"""Features of a head that lie in shards: looked through once, and never brought together."""

from __future__ import annotations

import hashlib
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import ProblemError
from subsetsel.influence.head.data import check_features
from subsetsel.influence.head.sparse import as_sparse
from subsetsel.rows.base import FloatArray
from subsetsel.shards.table import Shards
from subsetsel.support.labels import to_labels

# Rows whose squares are added up at a time.
_CHUNK = 1024


class FeatureShards:
    """X, shape (n, h), in shards; `Problem.from_features` takes it in place of an array.

    Made by `survey`.

    Parameters
    ----------
    table : Shards
        Each of X_k, or of (X_k, y_k): features of shape (n_k, h), and their labels or None.
    mean_squares : ndarray of shape (h,)
        Of each column.

    Attributes
    ----------
    shape : tuple of int
        (n, h).
    """

    ndim = 2

    def __init__(self, table: Shards, mean_squares: FloatArray) -> None:
        self.table, self.mean_squares = table, mean_squares
        self.shape = (table.n, len(mean_squares))

    def __len__(self) -> int:
        return self.shape[0]

    @classmethod
    def survey(cls, table: Shards) -> tuple[Self, NDArray[Any] | None]:
        """Look through all features and labels, in one round.

        Returns
        -------
        features : FeatureShards
        labels : ndarray of shape (n,), or None where the shards hold none

        Raises
        ------
        ProblemError
            For features or labels that a head cannot be trained on; it names the shard.
        """
        found = table.map(_survey)
        for name, one in zip(table.names, found, strict=True):
            if isinstance(one, str):
                raise ProblemError(f"in {name}: {one}")
        filled = [k for k, one in enumerate(found) if one[0]]
        if not filled:
            raise ProblemError("X is empty: none of its shards holds an example.")
        first = filled[0]
        for k in filled:
            _require_alike(table.names[first], found[first], table.names[k], found[k])
        squares = sum(found[k][1] for k in filled) / table.n
        if found[first][2] is None:
            return cls(table, squares), None
        labels = [found[k][2][found[k][3]] for k in filled]
        return cls(table, squares), np.concatenate(labels)

    def digest(self) -> str:
        """SHA-256 of the digests of the shards' features: another cut has another one."""
        digest = hashlib.sha256()
        for part in self.table.map(_digest):
            digest.update(part)
        return digest.hexdigest()


def features_of(value: Any) -> Any:
    """Give the features of a shard, which may have labels beside them."""
    return value[0] if isinstance(value, tuple) else value


def _survey(value: Any) -> Any:
    """Give n_k, the sum of squares, classes and codes of a shard, or what is wrong with it."""
    X, y = value if isinstance(value, tuple) else (value, None)
    if as_sparse(X) is not None:
        return "X is sparse, and features in shards must be dense; X.toarray()."
    if not np.shape(X)[0]:
        return 0, None, None, None
    try:
        features = check_features(X)
        squares = np.zeros(features.shape[1])
        for start in range(0, len(features), _CHUNK):
            squares += np.square(features[start : start + _CHUNK]).sum(axis=0)
        if y is None:
            return len(features), squares, None, None
        labels = to_labels(y, "y")
    except ProblemError as error:
        return str(error)
    if len(labels) != len(features):
        return f"X has {len(features)} rows but y has {len(labels)} labels."
    classes, codes = np.unique(labels, return_inverse=True)
    return len(features), squares, classes, codes.astype(np.min_scalar_type(len(classes)))


def _require_alike(name: str, one: Any, other_name: str, other: Any) -> None:
    """Demand as many features, and labels of the same kind, in two shards."""
    if len(one[1]) != len(other[1]):
        raise ProblemError(
            f"X has {len(one[1])} features in {name} and {len(other[1])} in {other_name}; all "
            "shards must have the same columns."
        )
    kinds = [
        None if classes is None else classes.dtype.kind == "U" for classes in (one[2], other[2])
    ]
    if kinds[0] != kinds[1]:
        words = {None: "none", True: "texts", False: "integers"}
        raise ProblemError(
            f"the labels are {words[kinds[0]]} in {name} and {words[kinds[1]]} in {other_name}; "
            "give all shards labels of one kind."
        )


def _digest(value: Any) -> bytes:
    X = np.ascontiguousarray(features_of(value))
    digest = hashlib.sha256(f"{X.dtype.str} {X.shape}".encode())
    digest.update(X.data)
    return digest.digest()

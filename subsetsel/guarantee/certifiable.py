"""What a certificate can speak of: dense data, and heads of one kind trained on these very data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.problem.in_shards import lies_in_shards
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import FloatArray
from subsetsel.support.arrays import to_numpy
from subsetsel.support.labels import to_labels

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head
    from subsetsel.influence.head.objective import HeadObjective


def plain_head(problem: Problem) -> Head:
    """Give the head, if a certificate can speak of its kind."""
    head = problem.head
    if head is None:
        raise ProblemError("a certificate needs a problem that knows its head and data.")
    from subsetsel.influence.head.losses import SquaredObjective

    objective = head.objective_function
    setting = objective.setting
    if (
        isinstance(objective, SquaredObjective)
        or objective.weights is not None
        or setting.label_smoothing
        or not setting.penalizes_bias
    ):
        raise ProblemError(
            "a certificate speaks of softmax cross-entropy with l2 on all parameters, without "
            "sample weights and label smoothing; this head is of another kind."
        )
    return head


def as_data(X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, Any]:
    """Read features (n, h) as float64, and labels (n,) as what they are."""
    if lies_in_shards(X):
        raise ProblemError("X lies in shards, and a certificate is checked with arrays; load them.")
    if hasattr(X, "tocsr"):
        raise ProblemError("X is sparse, and a certificate compares dense numbers; X.toarray().")
    features, labels = to_numpy(X, "X").astype(np.float64), to_labels(y)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ProblemError(
            f"X must have shape (n, h) and y shape (n,); got {features.shape} and {labels.shape}."
        )
    return features, labels


def require_data_of(head: Head, X: FloatArray, y: Any) -> None:
    """Refuse features (n, h) and labels (n,) that are not those the head was trained on."""
    shape = (head.n, head.q - 1)
    if X.shape != shape:
        raise ProblemError(
            f"X has shape {X.shape}, and the head was trained on features of shape {shape}; give "
            "the features it was trained on."
        )
    if not np.array_equal(head.classes[head.labels], y):
        raise ProblemError("y are not the labels the head was trained on; give those, in order.")
    objective: Any = head.objective_function
    if objective.in_shards:
        parts = np.split(X, objective.held.starts[1:-1])
        is_same = all(objective.held.map(_is_over, each=[(part,) for part in parts]))
    else:
        is_same = _is_over(objective, X)
    if not is_same:
        raise ProblemError(
            "X are not the features the head was trained on; give those, with their rows in order."
        )


def _is_over(objective: HeadObjective | None, X: FloatArray) -> bool:
    """Whether an objective, None for an empty shard, is over exactly these features (n, h)."""
    if objective is None:
        return not len(X)
    # The scale is of powers of two, so that what was divided comes back as it was.
    return all(
        np.array_equal(
            objective.X[rows].turn(objective.scale, None).dense()[:, :-1].cpu().numpy(), X[rows]
        )
        for rows in objective.chunks()
    )

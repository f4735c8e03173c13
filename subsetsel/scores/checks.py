"""What the scores demand of their input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import ProblemError
from subsetsel.rows.base import FloatArray, IndexArray

# A softmax in bfloat16 adds up to one within half a percent.
_SUM_TOLERANCE = 1e-2


def as_array(given: Any, name: str) -> NDArray[Any]:
    """Take an array or a torch tensor of any device and type.

    Returns
    -------
    ndarray

    Raises
    ------
    ProblemError
        If it is no rectangular array of real numbers, or empty.
    """
    if hasattr(given, "detach") and hasattr(given, "cpu"):
        # bfloat16 has no NumPy counterpart and is widened.
        given = given.detach().cpu()
        given = (given.double() if given.is_floating_point() else given).numpy()
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ProblemError(f"{name} is not a rectangular array: {error}.") from error
    if array.dtype.kind not in "fiub":
        raise ProblemError(f"{name} must hold real numbers, got dtype {array.dtype}.")
    if array.size == 0:
        raise ProblemError(f"{name} is empty: its shape is {array.shape}.")
    return array


def check_table(given: Any, name: str) -> FloatArray:
    """Validate one finite row of numbers per example.

    Returns
    -------
    ndarray of shape (n, p), float64

    Raises
    ------
    ProblemError
        If it has not two dimensions or is not finite.
    """
    array = as_array(given, name)
    if array.ndim != 2:
        raise ProblemError(
            f"{name} must have two dimensions, one row per example; got shape {array.shape}."
        )
    return _finite(array.astype(np.float64), name)


def runs_of(given: Any, name: str, columns: str) -> NDArray[Any]:
    """See an array of one run as several runs, of which there is one.

    Parameters
    ----------
    given : array_like of shape (n, p) or (runs, n, p)
    name : str
    columns : str
        What p counts, for the message.

    Returns
    -------
    ndarray of shape (runs, n, p)
        Not copied, so not yet validated beyond its shape.

    Raises
    ------
    ProblemError
        If it has another number of dimensions.
    """
    array = as_array(given, name)
    if array.ndim not in {2, 3}:
        raise ProblemError(
            f"{name} must have shape (n, {columns}), or (runs, n, {columns}) for several runs; got "
            f"{array.shape}."
        )
    return array if array.ndim == 3 else array[None]


def probability_runs(given: Any) -> Iterator[FloatArray]:
    """Walk through runs, each validated as rows of probabilities.

    Parameters
    ----------
    given : array_like of shape (n, C) or (runs, n, C)

    Yields
    ------
    ndarray of shape (n, C), float64

    Raises
    ------
    ProblemError
        If a row is no distribution over the classes, as when logits are given.
    """
    for run in runs_of(given, "probabilities", "C"):
        wide = _finite(run.astype(np.float64), "probabilities")
        sums = wide.sum(axis=1)
        bad = np.flatnonzero((np.abs(sums - 1) > _SUM_TOLERANCE) | (wide < -_SUM_TOLERANCE).any(1))
        if bad.size:
            raise ProblemError(
                f"probabilities must be non-negative and add up to 1 for each example, but those "
                f"of example {bad[0]} add up to {sums[bad[0]]:.4g} and the least is "
                f"{wide[bad[0]].min():.4g}; from logits: scipy.special.softmax(logits, axis=-1)."
            )
        yield wide


def check_labels(y: Any, n: int, num_classes: int | None = None) -> IndexArray:
    """Validate one class number per example.

    Parameters
    ----------
    y : array_like of shape (n,)
    n : int
    num_classes : int, optional
        Labels are 0 to num_classes - 1; any integers otherwise.

    Returns
    -------
    ndarray of shape (n,), int64

    Raises
    ------
    ProblemError
        If there are more or fewer, they are no integers, or one is out of range.
    """
    labels = as_array(y, "y")
    if labels.dtype.kind == "f" or labels.ndim != 1:
        raise ProblemError(
            f"y must hold one integer label per example, got {labels.dtype} of shape "
            f"{labels.shape}; from one-hot rows: y.argmax(axis=1)."
        )
    if len(labels) != n:
        raise ProblemError(
            f"y has {len(labels)} labels for {n} examples; there must be one label per example."
        )
    if num_classes is not None:
        bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if bad.size:
            raise ProblemError(
                f"y must hold labels from 0 to {num_classes - 1}, one per column, but "
                f"y[{bad[0]}] is {labels[bad[0]]}."
            )
    return labels.astype(np.int64)


def _finite(array: FloatArray, name: str) -> FloatArray:
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise ProblemError(
            f"{name} must be finite, but row {bad[0]} holds a NaN or an infinity "
            f"({bad.size} such rows); look at these examples."
        )
    return array

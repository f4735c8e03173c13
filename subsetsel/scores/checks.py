"""What the scores demand of their input; each check raises a `ProblemError` that names it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import ProblemError
from subsetsel.rows.base import FloatArray, IndexArray
from subsetsel.support.arrays import to_numpy

# A softmax in bfloat16 adds up to one within half a percent.
_SUM_TOLERANCE = 1e-2


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Validate an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ProblemError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(value)


def check_numbers(given: Any, name: str) -> NDArray[Any]:
    """Validate a rectangular array of real numbers that is not empty."""
    if hasattr(given, "tocsr"):
        raise ProblemError(f"{name} is sparse; give {name}.toarray().")
    array = to_numpy(given, name)
    if array.dtype.kind not in "fiub":
        raise ProblemError(f"{name} must hold real numbers, got dtype {array.dtype}.")
    if array.size == 0:
        raise ProblemError(f"{name} is empty: its shape is {array.shape}.")
    return array


def check_table(given: Any, name: str) -> FloatArray:
    """Validate one finite row of numbers per example: a float64 copy of shape (n, p)."""
    array = check_numbers(given, name)
    if array.ndim != 2:
        raise ProblemError(
            f"{name} must have two dimensions, one row per example; got shape {array.shape}."
        )
    table = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if bad.size:
        raise ProblemError(
            f"{name} must be finite, but row {bad[0]} holds a NaN or an infinity "
            f"({bad.size} such rows); look at these examples."
        )
    return table


def runs_of(given: Any, name: str, shape: str) -> NDArray[Any]:
    """See an array of one run as several runs, of which there is one.

    Parameters
    ----------
    shape : str
        What the two dimensions of one run count, for the message: ``"n, C"``.

    Returns
    -------
    ndarray of three dimensions
        Not copied, and not yet validated beyond its shape.
    """
    array = check_numbers(given, name)
    if array.ndim not in {2, 3}:
        raise ProblemError(
            f"{name} must have shape ({shape}), or (runs, {shape}) for several runs; got "
            f"{array.shape}."
        )
    return array if array.ndim == 3 else array[None]


def probability_runs(given: Any) -> Iterator[FloatArray]:
    """Walk through runs, each a float64 copy of shape (n, C) validated as probabilities."""
    for run in runs_of(given, "probabilities", "n, C"):
        table = check_table(run, "probabilities")
        sums = table.sum(axis=1)
        bad = np.flatnonzero((np.abs(sums - 1) > _SUM_TOLERANCE) | (table < -_SUM_TOLERANCE).any(1))
        if bad.size:
            raise ProblemError(
                f"probabilities must be non-negative and add up to 1 for each example, but those "
                f"of example {bad[0]} add up to {sums[bad[0]]:.4g} and the least is "
                f"{table[bad[0]].min():.4g}; from logits: scipy.special.softmax(logits, axis=-1)."
            )
        yield table


def check_labels(y: Any, n: int, num_classes: int | None = None) -> IndexArray:
    """Validate one integer label per example, from 0 to num_classes - 1 where that is given."""
    labels = check_numbers(y, "y")
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

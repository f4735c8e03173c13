"""Labels from whatever users hold them in: integers or texts, one per example."""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FormulationWarning, ProblemError
from subsetsel.support.arrays import as_frame, is_missing, is_tensor, refuse_mask, to_numpy

# From here on float64 does not tell neighbouring integers apart.
_LARGEST_WHOLE = 2.0**53

# Fewer examples a class than that, in more classes than that, and floats may be amounts.
_FEW_EXAMPLES, _MANY_CLASSES = 3, 20


def to_labels(given: Any, name: str = "y") -> NDArray[Any]:
    """Turn labels into an array of integers or of texts, shape (n,).

    One column counts as one dimension. Whole floats and Booleans become integers and bytes become
    texts. ``name`` is that of the argument, for messages.

    Raises
    ------
    ProblemError
        If a label is missing or masked, if they are amounts, dates or of several types, or if there
        is not one per example; the message says what to do.

    Warns
    -----
    FormulationWarning
        If they are floats of which few are alike, so that they may be amounts.
    """
    refuse_mask(given, name, f"keep the examples of ~numpy.ma.getmaskarray({name})")
    labels = _one_per_example(given, _read(given, name), name)
    if labels.size == 0:
        raise ProblemError(f"{name} is empty: there must be one label per example.")
    kind = labels.dtype.kind
    if kind in "OST":
        return _texts(labels.astype(object), given, name)
    if kind == "f":
        return _whole(labels, given, name)
    if kind not in "biuU":
        _refuse(labels, 0, name)
    if kind == "u" and labels.max() > np.iinfo(np.int64).max:
        raise ProblemError(
            f"{name} holds the label {labels.max()}, beyond 64-bit integers; {_as_texts(name)}."
        )
    return labels if kind == "U" else labels.astype(np.int64)


def _read(given: Any, name: str) -> NDArray[Any]:
    frame = as_frame(given, name)
    if frame is not None:
        if frame.shape[1] == 1:
            return _read(frame.iloc[:, 0], name)
        if any(dtype.kind not in "iufb" for dtype in frame.dtypes):
            raise ProblemError(
                f"{name} is a frame of {frame.shape[1]} columns; give the one that holds the "
                f"labels, as {name}[{frame.columns[0]!r}]."
            )
    return to_numpy(given, name)


def _one_per_example(given: Any, labels: NDArray[Any], name: str) -> NDArray[Any]:
    if labels.ndim == 1:
        return labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    cure = f"give a list or an array, not the single value {given!r}"
    if labels.ndim == 2 and len(labels) == 1:
        cure = f"give numpy.ravel({name})"
    elif labels.ndim == 2 and _is_one_hot(labels):
        how = f"numpy.argmax({name}, axis=1)"
        if hasattr(given, "idxmax"):
            how = f"{name}.idxmax(axis=1)"
        elif hasattr(given, "argmax"):
            how = f"{name}.argmax(axis=1)"
        cure = f"turn one-hot rows into labels with {how}"
    elif labels.ndim > 0:
        cure = (
            "its rows are not one-hot, so that no class can be read off them; prune for one column "
            f"of labels at a time, as numpy.asarray({name})[:, 0]"
        )
    raise ProblemError(
        f"{name} must have one dimension (one label per example), got shape {labels.shape}; {cure}."
    )


def _is_one_hot(rows: NDArray[Any]) -> bool:
    if rows.dtype.kind not in "iufb" or not np.isin(rows, (0, 1)).all():
        return False
    return bool((rows.sum(axis=1) == 1).all())


def _texts(labels: NDArray[Any], given: Any, name: str) -> NDArray[Any]:
    for k, label in enumerate(labels):
        if isinstance(label, bytes):
            labels[k] = label = _decode(label, k, name)
        if not isinstance(label, str):
            if is_missing(label):
                _refuse_missing(label, k, given, name)
            _refuse(labels, k, name)
        elif label.endswith("\0"):
            raise ProblemError(
                f"{name}[{k}] is {label!r}, and NumPy drops NUL at the end of a text; "
                r"give label.rstrip('\0')."
            )
    return labels.astype(np.str_)


def _decode(label: bytes, k: int, name: str) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError as error:
        raise ProblemError(
            f"{name} must hold integers or texts, but {name}[{k}] is {label!r}, which is no UTF-8; "
            "decode it first, as by label.decode('latin-1')."
        ) from error


def _whole(labels: NDArray[Any], given: Any, name: str) -> NDArray[Any]:
    missing = np.flatnonzero(np.isnan(labels))
    if missing.size:
        _refuse_missing(labels[missing[0]], int(missing[0]), given, name)
    bad = np.flatnonzero((labels != np.floor(labels)) | (np.abs(labels) > _LARGEST_WHOLE))
    if bad.size:
        raise ProblemError(
            f"{name} must hold integers or texts, but {name}[{bad[0]}] is {labels[bad[0]]}, no "
            "whole number that float64 tells from its neighbours; cut amounts into classes first, "
            f"as by numpy.digitize({name}, bins)."
        )
    num_classes = len(np.unique(labels))
    if num_classes > _MANY_CLASSES and len(labels) < _FEW_EXAMPLES * num_classes:
        warnings.warn(
            f"{name} holds {num_classes} different floats of {len(labels)} examples, and each is "
            f"taken for a class. Amounts are cut into classes by numpy.digitize({name}, bins); "
            f"that they are classes is said by numpy.asarray({name}).astype(int).",
            FormulationWarning,
            stacklevel=2,
        )
    return labels.astype(np.int64)


def _refuse_missing(label: Any, k: int, given: Any, name: str) -> NoReturn:
    if isinstance(given, (list, tuple, np.ndarray)):
        # NaN may stand for what was None.
        label = given[k]
    labelled = f"pandas.notna({name})"
    if is_tensor(given):
        labelled = f"~{name}.isnan()"
    elif hasattr(given, "is_valid"):
        labelled = f"{name}.is_valid()"
    raise ProblemError(f"{name}[{k}] is {label}, a missing value; keep the examples of {labelled}.")


def _refuse(labels: NDArray[Any], k: int, name: str) -> NoReturn:
    beside = " beside texts" if any(isinstance(label, (str, bytes)) for label in labels) else ""
    raise ProblemError(
        f"{name} must hold integers or texts, but {name}[{k}] is {labels[k]!r}, of type "
        f"{type(labels[k]).__name__}{beside}; {_as_texts(name)}."
    )


def _as_texts(name: str) -> str:
    return f"if these are classes, make texts of them all by [str(label) for label in {name}]"

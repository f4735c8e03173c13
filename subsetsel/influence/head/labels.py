"""Labels as users give them to the codes of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import ProblemError
from subsetsel.rows.base import IndexArray
from subsetsel.support.labels import to_labels


def encode_labels(
    y: Any, num_classes: int | None = None, name: str = "y"
) -> tuple[IndexArray, NDArray[Any]]:
    """Turn labels, integers or texts, into codes, and give the sorted classes behind the codes.

    With ``num_classes`` some classes may have no example: integer labels are then the codes 0 to
    num_classes - 1 themselves.
    """
    labels = to_labels(y, name)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ProblemError(
            f"{name} holds one class only ({classes[0].item()!r}); a head that tells classes apart "
            "needs two: add examples of another."
        )
    if labels.dtype.kind != "U" and classes[0] < 0:
        _check_negative(labels, classes, name)
    if num_classes is None:
        return codes.astype(np.int64), classes
    if num_classes != int(num_classes) or num_classes < 2:
        raise ProblemError(f"num_classes must be an integer of at least 2, got {num_classes!r}.")
    if labels.dtype.kind == "U":
        if len(classes) != num_classes:
            raise ProblemError(
                f"{name} holds {len(classes)} different texts but num_classes is {num_classes}; "
                "leave num_classes out, or give integer labels."
            )
        return codes.astype(np.int64), classes
    outside = np.flatnonzero((labels >= num_classes) | (labels < 0))
    if outside.size:
        raise ProblemError(
            f"{name} must hold labels from 0 to num_classes - 1 = {num_classes - 1}, but "
            f"{name}[{outside[0]}] is {labels[outside[0]]}; correct it, or raise num_classes or "
            "leave it out."
        )
    return labels, np.arange(num_classes)


def encode_like(y: Any, classes: NDArray[Any], name: str = "y") -> IndexArray:
    """Encode labels by the sorted classes that a head knows."""
    labels = to_labels(y, name)
    if (labels.dtype.kind == "U") != (classes.dtype.kind == "U"):
        known, cure = (
            ("texts", f"[str(label) for label in {name}]")
            if classes.dtype.kind == "U"
            else ("integers", f"numpy.asarray({name}).astype(int)")
        )
        raise ProblemError(
            f"{name} holds {labels[0].item()!r}, of type {type(labels[0].item()).__name__}, and "
            f"the head was trained on {known}, such as {classes[0].item()!r}; give labels of the "
            f"same kind, as by {cure} where they are written alike."
        )
    codes = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    unknown = np.flatnonzero(classes[codes] != labels)
    if unknown.size:
        shown = ", ".join(repr(label) for label in classes[:5].tolist())
        raise ProblemError(
            f"{name}[{unknown[0]}] is {labels[unknown[0]].item()!r}, which is not among the "
            f"{len(classes)} classes the head was trained on ({shown}"
            f"{', ...' if len(classes) > 5 else ''}); leave such examples out or train with them."
        )
    return codes.astype(np.int64)


def _check_negative(labels: IndexArray, classes: IndexArray, name: str) -> None:
    """Refuse negative numbers, which commonly mark what has no label, but for the pair -1, +1."""
    if classes.tolist() == [-1, 1]:
        return
    first = int(np.flatnonzero(labels < 0)[0])
    raise ProblemError(
        f"{name} must not hold negative labels other than those of the two classes -1 and +1, but "
        f"{name}[{first}] is {labels[first]}; drop examples without a label (keep numpy.asarray"
        f"({name}) >= 0) or, if it is a class, give texts: [str(label) for label in {name}]."
    )

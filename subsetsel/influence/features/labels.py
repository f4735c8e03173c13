"""Labels as data sets hold them: one class per example, or a word on what they are instead."""

from __future__ import annotations

from typing import Any

import torch

from subsetsel.errors import ProblemError

_ONE_CLASS = "labels must be integers, one class per example"
_IF_INPUTS = "If these are inputs, say with labels= which item or key of a batch holds the labels."


def check_labels(labels: Any) -> torch.Tensor:
    """Bring the labels of a batch to the CPU as int64, shape (b,).

    Whole numbers may be stored as floats, as a loss of one logit wants them. Nothing is rounded.
    It is a ProblemError if a label is missing or they are not one class per example.
    """
    try:
        tensor = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ProblemError(
            f"{_ONE_CLASS}; a batch holds {_describe(labels)}. Number the classes from 0 in the "
            "data set; texts by {name: number for number, name in enumerate(names)}."
        ) from error
    if tensor.dim() == 2 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.is_complex():
        raise ProblemError(f"{_ONE_CLASS}; a batch holds complex numbers ({tensor.dtype}).")
    if tensor.is_floating_point():
        _require_whole(tensor)
    if tensor.dim() != 1:
        raise ProblemError(
            f"{_ONE_CLASS}; a batch holds {tensor.dtype} of shape {tuple(tensor.shape)}. "
            f"{_cure(tensor)}"
        )
    return tensor.to("cpu", torch.int64)


def _require_whole(tensor: torch.Tensor) -> None:
    """Refuse floats that no integer stands for."""
    bad = torch.nonzero(~torch.isfinite(tensor))
    if len(bad):
        value = float(tensor[tuple(bad[0])])
        raise ProblemError(
            f"{_ONE_CLASS}; example {int(bad[0, 0])} of a batch has the label {value}. Leave "
            "examples without a label out, with torch.utils.data.Subset(dataset, labelled)."
        )
    bad = torch.nonzero(tensor != tensor.round())
    if len(bad):
        value = float(tensor[tuple(bad[0])])
        if tensor.dim() > 1:
            is_share = bool((tensor >= 0).all() and ((tensor.sum(dim=-1) - 1).abs() < 1e-3).all())
            cure = "Probabilities: give labels.argmax(1)." if is_share else _IF_INPUTS
        else:
            cure = (
                "Rounding measured values would invent classes: a regression cannot be pruned this "
                "way; give classes, for example whether a value is above a threshold."
            )
        raise ProblemError(
            f"{_ONE_CLASS}; example {int(bad[0, 0])} of a batch has the label {value:g}. {cure}"
        )


def _cure(tensor: torch.Tensor) -> str:
    """Say what to do with labels of more than one dimension."""
    if tensor.dim() == 2 and bool(((tensor == 0) | (tensor == 1)).all()):
        if bool((tensor.sum(dim=1) == 1).all()):
            return "They are one-hot: give labels.argmax(1)."
        return (
            "Several classes may hold for one example here, which no softmax can say: give one "
            "column of them, to prune for that question alone."
        )
    return f"{_IF_INPUTS} If every position has a label, make one example of each position."


def _describe(labels: Any) -> str:
    """Say of which kind labels are that no tensor can hold."""
    kind = type(labels).__name__
    if isinstance(labels, list | tuple) and labels:
        return f"a {kind} of {type(labels[0]).__name__}, the first {str(labels[0])[:40]!r}"
    return kind

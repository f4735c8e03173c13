"""The items of a batch: which are labels, which go to the model, and how they move to a device."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from subsetsel.errors import ProblemError

LABEL_NAMES = ("labels", "label", "targets", "target", "y")
Names = str | int | Sequence[str | int] | None


def number_of(
    name: Any, argument: str, batch: tuple[Any, ...] | list[Any], fields: tuple[str, ...]
) -> int:
    """Find an item of a tuple by its number, or by its field where it has some."""
    if name in fields:
        return fields.index(name)
    if type(name) is int and -len(batch) <= name < len(batch):
        return name % len(batch)
    names = f", or one of {', '.join(fields)}" if fields else ""
    raise ProblemError(
        f"{argument} = {name!r} is no item of a batch, which holds {describe_items(batch)}; give a "
        f"number from 0 to {len(batch) - 1}{names}."
    )


def find_labels(names: list[str], labels: Names, what: str) -> str:
    """Find the one name that holds the labels."""
    if labels is not None:
        if labels not in names:
            raise ProblemError(
                f"labels = {labels!r} is no name in a batch, which holds {what}; give the name of "
                "its labels."
            )
        return str(labels)
    found = [name for name in LABEL_NAMES if name in names]
    if len(found) == 1:
        return found[0]
    problem = f"both {' and '.join(found)} could be them" if found else "none of it is called so"
    raise ProblemError(
        f"a batch holds {what}, and it must hold labels under one of the names "
        f"{', '.join(LABEL_NAMES)}; {problem}. Say which it is with labels=, or give a DataLoader "
        "whose collate_fn makes (inputs, labels)."
    )


def choose(names: list[str], labels: str, inputs: Names) -> list[str]:
    """Choose the keys that go to the model: all but the labels, or those that are said."""
    if inputs is None:
        return [name for name in names if name != labels]
    wanted = [inputs] if isinstance(inputs, str | int) else list(inputs)
    for name in wanted:
        if name not in names:
            raise ProblemError(
                f"inputs names {name!r}, which is no key of a batch; there are: {', '.join(names)}."
            )
    return [str(name) for name in wanted]


def describe_items(batch: Any) -> str:
    """Say what a batch holds, each item with its type and shape."""
    pairs = batch.items() if isinstance(batch, Mapping) else enumerate(batch)
    names = getattr(batch, "_fields", None)
    shown = [f"{names[key] if names else key}: {_describe(item)}" for key, item in pairs]
    return "; ".join(shown) or "nothing"


def _describe(item: Any) -> str:
    if isinstance(item, torch.Tensor):
        return f"{str(item.dtype).removeprefix('torch.')} of shape {tuple(item.shape)}"
    return type(item).__name__


def move(value: Any, device: torch.device) -> Any:
    """Move tensors, wherever they are nested, to a device; the structure stays the same."""
    if isinstance(value, Mapping):
        return {key: move(item, device) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [move(item, device) for item in value]
        if hasattr(value, "_fields"):
            return type(value)(*items)
        return items if isinstance(value, list) else tuple(items)
    if hasattr(value, "to"):
        return value.to(device)
    attributes = getattr(value, "__dict__", {})
    if not any(isinstance(item, torch.Tensor) for item in attributes.values()):
        return value
    # An object that cannot move itself is copied, and the tensors of the copy are moved.
    moved = copy.copy(value)
    vars(moved).update({name: move(item, device) for name, item in attributes.items()})
    return moved

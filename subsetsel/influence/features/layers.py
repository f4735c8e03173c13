"""Layers that can be a classifier: what they are given, position by position, and their weights."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import nn

from subsetsel.errors import ProblemError

Pooling = Literal["first", "last", "mean"]

# Rows of the identity that a layer is tried on at a time.
_CHUNK = 1024


def candidates(model: nn.Module) -> dict[str, nn.Module]:
    """Find the layers that may be linear classifiers, by name, in the order of the model.

    These are `torch.nn.Linear`, convolutions that see one position, adapters around either (they
    hold it as ``base_layer``), and modules of the user's own with a weight matrix of their own.
    What lies inside one of them is a part of it.
    """
    found: dict[str, nn.Module] = {}
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module not in inside and _may_classify(module):
            found[name] = module
            inside.update(module.modules())
    return found


def _may_classify(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return _is_pointwise(module)
    base = getattr(module, "base_layer", None)
    if isinstance(base, nn.Module):
        return _may_classify(base)
    if type(module).__module__.startswith("torch."):
        return False
    has_parts = any(list(child.parameters()) for child in module.children())
    return not has_parts and any(p.dim() >= 2 for p in module.parameters(recurse=False))


def has_weights(layer: nn.Module, count: int) -> bool:
    """Whether a module of the user's own has a weight for each feature and class.

    A temperature has not, though it is linear, too.
    """
    is_known = isinstance(layer, nn.Linear) or _is_convolution(layer)
    if is_known or hasattr(layer, "base_layer"):
        return True
    return any(parameter.numel() == count for parameter in layer.parameters())


def _is_pointwise(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    is_one = all(size == 1 for size in (*layer.kernel_size, *layer.stride))
    return is_one and layer.groups == 1 and set(layer.padding) <= {0, "valid"}


def _is_convolution(layer: nn.Module) -> bool:
    """Whether the features of a layer stand in dimension 1 instead of the last."""
    base = getattr(layer, "base_layer", None)
    if isinstance(base, nn.Module):
        return _is_convolution(base)
    return isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)


def positions(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Lay out what a layer was given, or gave: shape (b, h), or (b, t, h) for several positions."""
    if _is_convolution(layer):
        values = values.movedim(1, -1)
    if values.dim() > 2:
        values = values.flatten(1, -2)
    return values[:, 0] if values.dim() == 3 and values.shape[1] == 1 else values


def pool(values: torch.Tensor, pooling: Pooling, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Let one position speak for each example: (b, t, h) to (b, h); padding does not count."""
    if mask is None or mask.shape != values.shape[:2]:
        mask = torch.ones(values.shape[:2], device=values.device)
    if pooling == "mean":
        weights = mask.to(values.dtype) / mask.sum(dim=1, keepdim=True)
        return torch.einsum("bt,bth->bh", weights, values)
    where = torch.arange(mask.shape[1], device=mask.device) * (mask != 0)
    chosen = where.argmax(dim=1) if pooling == "last" else (mask != 0).int().argmax(1)
    return values[torch.arange(len(values), device=values.device), chosen]


def check_pooling(pooling: Any) -> None:
    """Refuse an unknown name."""
    if pooling is not None and pooling not in get_args(Pooling):
        raise ProblemError(
            f"pooling must be one of {', '.join(get_args(Pooling))}, got {pooling!r}."
        )


def own_head(layer: nn.Module, num_features: int, like: torch.Tensor) -> torch.Tensor:
    """Read a layer as theta, shape (C, h + 1), float64 on the CPU, with the bias last.

    A layer that is no plain `torch.nn.Linear` is asked: it is run on the identity, in eval mode,
    with the type and the device of ``like``.
    """
    if type(layer).forward is nn.Linear.forward and isinstance(layer, nn.Linear):
        weight = layer.weight.detach().double().cpu()
        bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().cpu()
        return torch.cat([weight, bias.double()[:, None]], dim=1)
    modes = {module: module.training for module in layer.modules()}
    layer.eval()
    try:
        with torch.no_grad():
            bias = _run_on(layer, like.new_zeros((1, num_features)), like)
            parts = []
            for start in range(0, num_features, _CHUNK):
                rows = like.new_zeros((min(_CHUNK, num_features - start), num_features))
                rows.diagonal(start).fill_(1.0)
                parts.append(_run_on(layer, rows, like) - bias)
    finally:
        for module, is_training in modes.items():
            module.training = is_training
    return torch.cat([torch.cat(parts).T, bias.T], dim=1)


def _run_on(layer: nn.Module, rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Run a layer on features, shape (k, h), in the layout it knows."""
    if _is_convolution(layer):
        rows = rows.reshape(*rows.shape, *[1] * (like.dim() - 2))
    elif like.dim() > 2:
        rows = rows.reshape(len(rows), *[1] * (like.dim() - 2), -1)
    return positions(layer, layer(rows)).double().cpu()

"""Which layer of a model is its classifier: the one whose output is what the model returns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import nn
from torch.nn.functional import log_softmax
from torch.utils._pytree import tree_leaves

from subsetsel.errors import FormulationWarning, ProblemError
from subsetsel.influence.features.batches import Batch
from subsetsel.influence.features.layers import (
    Pooling,
    candidates,
    has_weights,
    own_head,
    pool,
    positions,
)
from subsetsel.influence.features.running import attention_mask, run_model

# Largest difference of the same logits, as a share of the largest of them: GPUs may multiply
# float32 with the 10 bits of TF32.
_ROUNDING, _ROUNDING_OF_HALF = 1e-2, 5e-2


@dataclass(frozen=True, eq=False)
class Watched:
    """What happened in a forward pass over one batch.

    Attributes
    ----------
    layers : dict
        The layers that may be classifiers, by name.
    called : list of str
        Those that were called, in order.
    calls : dict
        What those were given whose output has the width of the model's.
    outputs : list of tensors of shape (b, C) or (b, t, C)
        What the model returned and could be logits.
    mask : tensor or None
        Which positions are not padding.
    """

    layers: dict[str, nn.Module]
    called: list[str]
    calls: dict[str, torch.Tensor]
    outputs: list[torch.Tensor]
    mask: torch.Tensor | None


def watch(model: nn.Module, batch: Batch) -> Watched:
    """Run a model twice: to see what it returns, then to catch the layers that may have made it."""
    layers = candidates(model)
    with torch.no_grad():
        widths = {out.shape[-1] for out in _logits(run_model(model, batch), batch)}
        called: list[str] = []
        calls: dict[str, torch.Tensor] = {}

        def see(name: str, layer: nn.Module, given: Any, out: Any) -> None:
            called.append(name)
            is_wide = isinstance(out, torch.Tensor) and out.dim() > 1
            if is_wide and positions(layer, out).shape[-1] in widths:
                calls[name] = given

        handles = [
            layer.register_forward_hook(
                lambda layer, args, kwargs, out, name=name: see(
                    name, layer, input_of(args, kwargs), out
                ),
                with_kwargs=True,
            )
            for name, layer in layers.items()
        ]
        try:
            outputs = _logits(run_model(model, batch), batch)
        finally:
            for handle in handles:
                handle.remove()
    return Watched(layers, called, calls, outputs, attention_mask(model, batch))


def input_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """Find the tensor that a layer was given, by position or by name."""
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    return tensors[0] if tensors else torch.empty(0)


def _logits(output: Any, batch: Batch) -> list[torch.Tensor]:
    """Find what could be logits in what a model returns, one row or more per example."""
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    output = getattr(output, "logits", output)
    leaves = tree_leaves(dict(output) if isinstance(output, Mapping) else output)
    found = [
        leaf[:, None] if leaf.dim() == 1 else leaf
        for leaf in leaves
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.dim() > 0
    ]
    # Convolutions leave empty dimensions behind: (b, C, 1, 1).
    flat = [leaf.flatten(1) if leaf[:1].numel() == leaf.shape[1] else leaf for leaf in found]
    return [leaf for leaf in flat if len(leaf) == len(batch.labels)]


def choose_classifier(
    model: nn.Module, seen: Watched, name: str | None, pooling: Pooling | None
) -> str:
    """Choose the layer that fits, or check the one that is named; see `find_classifier`."""
    if name is not None:
        _require_layer(model, seen, name)
    fitting = {key: _fitting(seen, key, pooling) for key in seen.calls}
    fits = [key for key, where in fitting.items() if where]
    if name is None:
        places = {min(fitting[key]) for key in fits}
        if len(places) > 1:
            raise ProblemError(
                f"the model returns several outputs, and {' and '.join(fits)} each give one of "
                "them; say which is the classifier with classifier=."
            )
        if fits:
            return fits[-1]
        raise ProblemError(_nothing_fits(seen, pooling))
    if name in fits:
        return name
    if fits:
        raise ProblemError(
            f"classifier = {name!r} does not give what the model returns{_how(pooling)}, but "
            f"{' or '.join(fits)} does: give that, leave classifier= out, or give a model that "
            f"returns the output of {name!r}."
        )
    other = _other_pooling(seen, name) if pooling is not None else []
    if other:
        raise ProblemError(
            f"with pooling = {pooling!r} the classifier {name!r} does not give what the model "
            f"returns; it does with pooling={other[0]!r}."
        )
    warnings.warn(
        f"classifier = {name!r} does not give what the model returns on the first examples "
        f"({_shapes(seen)}), nor does any other layer: S is that of this layer as a classifier of "
        "its own. Scaled logits, or a model that returns its loss, are a reason; otherwise compute "
        "features yourself and use Problem.from_features.",
        FormulationWarning,
        stacklevel=2,
    )
    return name


def _require_layer(model: nn.Module, seen: Watched, name: Any) -> None:
    """Refuse a name that is none, that is not linear, or that is not reached."""
    if not isinstance(name, str):
        raise ProblemError(
            f"classifier must be the name of a layer, got a {type(name).__name__}; names are those "
            "of model.named_modules()."
        )
    known = dict(model.named_modules())
    is_inside = any(name.startswith(f"{key}.") for key in seen.layers)
    if name not in seen.layers:
        what = f"is a {type(known[name]).__name__}" if name in known else "does not exist"
        if name in known and is_inside:
            what = f"is a part of {next(k for k in seen.layers if name.startswith(f'{k}.'))!r}"
        choices = ", ".join(list(dict.fromkeys(seen.called))[-5:]) or "none"
        raise ProblemError(
            f"classifier = {name!r} {what} in this model; it must be a torch.nn.Linear, a 1x1 "
            f"convolution, or an adapter around one. The last ones called are: {choices}."
        )
    if name not in seen.called:
        raise ProblemError(
            f"classifier = {name!r} is never called in a forward pass. If its weights are used "
            f"without it (F.linear), call the layer itself, or {_BY_HAND}."
        )


_BY_HAND = "compute features yourself and use Problem.from_features"


def _nothing_fits(seen: Watched, pooling: Pooling | None) -> str:
    """Say that no layer gives what the model returns, and which would with another pooling."""
    if not seen.called:
        return (
            "the model calls no torch.nn.Linear, so it has no linear classifier whose examples "
            f"could be pruned; {_BY_HAND}."
        )
    others = {key: _other_pooling(seen, key) for key in seen.calls}
    for key, found in others.items():
        if found:
            return (
                f"with pooling = {pooling!r} no layer gives what the model returns; {key!r} does "
                f"with pooling={found[0]!r}."
            )
    names = list(dict.fromkeys(seen.called))[-5:]
    last = ", ".join(f"{key} ({type(seen.layers[key]).__name__})" for key in names)
    return (
        f"no layer of the model gives what it returns on the first examples ({_shapes(seen)}), so "
        f"its classifier is not known. The last linear layers called are: {last}. If one of them "
        "is the classifier and the model scales its output or returns its loss, name it with "
        "classifier=; if the model uses weights without calling their layer, call the layer in "
        f"forward; otherwise {_BY_HAND}."
    )


def _shapes(seen: Watched) -> str:
    shapes = [str(tuple(out.shape)) for out in seen.outputs]
    return f"of shape {', '.join(shapes)}" if shapes else "no logits, one row per example"


def _how(pooling: Pooling | None) -> str:
    return "" if pooling is None else f" with pooling={pooling!r}"


def _other_pooling(seen: Watched, name: str) -> list[Pooling]:
    """Find the poolings with which a layer fits."""
    if name not in seen.calls:
        return []
    return [one for one in get_args(Pooling) if _fitting(seen, name, one)]


def _fitting(seen: Watched, name: str, pooling: Pooling | None) -> list[int]:
    """Find which of the model's outputs are those that a layer's weights give."""
    layer, given = seen.layers[name], seen.calls[name]
    if given.dim() < 2:
        return []
    features = positions(layer, given)
    try:
        theta = own_head(layer, features.shape[-1], given)
    except (TypeError, ValueError, RuntimeError):
        return []  # It does not take rows of features alone: no classifier.
    if not has_weights(layer, theta[:, :-1].numel()):
        return []
    home = features.double().cpu()
    logits = home @ theta[:, :-1].T + theta[:, -1]
    half = min(given.element_size(), *(out.element_size() for out in seen.outputs)) < 4
    found = []
    for place, output in enumerate(seen.outputs):
        wanted = output.double().cpu()
        if any(_is_same(one, wanted, half=half) for one in _ways(logits, wanted, pooling, seen)):
            found.append(place)
    return found


def _ways(
    logits: torch.Tensor, wanted: torch.Tensor, pooling: Pooling | None, seen: Watched
) -> list[torch.Tensor]:
    """Logits as the model may return them: of every position, or pooled."""
    if logits.dim() == 2 or wanted.dim() == 3:
        return [logits]
    mask = None if seen.mask is None else seen.mask.cpu()
    wanted_poolings = get_args(Pooling) if pooling is None else [pooling]
    return [pool(logits, one, mask) for one in wanted_poolings]


def _is_same(logits: torch.Tensor, output: torch.Tensor, *, half: bool) -> bool:
    """Whether an output is logits, or their softmax (sigmoid), or the logarithm of that."""
    if output.dim() > logits.dim() and output.numel() == logits.numel():
        output = output.reshape(logits.shape)
    if output.shape != logits.shape:
        return False
    if _is_close(logits, output, half=half):
        return True
    if logits.shape[-1] == 1:
        return _is_close(logits.sigmoid(), output, half=half)
    whole = log_softmax(logits, dim=-1)
    if _is_close(whole, log_softmax(output, dim=-1), half=half):
        return True
    return _is_close(whole.exp(), output, half=half)


def _is_close(a: torch.Tensor, b: torch.Tensor, *, half: bool) -> bool:
    """Whether all that is finite agrees; a NaN is refused later, with the row it is in."""
    finite = a.isfinite() & b.isfinite()
    if not bool((a.isfinite() == b.isfinite()).all()):
        return False
    a, b = a[finite], b[finite]
    scale = float(a.abs().max()) if len(a) else 0.0
    tolerance = scale * (_ROUNDING_OF_HALF if half else _ROUNDING)
    return bool(((a - b).abs() <= tolerance).all())

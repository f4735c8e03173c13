"""GraNd: the length of each example's gradient, over all parameters of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.errors import OptionError, ProblemError
from subsetsel.rows.base import FloatArray
from subsetsel.scores.score import Score

if TYPE_CHECKING:
    import torch
    from torch import nn

    from subsetsel.influence.features.batches import Batch

# Memory for the gradients that are computed at once, where the caller names no chunk size.
_GRADIENT_BYTES = 2**29


def grand(
    model: Any,
    data: Any,
    *,
    parameters: Sequence[str] | None = None,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    num_workers: int | None = None,
    device: str = "auto",
) -> Score:
    """Length of the gradient of each example's cross-entropy, averaged over networks.

    Parameters
    ----------
    model : torch.nn.Module or sequence of them
        Returns logits of shape (b, C), or an object that holds them as ``logits``. Each is put
        into eval mode, moved to the device, and given back as it was. The paper averages 10
        networks from different seeds, after a few epochs.
    data : Dataset or DataLoader
        Yields (inputs, labels) or mappings; not shuffled, without random augmentation.
    parameters : sequence of str, optional
        Names of parameters, or of modules whose parameters are meant; all that require a gradient
        by default.
    batch_size : int, optional
        256, or that of the loader.
    chunk_size : int, optional
        Examples whose gradients are held at once; by default what fits into half a GiB.
    num_workers : int, optional
        Processes that load data; 0, or that of the loader.
    device : str
        ``"auto"``: cuda, else mps, else the CPU.

    Returns
    -------
    Score
        Keeps the highest.

    Raises
    ------
    ProblemError
        If there is no model or no such parameter, labels are outside the logits, or the data set
        shuffles, is empty or random.
    OptionError
        If chunk_size is not a positive integer, or for an unknown device.

    References
    ----------
    Paul et al., Deep Learning on a Data Diet, NeurIPS 2021, arXiv:2107.07075, Definition 2.1.
    """
    from torch import nn

    from subsetsel.influence.device import feature_device
    from subsetsel.influence.features.batches import OrderedData

    models = [model] if isinstance(model, nn.Module) else list(model)
    if not models or not all(isinstance(one, nn.Module) for one in models):
        raise ProblemError("model must be a torch.nn.Module or a non-empty sequence of them.")
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise OptionError(f"chunk_size must be a positive integer, got {chunk_size!r}.")
    ordered = OrderedData(data, batch_size=batch_size, num_workers=num_workers)
    ordered.fingerprint()
    where = feature_device(device)
    values = np.zeros(ordered.n)
    for one in models:
        values += _gradient_norms(one, ordered, parameters, chunk_size, where)
    about = {
        "num_models": len(models),
        "parameters": "all" if parameters is None else list(parameters),
    }
    return Score("grand", values / len(models), "highest", about)


def _gradient_norms(
    model: nn.Module,
    data: Any,
    names: Sequence[str] | None,
    chunk_size: int | None,
    device: torch.device,
) -> FloatArray:
    """Length of the gradient of each example, for one network."""
    from subsetsel.influence.features.batches import split_batch
    from subsetsel.influence.features.capture import borrowed

    out = np.empty(data.n)
    start = 0
    with borrowed(model, device):
        actual = next((p.device for p in model.parameters()), device)
        chosen = _choose(model, names)
        count = sum(p.numel() * p.element_size() for p in chosen.values())
        chunk = chunk_size or max(1, _GRADIENT_BYTES // count)
        num_classes = 0
        for raw in data.batches():
            batch = split_batch(raw, actual)
            num_classes = num_classes or _num_classes(model, batch)
            _check_labels(batch, start, num_classes)
            norms = _batch_norms(model, chosen, batch, chunk)
            out[start : start + len(norms)] = norms
            start += len(norms)
    return out


def _choose(model: nn.Module, names: Sequence[str] | None) -> dict[str, torch.Tensor]:
    """Find the parameters with respect to which the gradient is taken."""
    known = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if names is None:
        if not known:
            raise ProblemError("no parameter of the model requires a gradient; name no frozen one.")
        return known
    if isinstance(names, str):
        raise ProblemError(f"parameters must be a sequence of names, got the text {names!r}.")
    chosen = {}
    for wanted in names:
        found = {
            name: p.detach()
            for name, p in model.named_parameters()
            if name == wanted or name.startswith(f"{wanted}.")
        }
        if not found:
            some = ", ".join(list(known)[-5:])
            raise ProblemError(f"the model has no parameter {wanted!r}; its last ones are: {some}.")
        chosen.update(found)
    if not chosen:
        raise ProblemError("parameters is empty; leave it out for all of them.")
    return chosen


def _batch_norms(
    model: nn.Module, chosen: dict[str, torch.Tensor], batch: Batch, chunk_size: int
) -> FloatArray:
    import torch
    from torch.func import functional_call, grad, vmap

    rest = {name: p.detach() for name, p in model.named_parameters() if name not in chosen}
    rest.update(model.named_buffers())

    def loss(own: dict[str, torch.Tensor], args: Any, kwargs: Any, label: Any) -> torch.Tensor:
        alone = tuple(tensor.unsqueeze(0) for tensor in args)
        named = {name: tensor.unsqueeze(0) for name, tensor in kwargs.items()}
        found = functional_call(model, {**rest, **own}, alone, named)
        logits = _wide(getattr(found, "logits", found))
        return torch.nn.functional.cross_entropy(logits, label.unsqueeze(0))

    def length(args: Any, kwargs: Any, label: Any) -> torch.Tensor:
        gradients = grad(loss)(chosen, args, kwargs, label)
        parts = [torch.linalg.vector_norm(_wide(g)) for g in gradients.values()]
        total: torch.Tensor = torch.linalg.vector_norm(torch.stack(parts))
        return total

    labels = batch.labels.to(next(iter(chosen.values())).device)
    try:
        norms = vmap(length, chunk_size=chunk_size)(batch.args, batch.kwargs, labels)
    except (RuntimeError, ValueError) as error:
        raise ProblemError(
            f"the gradient of one example at a time could not be taken by torch.func: {error} "
            "Less memory: a smaller chunk_size. An operation it does not know: use "
            "grand_last_layer."
        ) from error
    return np.asarray(norms.double().cpu())


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """Widen half precision to single."""
    return tensor if tensor.element_size() >= 4 else tensor.float()


def _num_classes(model: nn.Module, batch: Batch) -> int:
    import torch

    with torch.no_grad():
        found = model(*batch.args, **batch.kwargs)
    logits = getattr(found, "logits", found)
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != 2 or shape[0] != len(batch.labels) or shape[1] < 2:
        raise ProblemError(
            f"the model must return logits of shape ({len(batch.labels)}, C >= 2) for a batch of "
            f"{len(batch.labels)} examples, got {shape or type(found).__name__}."
        )
    return int(shape[1])


def _check_labels(batch: Batch, start: int, num_classes: int) -> None:
    bad = ((batch.labels < 0) | (batch.labels >= num_classes)).nonzero().flatten()
    if len(bad):
        raise ProblemError(
            f"example {start + int(bad[0])} has the label {int(batch.labels[bad[0]])}, but the "
            f"model tells {num_classes} classes apart, 0 to {num_classes - 1}."
        )

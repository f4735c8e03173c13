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

    from subsetsel.influence.features.batches import Batch, OrderedData
    from subsetsel.influence.network.network import Network

# Memory for the gradients that are computed at once, where the caller names no chunk size.
_GRADIENT_BYTES = 2**29


def grand(
    model: Any,
    data: Any,
    *,
    parameters: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    num_workers: int | None = None,
    labels: Any = None,
    inputs: Any = None,
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
    parameters : str or sequence of str, optional
        Names of parameters, or of modules whose parameters are meant; all that require a gradient
        by default.
    batch_size : int, optional
        256, or that of the loader.
    chunk_size : int, optional
        Examples whose gradients are held at once; by default what fits into half a GiB.
    num_workers : int, optional
        Processes that load data; 0, or that of the loader.
    labels, inputs : optional
        Which items or keys of a batch they are, as in `Problem.from_model`.
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

    wanted = [parameters] if isinstance(parameters, str) else parameters
    models = [model] if isinstance(model, nn.Module) else list(model)
    if not models or not all(isinstance(one, nn.Module) for one in models):
        raise ProblemError("model must be a torch.nn.Module or a non-empty sequence of them.")
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise OptionError(f"chunk_size must be a positive integer, got {chunk_size!r}.")
    ordered = OrderedData(
        data, batch_size=batch_size, num_workers=num_workers, labels=labels, inputs=inputs
    )
    ordered.fingerprint()
    where = feature_device(device)
    values = np.zeros(ordered.n)
    for one in models:
        values += _gradient_norms(one, ordered, wanted, chunk_size, where)
    about = {"num_models": len(models), "parameters": list(wanted) if wanted is not None else "all"}
    return Score("grand", values / len(models), "highest", about)


def _gradient_norms(
    model: nn.Module,
    data: OrderedData,
    parameters: Sequence[str] | None,
    chunk_size: int | None,
    device: torch.device,
) -> FloatArray:
    """Length of the gradient of each example's cross-entropy, for one network."""
    from subsetsel.influence.features.capture import borrowed
    from subsetsel.influence.network.network import Network, choose_parameters

    if parameters is not None:
        names = choose_parameters(model, parameters)
    else:
        names = tuple(name for name, p in model.named_parameters() if p.requires_grad)
        if not names:
            raise ProblemError("no parameter of the model requires a gradient; name frozen ones.")
    out = np.empty(data.n)
    start = num_classes = 0
    with borrowed(model, device):
        network = Network(model, data, names, next(model.parameters()).device)
        network.check()
        size = sum(p.numel() * p.element_size() for p in network.parameters.values())
        for batch in network.batches():
            num_classes = num_classes or network.num_classes(batch)
            _check_labels(batch, start, num_classes)
            norms = _batch_norms(network, batch, chunk_size or max(1, _GRADIENT_BYTES // size))
            out[start : start + len(norms)] = norms
            start += len(norms)
    return out


def _batch_norms(network: Network, batch: Batch, chunk_size: int) -> FloatArray:
    """Reduce each gradient to its length at once, so that a chunk of gradients is held at most."""
    import torch
    from torch.func import grad, vmap

    from subsetsel.influence.network.network import as_batch

    parameters = network.parameters

    def loss(moved: dict[str, torch.Tensor], args: Any, kwargs: Any, label: Any) -> torch.Tensor:
        logits = _wide(network.logits(moved, *as_batch(args, kwargs)))
        return torch.nn.functional.cross_entropy(logits, label[None])

    def length(args: Any, kwargs: Any, label: Any) -> torch.Tensor:
        gradients = grad(loss)(parameters, args, kwargs, label)
        parts = [torch.linalg.vector_norm(_wide(g)) for g in gradients.values()]
        total: torch.Tensor = torch.linalg.vector_norm(torch.stack(parts))
        return total

    labels = batch.labels.to(network.device)
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


def _check_labels(batch: Batch, start: int, num_classes: int) -> None:
    bad = ((batch.labels < 0) | (batch.labels >= num_classes)).nonzero().flatten()
    if len(bad):
        raise ProblemError(
            f"example {start + int(bad[0])} has the label {int(batch.labels[bad[0]])}, but the "
            f"model tells {num_classes} classes apart, 0 to {num_classes - 1}."
        )

"""A model as a function of chosen parameters: per-example gradients and curvature by torch.func."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vjp, vmap
from torch.utils._pytree import tree_leaves, tree_map

from subsetsel.errors import ProblemError
from subsetsel.influence.features.batches import Batch, OrderedData
from subsetsel.influence.features.running import (
    check_repeats,
    eager,
    is_half,
    named_errors,
    require_separate,
)

# Memory limit for the per-example Jacobians or gradients of one vectorized call.
CHUNK_BYTES = 128 * 2**20
# The Gauss-Newton matrix multiplies this many columns at a time: each needs the activations.
_COLUMNS = 8


def choose_parameters(model: nn.Module, wanted: str | Iterable[str]) -> tuple[str, ...]:
    """Find parameters by their names or by the names of the modules that own them.

    Names are those of ``model.named_parameters()`` and ``model.named_modules()``; a module stands
    for all its parameters, ``""`` for the whole model. Each is returned once, in the model's order.
    An unknown name is a ProblemError, as is none at all.
    """
    known = [name for name, _ in model.named_parameters()]
    modules = {name for name, _ in model.named_modules()}
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    chosen: set[str] = set()
    for name in names:
        prefix = f"{name}." if name else ""
        found = [own for own in known if own == name or own.startswith(prefix)]
        if not found or not (name in known or name in modules):
            near = difflib.get_close_matches(name, [*known, *modules], n=3, cutoff=0.3)
            raise ProblemError(
                f"parameters names {name!r}, which is no parameter of this model and no module "
                f"that owns one; the nearest names are: {', '.join(near) or 'none'}."
            )
        chosen.update(found)
    if not chosen:
        raise ProblemError("parameters must name at least one parameter or module of the model.")
    return tuple(name for name in known if name in chosen)


@dataclass(frozen=True, eq=False)
class Network:
    """The examples' cross-entropy as a function of some of a model's parameters.

    The model must be in eval mode, on the device, while this is used.

    Attributes
    ----------
    model : torch.nn.Module
    data : OrderedData
    names : tuple of str
        The parameters that move, in the order of the flat vector.
    device : torch.device
        Where the model runs.
    """

    model: nn.Module
    data: OrderedData
    names: tuple[str, ...]
    device: torch.device

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters that move, detached."""
        known = dict(self.model.named_parameters())
        return {name: known[name].detach() for name in self.names}

    @property
    def theta(self) -> Tensor:
        """The same as one vector in float64."""
        return torch.cat([value.double().reshape(-1) for value in self.parameters.values()])

    def batches(self, indices: Sequence[int] | None = None) -> Iterator[Batch]:
        """Read all examples, or chosen ones, ready for the model."""
        raw = self.data.batches() if indices is None else self.data.take(indices)
        for one in raw:
            yield self.data.split(one, self.device)

    def logits(self, parameters: dict[str, Tensor], args: Any, kwargs: Any) -> Tensor:
        """Run the model: one row of logits per example, shape (b, C), or a ProblemError."""
        # Parameters that do not move are constants: nothing needs their gradient.
        fixed = {
            name: value.detach()
            for name, value in self.model.named_parameters()
            if name not in parameters
        }
        with eager():
            out = functional_call(self.model, fixed | parameters, args, kwargs)
        found = getattr(out, "logits", out)
        if isinstance(found, dict) and "logits" in found:
            found = found["logits"]
        if isinstance(found, Tensor) and found.dim() < 2:
            found = found.reshape(-1, 1)
        if not isinstance(found, Tensor) or found.dim() != 2:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ProblemError(
                "the model must return logits of shape (examples, classes), or one logit per "
                f"example, or an object with such .logits; it returned {shape}."
            )
        # The sigmoid of one logit is the softmax of zero and that logit.
        return torch.cat([torch.zeros_like(found), found], 1) if found.shape[1] == 1 else found

    def check(self) -> None:
        """Refuse a model whose examples cannot be told apart, or that returns no logits.

        Raises
        ------
        ProblemError
            If two passes differ, if what an example gives depends on the others in its batch, or
            if the model returns probabilities.

        Warns
        -----
        RuntimeWarning
            If it depends on how a batch is padded.
        """

        def run(batch: Batch) -> Tensor:
            with torch.no_grad(), named_errors(self.model, batch):
                return self.logits(self.parameters, batch.args, batch.kwargs)

        first = self.data.split(self.data.first_batch(), self.device)
        logits = run(first)
        _require_logits(logits)
        is_rough = is_half(self.model)
        require_separate(run, first, logits, is_rough=is_rough)
        check_repeats(run, self.data, first, self.device, "the model's logits", is_rough=is_rough)

    def gradients(self, batch: Batch) -> Tensor:
        """Gradient of each example's cross-entropy, shape (b, d), float64."""

        def loss(parameters: dict[str, Tensor], args: Any, kwargs: Any, label: Tensor) -> Tensor:
            logits = self.logits(parameters, *as_batch(args, kwargs))
            return nn.functional.cross_entropy(logits, label[None])

        return self._map(grad(loss), batch, width=1)

    def curvature_factors(self, batch: Batch) -> Tensor:
        """M_i with M_i^T M_i = J_i^T (diag p_i - p_i p_i^T) J_i, shape (b, C, d), float64.

        J_i is the Jacobian of the logits.
        """

        def outputs(parameters: dict[str, Tensor], args: Any, kwargs: Any, _: Tensor) -> Tensor:
            logits = self.logits(parameters, *as_batch(args, kwargs))[0]
            p = torch.softmax(logits, dim=0).detach()
            # (diag p - p p^T) = B B^T with B = (I - p 1^T) diag(sqrt p).
            return p.sqrt() * (logits - (p * logits).sum())

        return self._map(jacrev(outputs), batch, width=self.num_classes(batch))

    def hessians(self, batch: Batch) -> Tensor:
        """Sum of the examples' Hessians, shape (d, d), float64."""

        def loss(flat: Tensor) -> Tensor:
            logits = self.logits(self._unflatten(flat), batch.args, batch.kwargs)
            labels = batch.labels.to(logits.device)
            return nn.functional.cross_entropy(logits, labels, reduction="sum")

        flat = torch.cat([value.reshape(-1) for value in self.parameters.values()])
        chunk = max(1, CHUNK_BYTES // (8 * len(flat)))
        found: Tensor = jacrev(grad(loss), chunk_size=chunk)(flat)
        return found.double()

    def multiply(self, batch: Batch, columns: Tensor) -> Tensor:
        """Sum of the examples' Gauss-Newton matrices times float64 columns, shape (d, k).

        Those matrices are never built.
        """

        def run(moved: dict[str, Tensor]) -> Tensor:
            return self.logits(moved, batch.args, batch.kwargs)

        forward: Any = vjp(run, self.parameters)
        logits, pull = forward
        # J^T u is linear in u, and the transpose of that map is J: no forward mode is needed.
        backward: Any = vjp(lambda u: pull(u)[0], torch.zeros_like(logits))
        push = backward[1]
        p = torch.softmax(logits, dim=1)

        def one(column: Tensor) -> Tensor:
            moved = push(self._unflatten(column))[0]
            curved = p * (moved - (p * moved).sum(dim=1, keepdim=True))
            return _flatten(pull(curved)[0])

        found: Tensor = vmap(one, chunk_size=_COLUMNS)(columns.T)
        return found.T.double()

    def gradient_sums(self, batch: Batch, weights: Tensor) -> Tensor:
        """Weighted sums of the examples' gradients for weights (k, b): (k, d), float64."""

        def run(moved: dict[str, Tensor]) -> Tensor:
            logits = self.logits(moved, batch.args, batch.kwargs)
            labels = batch.labels.to(logits.device)
            return nn.functional.cross_entropy(logits, labels, reduction="none")

        forward: Any = vjp(run, self.parameters)
        losses, pull = forward
        rows = weights.to(losses.device, losses.dtype)
        return torch.stack([_flatten(pull(row)[0]) for row in rows]).double()

    def num_classes(self, batch: Batch) -> int:
        """Width of the model's logits."""
        with torch.no_grad():
            args, kwargs = tree_map(_first, (batch.args, batch.kwargs))
            return self.logits(self.parameters, args, kwargs).shape[1]

    def _map(self, function: Any, batch: Batch, *, width: int) -> Tensor:
        """Vectorize over examples, in chunks that bound the memory."""
        for leaf in tree_leaves((batch.args, batch.kwargs)):
            if not isinstance(leaf, Tensor) or len(leaf) != len(batch.labels):
                raise ProblemError(
                    "with parameters= a batch must be made of tensors with one row per example; "
                    f"it holds a {type(leaf).__name__}."
                )
        itemsize = 8 * width * sum(value.numel() for value in self.parameters.values())
        each = vmap(
            function,
            in_dims=(None, 0, 0, 0),
            chunk_size=max(1, CHUNK_BYTES // itemsize),
        )
        found = each(self.parameters, batch.args, batch.kwargs, batch.labels.to(self.device))
        lead = (len(batch.labels), width) if width > 1 else (len(batch.labels),)
        return torch.cat([found[name].reshape(*lead, -1) for name in self.names], dim=-1).double()

    def _unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        out, start = {}, 0
        for name, value in self.parameters.items():
            piece = flat[start : start + value.numel()]
            out[name] = piece.reshape(value.shape).to(value.device, value.dtype)
            start += value.numel()
        return out


def _require_logits(logits: Tensor) -> None:
    """Refuse probabilities: cross-entropy would take their softmax once more."""
    wide = logits.double()
    if bool((wide >= 0).all()) and bool(((wide.sum(dim=1) - 1).abs() < 1e-3).all()):
        raise ProblemError(
            "the model returns probabilities (each row of its output sums to 1), and with "
            "parameters= it must return logits; give it without its last softmax, model[:-1] of a "
            "torch.nn.Sequential."
        )


def as_batch(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Make a batch of one example."""
    unsqueezed = tree_map(lambda leaf: leaf.unsqueeze(0), (args, kwargs))
    return unsqueezed[0], unsqueezed[1]


def _first(leaf: Any) -> Any:
    return leaf[:1] if isinstance(leaf, Tensor) else leaf


def _flatten(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in values.values()])

"""The features of a model: what its classifier is given, caught by a hook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subsetsel.errors import ProblemError
from subsetsel.influence.features.batches import Batch

Pooling = Literal["first", "last", "mean"]


@dataclass(frozen=True, eq=False)
class ModelFeatures:
    """What a model makes of a data set, as its classifier sees it.

    Attributes
    ----------
    X : ndarray of shape (n, h)
        float32, or float64 for a float64 model; a memory map where a cache folder was given.
    y : ndarray of shape (n,), int64
    num_classes : int
        Width of the model's classifier, at least 2.
    theta : ndarray of shape (C, h + 1) or None
        The model's own classifier, bias last; None for a single logit.
    classifier : str
        Name of the layer.
    """

    X: NDArray[Any]
    y: NDArray[np.int64]
    num_classes: int
    theta: NDArray[np.float64] | None
    classifier: str


def find_classifier(model: nn.Module, batch: Batch, name: str | None = None) -> str:
    """Find the layer that turns features into logits, by a forward pass over one batch.

    Without a name, as in ``model.named_modules()``, it is the last `torch.nn.Linear` that the pass
    calls. The model must be in eval mode.

    Raises
    ------
    ProblemError
        If there is no such layer, it is not linear, or the forward pass does not reach it.
    """
    linear = {key: module for key, module in model.named_modules() if isinstance(module, nn.Linear)}
    if name is not None and name not in linear:
        known = dict(model.named_modules())
        what = f"is a {type(known[name]).__name__}" if name in known else "does not exist"
        choices = ", ".join(list(linear)[-5:]) or "none"
        raise ProblemError(
            f"classifier = {name!r} {what} in this model; it must be a torch.nn.Linear. The last "
            f"ones are: {choices}."
        )
    called: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, key=key: called.append(key))
        for key, module in linear.items()
    ]
    try:
        with torch.no_grad():
            model(*batch.args, **batch.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    if not called:
        raise ProblemError(
            "the model calls no torch.nn.Linear, so it has no linear classifier whose examples "
            "could be pruned; compute features yourself and use Problem.from_features."
        )
    if name is not None and name not in called:
        raise ProblemError(f"classifier = {name!r} is never called in a forward pass.")
    return name or called[-1]


@dataclass(eq=False)
class Capture:
    """Catches the input of one layer while the model runs.

    Attributes
    ----------
    model : torch.nn.Module
    classifier : str
        Name of the layer.
    pooling : {"first", "last", "mean"} or None
        Which position of a sequence speaks for it.
    precision : torch.dtype or None
        Automatic mixed precision for the forward pass.
    """

    model: nn.Module
    classifier: str
    pooling: Pooling | None = None
    precision: torch.dtype | None = None
    _caught: list[torch.Tensor] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if self.pooling is not None and self.pooling not in get_args(Pooling):
            raise ProblemError(
                f"pooling must be one of {', '.join(get_args(Pooling))}, got {self.pooling!r}."
            )

    @property
    def layer(self) -> nn.Linear:
        """The classifier itself."""
        layer = self.model.get_submodule(self.classifier)
        assert isinstance(layer, nn.Linear)
        return layer

    @property
    def num_classes(self) -> int:
        """Width of the classifier; a single logit tells two classes apart."""
        return max(2, self.layer.out_features)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Attach the hook to the layer, and remove it whatever happens."""
        handle = self.layer.register_forward_pre_hook(
            lambda _, inputs: self._caught.append(inputs[0].detach())
        )
        try:
            yield
        finally:
            handle.remove()
            self._caught.clear()

    def features(self, batch: Batch, device: torch.device) -> torch.Tensor:
        """Run the model once and return what its classifier was given, as `take` does."""
        self._caught.clear()
        with (
            torch.no_grad(),
            torch.autocast(device.type, dtype=self.precision, enabled=self.precision is not None),
        ):
            self.model(*batch.args, **batch.kwargs)
        return self.take(batch)

    def take(self, batch: Batch) -> torch.Tensor:
        """Take what the classifier was given in the one forward pass since it was last asked.

        Returns
        -------
        tensor of shape (b, h), float32 on the CPU (float64 where the model is float64)

        Raises
        ------
        ProblemError
            If the layer was not called exactly once, or its input is not one row per example.
        """
        if len(self._caught) != 1:
            raise ProblemError(
                f"the classifier {self.classifier!r} was called {len(self._caught)} times in one "
                "forward pass, not once; name another layer with classifier=."
            )
        features = self._pool(self._caught.pop(), batch.mask)
        if len(features) != len(batch.labels):
            raise ProblemError(
                f"the classifier was given {len(features)} rows for a batch of "
                f"{len(batch.labels)} labels; there must be one row per example."
            )
        wide = features if features.dtype == torch.float64 else features.float()
        return wide.cpu()

    def model_features(self, X: NDArray[Any], y: NDArray[np.int64]) -> ModelFeatures:
        """Put what was caught for a whole data set together with the model's own classifier."""
        theta = own_head(self.layer) if self.layer.out_features > 1 else None
        return ModelFeatures(X, y, self.num_classes, theta, self.classifier)

    def _pool(self, features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        if features.dim() == 2:
            return features
        if features.dim() != 3 or self.pooling is None:
            raise ProblemError(
                f"the classifier {self.classifier!r} works on inputs of shape "
                f"{tuple(features.shape)}, several positions per example; say which one speaks for "
                f"an example with pooling= one of {', '.join(get_args(Pooling))}."
            )
        if mask is None or mask.shape != features.shape[:2]:
            mask = torch.ones(features.shape[:2], device=features.device)
        if self.pooling == "mean":
            weights = mask.to(features.dtype) / mask.sum(dim=1, keepdim=True)
            return torch.einsum("bt,bth->bh", weights, features)
        positions = torch.arange(mask.shape[1], device=mask.device) * (mask != 0)
        where = positions.argmax(dim=1) if self.pooling == "last" else (mask != 0).int().argmax(1)
        return features[torch.arange(len(features), device=features.device), where]


@contextmanager
def borrowed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put a model into eval mode on a device, and give it back exactly as it was.

    It stays where it is if its parameters lie on several devices.
    """
    modes = {module: module.training for module in model.modules()}
    homes = {tensor.device for tensor in [*model.parameters(), *model.buffers()]}
    is_moved = len(homes) == 1 and homes != {device}
    try:
        if is_moved:
            model.to(device)
        model.eval()
        yield
    finally:
        if is_moved:
            model.to(next(iter(homes)))
        for module, is_training in modes.items():
            module.training = is_training


def own_head(layer: nn.Linear) -> Any:
    """Read the model's own classifier as theta, shape (C, h + 1), with the bias last."""
    weight = layer.weight.detach().double().cpu()
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach().cpu()
    return torch.cat([weight, bias.double()[:, None]], dim=1).numpy()

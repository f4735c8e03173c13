"""The features of a model: what its classifier is given, caught by a hook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subsetsel.errors import ProblemError
from subsetsel.influence.features.batches import Batch
from subsetsel.influence.features.classifier import choose_classifier, input_of, watch
from subsetsel.influence.features.layers import Pooling, check_pooling, own_head, pool, positions
from subsetsel.influence.features.running import attention_mask, eager, run_model

__all__ = ["Capture", "ModelFeatures", "Pooling", "borrowed", "find_classifier"]


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


def find_classifier(
    model: nn.Module, batch: Batch, name: str | None = None, pooling: Pooling | None = None
) -> str:
    """Find the layer that turns features into the model's logits, by running it on one batch.

    A layer fits if its weights and what it was given yield what the model returns: the logits
    themselves, or their softmax or log-softmax; after pooling, where it works on several
    positions. An adapter counts with its base layer as one layer. The model must be in eval mode.

    Parameters
    ----------
    model : torch.nn.Module
    batch : Batch
    name : str, optional
        As in ``model.named_modules()``; it is refused if another layer fits and this one does not.
    pooling : {"first", "last", "mean"}, optional
        Which position speaks for an example; any of them by default.

    Returns
    -------
    str

    Raises
    ------
    ProblemError
        If no layer fits or several do, or the one named is not linear or never called; the message
        names the layers that there are.

    Warns
    -----
    FormulationWarning
        If the layer named does not give what the model returns, and no other does.
    """
    check_pooling(pooling)
    return choose_classifier(model, watch(model, batch), name, pooling)


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
    _like: torch.Tensor = field(default_factory=lambda: torch.empty(0), repr=False)

    def __post_init__(self) -> None:
        check_pooling(self.pooling)

    @property
    def layer(self) -> nn.Module:
        """The classifier itself."""
        return self.model.get_submodule(self.classifier)

    @property
    def num_classes(self) -> int:
        """Width of the classifier, which was called before; a single logit tells two apart."""
        num_features = positions(self.layer, self._like).shape[-1]
        return max(2, len(self.own_head(num_features)))

    def own_head(self, num_features: int) -> torch.Tensor:
        """Read the classifier as theta, shape (C, h + 1), float64; it was called before."""
        return own_head(self.layer, num_features, self._like)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Attach the hook to the layer, and remove it whatever happens."""
        handle = self.layer.register_forward_pre_hook(
            lambda _, args, kwargs: self._caught.append(input_of(args, kwargs).detach()),
            with_kwargs=True,
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
            run_model(self.model, batch)
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
                "forward pass, not once. Call it once in forward, or compute features yourself and "
                "use Problem.from_features."
            )
        caught = self._caught.pop()
        self._like = caught[:1]
        features = positions(self.layer, caught)
        if features.dim() == 3:
            features = self._pool(features, batch)
        if len(features) != len(batch.labels):
            raise ProblemError(
                f"the classifier was given {len(features)} rows for a batch of "
                f"{len(batch.labels)} labels; there must be one row per example."
            )
        wide = features if features.dtype == torch.float64 else features.float()
        return wide.cpu()

    def model_features(self, X: NDArray[Any], y: NDArray[np.int64]) -> ModelFeatures:
        """Put what was caught for a whole data set together with the model's own classifier."""
        theta = self.own_head(X.shape[1]).numpy()
        return ModelFeatures(
            X, y, max(2, len(theta)), theta if len(theta) > 1 else None, self.classifier
        )

    def _pool(self, features: torch.Tensor, batch: Batch) -> torch.Tensor:
        if self.pooling is None:
            raise ProblemError(
                f"the classifier {self.classifier!r} works on {features.shape[1]} positions per "
                "example; say which one speaks for an example with pooling= one of "
                f"{', '.join(get_args(Pooling))}."
            )
        return pool(features, self.pooling, attention_mask(self.model, batch))


@contextmanager
def borrowed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put a model into eval mode on a device, and give it back exactly as it was.

    It stays where it is if its parameters lie on several devices. Compiled code is run as written.
    """
    modes = {module: module.training for module in model.modules()}
    homes = {tensor.device for tensor in [*model.parameters(), *model.buffers()]}
    is_moved = len(homes) == 1 and homes != {device}
    try:
        if is_moved:
            model.to(device)
        model.eval()
        with eager():
            yield
    finally:
        if is_moved:
            model.to(next(iter(homes)))
        for module, is_training in modes.items():
            module.training = is_training

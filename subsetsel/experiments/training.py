"""Training a network of pictures as the referee of `subsetsel.select_for_training`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from subsetsel.errors import ProblemError
from subsetsel.experiments.networks import Classifier
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.train import evaluate, train
from subsetsel.experiments.zoo import build_network

Build = Callable[[int], Classifier]
"""Seed -> a network with initial parameters drawn from it."""


@dataclass(frozen=True, eq=False)
class PictureTraining:
    """Trains a network anew on what is kept; a call gives the accuracy on what is held out.

    Attributes
    ----------
    pictures : Pictures
        All of them. There is no ``budget``: a composition that is right for a few steps is too easy
        for many (docs/networks.md), and the cosine of a short recipe leaves little to save.
    build : callable
        Seed -> a network with initial parameters drawn from it.
    recipe : Recipe
    """

    pictures: Pictures
    build: Build
    recipe: Recipe

    def __call__(self, kept: Any, held_out: Any, seed: int) -> float:
        """Train on ``kept``, judge on ``held_out``."""
        device = self.pictures.labels.device
        # A network of the user's may draw while it is trained, as dropout does.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            network = self.build(seed).to(device)
            torch.manual_seed(seed)
            done = train(network, self.pictures.subset(kept), self.recipe, seed=seed)
        if done.is_diverged:
            return float("nan")
        return evaluate(network, self.pictures.subset(held_out))


class OwnNetwork(Classifier):
    """A network of the user's, of which only the outputs are asked for.

    Parameters
    ----------
    network : torch.nn.Module
        Pictures (b, c, h, w) -> logits (b, C), or an object that holds them as ``logits``.
    num_classes : int
        Of more outputs, as a network for other classes has them, only the first are used.
    """

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__(network, 1, 1)
        self.classifier = nn.Identity()  # type: ignore[assignment]
        self._num_classes = num_classes

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Give the logits: there is no other layer that could be told from the rest."""
        made = self.trunk(pictures)
        logits: torch.Tensor = getattr(made, "logits", made)
        is_table = isinstance(logits, torch.Tensor) and logits.ndim == 2
        return logits[:, : self._num_classes] if is_table else logits

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits, shape (b, C)."""
        return self.features(pictures)


def own_builder(make: Callable[[], nn.Module], num_classes: int) -> Build:
    """Call ``make`` for each training, with PyTorch's generator set to the seed.

    A network that ``make`` gives twice is copied before it is trained, so that no training goes on
    from another.
    """

    def build(seed: int) -> Classifier:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return OwnNetwork(copy.deepcopy(make()), num_classes)

    return build


def builder(name: str, pictures: Pictures, num_classes: int) -> Build:
    """Build a network of `subsetsel.experiments.zoo` for these pictures, for any seed."""
    return lambda seed: build_network(name, pictures.shape, num_classes, seed)


def check_network(build: Build, pictures: Pictures, num_classes: int, what: str) -> None:
    """Refuse, before anything is trained, a network that cannot take the pictures.

    Parameters
    ----------
    build : callable
        Seed -> network.
    pictures : Pictures
    num_classes : int
    what : str
        How the network was named, such as ``--network lenet``.

    Raises
    ------
    ProblemError
        If it fails on two pictures, or does not give a number for each class.
    """
    channels, height, width = pictures.shape
    given = f"pictures of {height} x {width} with {channels} channel{'s' * (channels > 1)}"
    few = pictures.batch(slice(0, 2))
    try:
        network = build(0).to(pictures.labels.device).eval()
        with torch.no_grad():
            logits: Any = network(few)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ProblemError(
            f"{what} cannot take {given}: {error}. Scale picture files with --image-size, or name "
            "another network."
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(few):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ProblemError(
            f"{what} must give one row of numbers for each picture, shape ({len(few)}, C); it gave "
            f"{shape}."
        )
    if logits.shape[1] < num_classes:
        raise ProblemError(
            f"{what} gives {logits.shape[1]} numbers for each picture, and there are {num_classes} "
            f"classes; give its last layer {num_classes} outputs."
        )
    if not any(one.requires_grad for one in network.parameters()):
        raise ProblemError(f"{what} has no parameters that can be trained; let some require grad.")

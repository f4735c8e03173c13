"""The small networks: LeNet, a strided one that CPUs like, and the paper's 720 ConvNets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from subsetsel.errors import OptionError

DEPTHS = (1, 2, 3, 4)
WIDTHS = (32, 64, 128, 256)
NORMS = ("none", "batch", "layer", "instance", "group")
ACTIVATIONS = ("relu", "leaky", "sigmoid")
POOLINGS = ("max", "avg", "none")

_SHUFFLE_SEED = 0

_ACTIVATION_LAYERS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
}

Shape = tuple[int, int, int]
"""(channels, height, width) of a picture."""


class Classifier(nn.Module):
    """A trunk that makes features and a linear layer that tells classes apart.

    Parameters
    ----------
    trunk : torch.nn.Module
        Pictures (b, c, h, w) -> features (b, f).
    num_features : int
    num_classes : int
    """

    def __init__(self, trunk: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.classifier = nn.Linear(num_features, num_classes)

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Make what the last layer is given, shape (b, f)."""
        made: torch.Tensor = self.trunk(pictures)
        return made

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits, shape (b, C)."""
        logits: torch.Tensor = self.classifier(self.trunk(pictures))
        return logits


def lenet(shape: Shape, num_classes: int) -> Classifier:
    """LeNet-5 with ReLU and maximum pooling; grey pictures are padded by 2, as is usual.

    The maximum is taken before the ReLU: the same function at a quarter of its cost.

    For ten classes it has 61,706 parameters on 28 x 28 grey pictures, 62,006 on 32 x 32 in colour.
    """
    channels, height, width = shape
    padding = 2 if channels == 1 else 0

    def shrink(size: int) -> int:
        return ((size + 2 * padding - 4) // 2 - 4) // 2

    trunk = nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=padding),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(6, 16, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * shrink(height) * shrink(width), 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
    )
    return Classifier(trunk, 84, num_classes)


def strided(shape: Shape, num_classes: int) -> Classifier:
    """Two strided convolutions and a layer of 64: a scorer that a CPU trains in seconds."""
    channels, height, width = shape
    cells = -(-height // 4) * -(-width // 4)
    trunk = nn.Sequential(
        nn.Conv2d(channels, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * cells, 64),
        nn.ReLU(),
    )
    return Classifier(trunk, 64, num_classes)


@dataclass(frozen=True)
class ConvNetSpec:
    """One network of the search space of Section 6.5.

    Attributes
    ----------
    width, depth : int
        Channels of every convolution, and how many there are.
    norm, activation, pooling : str
        One of `NORMS`, `ACTIVATIONS`, `POOLINGS`.
    """

    width: int
    depth: int
    norm: str
    activation: str
    pooling: str

    @property
    def name(self) -> str:
        """Stable name, such as ``convnet-w32-d3-batch-relu-max``."""
        return f"convnet-w{self.width}-d{self.depth}-{self.norm}-{self.activation}-{self.pooling}"

    def build(self, shape: Shape, num_classes: int) -> Classifier:
        """Make the network: depth times convolution 3 x 3, norm, activation, pooling 2 x 2."""
        channels, height, width = shape
        layers: list[nn.Module] = []
        for _ in range(self.depth):
            layers.append(nn.Conv2d(channels, self.width, 3, padding=1))
            layers.extend(_norm_layer(self.norm, self.width, height, width))
            layers.append(_ACTIVATION_LAYERS[self.activation]())
            channels = self.width
            if self.pooling != "none":
                layers.append(nn.MaxPool2d(2) if self.pooling == "max" else nn.AvgPool2d(2))
                height, width = height // 2, width // 2
        trunk = nn.Sequential(*layers, nn.Flatten())
        return Classifier(trunk, self.width * height * width, num_classes)


def _norm_layer(norm: str, channels: int, height: int, width: int) -> list[nn.Module]:
    if norm == "none":
        return []
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if norm == "layer":
        return [nn.LayerNorm([channels, height, width])]
    # One group per channel is instance normalization, and bears a single pixel.
    return [nn.GroupNorm(channels if norm == "instance" else 4, channels)]


def search_space() -> list[ConvNetSpec]:
    """List all 720 networks, narrow ones first, then shallow ones."""
    grid = itertools.product(WIDTHS, DEPTHS, NORMS, ACTIVATIONS, POOLINGS)
    return [ConvNetSpec(*choice) for choice in grid]


def first_networks(num: int) -> tuple[str, ...]:
    """Name the first networks of the search space, narrow ones first, shuffled within a width.

    Those with pooling come before those without, whose cost is many times as large. The shuffle
    is always the same, and makes any first few a mixture of depths, norms and activations.

    Raises
    ------
    OptionError
        If there are not so many.
    """
    space = search_space()
    if not 0 < num <= len(space):
        raise OptionError(f"there are {len(space)} networks, {num} were asked for.")
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(space))
    ranked = sorted(order, key=lambda i: (space[i].width, space[i].pooling == "none"))
    return tuple(space[i].name for i in ranked[:num])

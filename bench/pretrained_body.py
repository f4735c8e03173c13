"""Pre-trained networks without their last layer: which part is trained, and on what it looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, Literal, get_args

import numpy as np
import torch
from data import DataMissingError
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Depth = Literal["frozen body", "last block", "all layers"]
FROZEN, LAST, ALL = get_args(Depth)


class Part(torch.nn.Module, ABC):
    """What is trained of a body. It is given numbers of examples and reads what lies below it."""

    @abstractmethod
    def forward(self, numbers: Indices) -> torch.Tensor:
        """Give the features of some examples, shape (examples, features), about 1 in size."""


class Body(ABC):
    """A pre-trained network over a fixed list of examples.

    Attributes
    ----------
    features : ndarray of shape (n, h)
        What the pre-trained network says of every example.
    """

    features: NDArray[Any]

    @abstractmethod
    def part(self, depth: Depth) -> Part:
        """Copy what is trained, with its pre-trained parameters."""


def packages(purpose: str, cure: str, *names: str) -> list[Any]:
    """Import packages that the benchmarks alone use.

    Parameters
    ----------
    purpose : str
        What needs them, in the plural.
    cure : str
        The command that installs them.
    *names : str
        Modules.

    Raises
    ------
    DataMissingError
        Naming all that cannot be imported, and the cure.
    """
    found, missing = [], []
    for name in names:
        try:
            found.append(import_module(name))
        except ImportError as error:
            missing.append(f"{name} ({error})")
    if missing:
        raise DataMissingError(f"{purpose} need {' and '.join(missing)}; {cure}")
    return found

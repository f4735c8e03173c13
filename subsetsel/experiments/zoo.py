"""Networks by name, initialized from a seed of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch

from subsetsel.errors import OptionError
from subsetsel.experiments.networks import Classifier, Shape, lenet, search_space, strided
from subsetsel.experiments.residual import resnet18, resnet50, senet

Builder = Callable[[Shape, int], Classifier]

_SMALL_CONVNET = "convnet-w32-d3-batch-relu-max"

BUILDERS: dict[str, Builder] = {
    "lenet": lenet,
    "strided": strided,
    "convnet": next(spec.build for spec in search_space() if spec.name == _SMALL_CONVNET),
    "senet": senet,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
"""The names beside those of the 720 ConvNets; ``convnet`` is a small one of these."""


def build_network(name: str, shape: Shape, num_classes: int, seed: int) -> Classifier:
    """Make a network with random parameters.

    Parameters
    ----------
    name : str
        A key of `BUILDERS` or the name of a `ConvNetSpec`.
    shape : tuple of int
        (channels, height, width).
    seed : int
        Of the initial parameters. The global generator is left as it was.

    Raises
    ------
    OptionError
        If no network has that name.
    """
    build = BUILDERS.get(name) or {spec.name: spec.build for spec in search_space()}.get(name)
    if build is None:
        raise OptionError(
            f"there is no network {name!r}; choose one of {', '.join(BUILDERS)} or a ConvNet such "
            f"as {_SMALL_CONVNET}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(shape, num_classes)

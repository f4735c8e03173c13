"""Networks by name, initialized from a seed of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch

from subsetsel.errors import OptionError
from subsetsel.experiments.networks import Classifier, Shape, lenet, parse_convnet, strided
from subsetsel.experiments.residual import resnet18, resnet50, senet

Builder = Callable[[Shape, int], Classifier]

BUILDERS: dict[str, Builder] = {
    "lenet": lenet,
    "strided": strided,
    "convnet": lambda shape, classes: _convnet("convnet-w32-d3-batch-relu-max")(shape, classes),
    "senet": senet,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
"""The names beside those of the 720 ConvNets; ``convnet`` is the small one of these."""


def _convnet(name: str) -> Builder:
    spec = parse_convnet(name)
    if spec is None:
        raise OptionError(
            f"there is no network {name!r}; choose one of {', '.join(BUILDERS)} or a ConvNet such "
            "as convnet-w32-d3-batch-relu-max."
        )
    return spec.build


def build_network(name: str, shape: Shape, num_classes: int, seed: int) -> Classifier:
    """Make a network with random parameters.

    Parameters
    ----------
    name : str
        A key of `BUILDERS` or the name of a `ConvNetSpec`.
    shape : tuple of int
        (channels, height, width).
    num_classes : int
    seed : int
        Of the initial parameters. The global generator is left as it was.

    Returns
    -------
    Classifier

    Raises
    ------
    OptionError
        If no network has that name.
    """
    build = BUILDERS.get(name) or _convnet(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(shape, num_classes)


def count_parameters(network: torch.nn.Module) -> int:
    """Count parameters.

    Returns
    -------
    int
    """
    return sum(parameter.numel() for parameter in network.parameters())

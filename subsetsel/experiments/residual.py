"""Residual networks for small pictures: ResNet-18, ResNet-50 and a squeeze-and-excitation one.

torchvision has the first two, but it does not load beside the pinned CPU build of torch
(``torchvision::nms does not exist``), and its stem is for large pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from subsetsel.experiments.networks import Classifier, Shape


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class _Block(nn.Module):
    """A branch of convolutions added to a shortcut."""

    def __init__(self, branch: nn.Module, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        is_same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity() if is_same else nn.Sequential(*_conv(inputs, outputs, 1, stride))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.branch(x) + self.shortcut(x))


class _Excitation(nn.Module):
    """Scale channels by what a small network makes of their means (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        return x * scale[:, :, None, None]


def _basic(inputs: int, width: int, stride: int, *more: nn.Module) -> tuple[nn.Module, int]:
    layers = [*_conv(inputs, width, 3, stride), nn.ReLU(), *_conv(width, width, 3), *more]
    return _Block(nn.Sequential(*layers), inputs, width, stride), width


def _excited(inputs: int, width: int, stride: int) -> tuple[nn.Module, int]:
    return _basic(inputs, width, stride, _Excitation(width, reduction=4))


def _bottleneck(inputs: int, width: int, stride: int) -> tuple[nn.Module, int]:
    outputs = 4 * width
    branch = nn.Sequential(
        *_conv(inputs, width, 1),
        nn.ReLU(),
        *_conv(width, width, 3, stride),
        nn.ReLU(),
        *_conv(width, outputs, 1),
    )
    return _Block(branch, inputs, outputs, stride), outputs


def _residual(
    make: Callable[[int, int, int], tuple[nn.Module, int]],
    num_blocks: tuple[int, ...],
    widths: tuple[int, ...],
    shape: Shape,
    classes: int,
) -> Classifier:
    # Pictures of 64 x 64 and more are halved in the stem too, so that they cost what 32 x 32 do.
    channels = widths[0]
    stride = 2 if min(shape[1:]) >= 64 else 1
    layers = [*_conv(shape[0], channels, 3, stride), nn.ReLU()]
    for stage, (count, width) in enumerate(zip(num_blocks, widths, strict=True)):
        for position in range(count):
            block, channels = make(channels, width, 2 if stage and not position else 1)
            layers.append(block)
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(trunk, channels, classes)


def resnet18(shape: Shape, num_classes: int) -> Classifier:
    """ResNet-18 with a 3 x 3 stem and no pooling after it: 11,173,962 parameters for CIFAR-10."""
    return _residual(_basic, (2, 2, 2, 2), (64, 128, 256, 512), shape, num_classes)


def resnet50(shape: Shape, num_classes: int) -> Classifier:
    """ResNet-50 with a 3 x 3 stem and no pooling after it: 23,520,842 parameters for CIFAR-10."""
    return _residual(_bottleneck, (3, 4, 6, 3), (64, 128, 256, 512), shape, num_classes)


def senet(shape: Shape, num_classes: int) -> Classifier:
    """Residual network with squeeze and excitation, of the size of the paper's SENet (1.25 M).

    The paper names no layers; widths and blocks here are chosen for the number of parameters.
    """
    return _residual(_excited, (6, 4, 3), (32, 64, 128), shape, num_classes)

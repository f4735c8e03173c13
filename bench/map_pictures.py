"""Where joint influence serves a network of ImageNet: EfficientNet-lite0 on CIFAR-10."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from asked_head import HeadSettings, Task
from data import find_folder
from map_pretrained import DEPTHS, Costs, Pretrained, study_settings
from map_study import Asked
from map_validity import METHODS
from picture_body import SIDE, PictureBody, picture_packages
from pretrained_body import ALL, FROZEN, LAST, Depth
from tune import Way

from subsetsel.experiments.images import load_cifar10
from subsetsel.experiments.runs import RunLog

_OPEN, _RESERVED = 20_000, 4000


class PretrainedPictures(Pretrained):
    """EfficientNet-lite0: the ten classes of CIFAR-10."""

    name = "pictures"
    title = "Where joint influence serves a network of ImageNet: EfficientNet-lite0 on CIFAR-10"
    ways: ClassVar[Mapping[Depth, Way]] = {
        LAST: Way(1e-3, 1e-3, 3, 60, 300),
        ALL: Way(1e-4, 1e-3, 2, 40, 125),
    }
    head: ClassVar[HeadSettings] = HeadSettings(1e-3, 128, 2000, 20.0)
    # Processor seconds at AVX-512, where the product of `slowness` ran at 106 GFLOP/s.
    spent: ClassVar[Costs] = Costs(
        product=0.0202,
        states=190.0,
        head=6.0,
        refit=0.15,
        joint=1.4,
        herding=0.1,
        linearised=8.0,
        seen={LAST: 0.00098, ALL: 0.016},
        read={LAST: 0.0003, ALL: 0.0038},
    )
    settings: ClassVar[dict[str, Any]] = {
        **study_settings(ways, head),
        "side": SIDE,
        "open": _OPEN,
        "reserved": _RESERVED,
    }
    about = (
        f"EfficientNet-lite0 with the weights of ImageNet sees pictures of CIFAR-10 at {SIDE} x "
        f"{SIDE}. A seed draws 10,000 of 20,000 pictures to choose from and 1,000 to test on, out "
        "of 4,000 that nothing else sees. All methods ask the same theta-hat: the softmax head on "
        "the first 128 principal components of the pre-trained features of the 10,000, exactly "
        "fitted (l2 = 1e-3), which also gives EL2N. "
        + DEPTHS
        + " Last block: with the convolution above it, the others are run once; rate 1e-3 (head "
        "too), three passes over what is kept, 60 to 300 steps of 16. All layers: 1e-4 and 1e-3 "
        "(head), two passes, 40 to 125 steps."
    )
    asked = Asked(
        cases=(FROZEN, LAST, ALL),
        methods=METHODS,
        num_kept=(50, 200, 500, 2000),
        seeds=tuple(range(5)),
    )

    def __init__(self, log: RunLog, data_dir: Path | None, cache_dir: Path) -> None:
        super().__init__(log, data_dir, cache_dir)
        picture_packages()
        images = load_cifar10(find_folder("cifar-10-batches-bin", data_dir))
        # The files may be sorted by class.
        rng = np.random.default_rng(0)
        train, test = (
            np.sort(rng.choice(len(labels), num, replace=False))
            for labels, num in ((images.train_labels, _OPEN), (images.test_labels, _RESERVED))
        )
        self._pictures = np.concatenate([images.train[train], images.test[test]])
        self._labels = np.concatenate([images.train_labels[train], images.test_labels[test]])

    @cached_property
    def body(self) -> PictureBody:
        """EfficientNet-lite0 over the pictures that take part."""
        return PictureBody(self._pictures, self.cache_dir)

    @cached_property
    def tasks(self) -> Mapping[str, Task]:
        """Ten classes."""
        numbers = np.arange(_OPEN + _RESERVED)
        return {"": Task(numbers[:_OPEN], numbers[_OPEN:], self._labels, 10)}

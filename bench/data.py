"""Real data sets in their official file formats, read from where a user keeps them.

Nothing is downloaded. The folders ``fashion-mnist`` and ``cifar-10-batches-bin`` are looked for in
the folder given, then in ``$SUBSETSEL_DATA``, then in ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subsetsel.experiments.images import DataMissingError, Images, load_idx
from subsetsel.experiments.images import load_cifar10 as read_cifar10

__all__ = [
    "DataMissingError",
    "Features",
    "Images",
    "find_folder",
    "load_cifar10",
    "load_fashion_mnist",
    "pca_features",
]


@dataclass(frozen=True)
class Features:
    """Feature rows of both halves of a data set, without the bias column.

    Attributes
    ----------
    train, test : ndarray of float64, shape (n, h)
    train_labels, test_labels : ndarray of int64, shape (n,)
    """

    train: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float64]
    test_labels: NDArray[np.int64]


def find_folder(name: str, data_dir: Path | None = None) -> Path:
    """Find the folder of one data set.

    Parameters
    ----------
    name : str
        ``"fashion-mnist"`` or ``"cifar-10-batches-bin"``.
    data_dir : path, optional
        Where to look first.

    Returns
    -------
    Path

    Raises
    ------
    DataMissingError
        Naming every place that was tried.
    """
    places = [] if data_dir is None else [Path(data_dir)]
    if "SUBSETSEL_DATA" in os.environ:
        places.append(Path(os.environ["SUBSETSEL_DATA"]))
    places.append(Path(__file__).resolve().parents[2] / "shared" / "data")
    for place in places:
        if (place / name).is_dir():
            return place / name
    raise DataMissingError(
        f"there is no folder {name} in {', '.join(str(place) for place in places)}; "
        "give --data-dir or set SUBSETSEL_DATA."
    )


def load_fashion_mnist(data_dir: Path | None = None) -> Images:
    """Read Fashion-MNIST from its four official IDX ``.gz`` files.

    Returns
    -------
    Images
        60,000 and 10,000 pictures of 28 x 28.

    Raises
    ------
    DataMissingError, FileFormatError
    """
    return load_idx(find_folder("fashion-mnist", data_dir))


def load_cifar10(data_dir: Path | None = None) -> Images:
    """Read CIFAR-10 from the files of its official binary version, ``.xz`` or plain.

    Returns
    -------
    Images
        50,000 and 10,000 pictures of 32 x 32 x 3.

    Raises
    ------
    DataMissingError, FileFormatError
    """
    return read_cifar10(find_folder("cifar-10-batches-bin", data_dir))


def pca_features(images: Images, num_components: int = 128) -> Features:
    """Principal components of the pixels, with one common scale.

    Pixels / 255, centred on the training mean, projected on the first principal directions of the
    training half, divided by the root mean square of the training rows' norms. The test half is
    treated with the training half's mean, directions and scale.

    Parameters
    ----------
    images : Images
    num_components : int

    Returns
    -------
    Features
    """
    train = images.train.reshape(len(images.train), -1).astype(np.float64) / 255
    test = images.test.reshape(len(images.test), -1).astype(np.float64) / 255
    mean = train.mean(axis=0)
    train -= mean
    test -= mean
    _, directions = np.linalg.eigh(train.T @ train / len(train))
    leading = directions[:, ::-1][:, :num_components]
    train, test = train @ leading, test @ leading
    scale = float(np.sqrt(np.mean(np.sum(train * train, axis=1))))
    return Features(train / scale, images.train_labels, test / scale, images.test_labels)

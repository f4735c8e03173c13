"""Real data sets in their official file formats, read from where a user keeps them.

Nothing is downloaded. The folders ``fashion-mnist`` and ``cifar-10-batches-bin`` are looked for in
the folder given, then in ``$SUBSETSEL_DATA``, then in ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import gzip
import lzma
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_IDX_UINT8 = 0x08
_CIFAR_RECORD = 1 + 3 * 32 * 32


class DataMissingError(FileNotFoundError):
    """The files of a real data set are nowhere to be found."""


class DataFormatError(ValueError):
    """A file is there but is not what its name says."""


@dataclass(frozen=True)
class Images:
    """A labelled image data set with its official split.

    Attributes
    ----------
    train, test : ndarray of uint8
        Shape (n, 28, 28) or (n, 32, 32, 3).
    train_labels, test_labels : ndarray of int64, shape (n,)
    """

    train: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


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
    DataMissingError, DataFormatError
    """
    folder = find_folder("fashion-mnist", data_dir)
    return Images(
        read_idx(folder / "train-images-idx3-ubyte.gz"),
        read_idx(folder / "train-labels-idx1-ubyte.gz").astype(np.int64),
        read_idx(folder / "t10k-images-idx3-ubyte.gz"),
        read_idx(folder / "t10k-labels-idx1-ubyte.gz").astype(np.int64),
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, gzip-compressed or not.

    Returns
    -------
    ndarray of uint8
        Of the shape the file's header states.

    Raises
    ------
    DataFormatError
        If the magic number or the length is wrong.
    """
    raw = _read(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _IDX_UINT8:
        raise DataFormatError(f"{path} does not begin like an IDX file of unsigned bytes.")
    num_axes = raw[3]
    offset = 4 + 4 * num_axes
    if len(raw) < offset:
        raise DataFormatError(f"{path} ends within its header.")
    shape = struct.unpack(f">{num_axes}I", raw[4:offset])
    if len(raw) - offset != int(np.prod(shape)):
        raise DataFormatError(f"{path} states the shape {shape} but holds {len(raw) - offset} B.")
    return np.frombuffer(raw, dtype=np.uint8, offset=offset).reshape(shape)


def load_cifar10(data_dir: Path | None = None) -> Images:
    """Read CIFAR-10 from the files of its official binary version, ``.xz`` or plain.

    Returns
    -------
    Images
        50,000 and 10,000 pictures of 32 x 32 x 3.

    Raises
    ------
    DataMissingError, DataFormatError
    """
    folder = find_folder("cifar-10-batches-bin", data_dir)
    batches = [_read_cifar(folder / f"data_batch_{number}.bin") for number in range(1, 6)]
    test, test_labels = _read_cifar(folder / "test_batch.bin")
    return Images(
        np.concatenate([images for images, _ in batches]),
        np.concatenate([labels for _, labels in batches]),
        test,
        test_labels,
    )


def _read_cifar(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read records of one label byte and three colour planes of 32 x 32."""
    packed = path.with_name(path.name + ".xz")
    raw = _read(packed if packed.exists() else path)
    if not raw or len(raw) % _CIFAR_RECORD:
        raise DataFormatError(f"{path} holds {len(raw)} B, no multiple of {_CIFAR_RECORD}.")
    records = np.frombuffer(raw, dtype=np.uint8).reshape(-1, _CIFAR_RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise DataFormatError(f"{path} has the label {labels.max()}; CIFAR-10 ends at 9.")
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _read(path: Path) -> bytes:
    if not path.exists():
        raise DataMissingError(f"{path} is missing.")
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        with openers.get(path.suffix, open)(path, "rb") as stream:
            raw: bytes = stream.read()
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataFormatError(f"{path} cannot be read: {error}.") from error
    return raw


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

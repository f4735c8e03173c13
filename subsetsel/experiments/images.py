"""Labelled pictures in their official file formats, read from the user's disk.

Nothing is downloaded and nothing is unpickled. The size that a file states is not allocated before
the file has shown that it holds as much. torchvision would read these formats, but it does not load
beside the pinned CPU build of torch (``torchvision::nms does not exist``).
"""

from __future__ import annotations

import gzip
import lzma
import math
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError, SubsetselError
from subsetsel.support.npz import read_npz

_IDX_UINT8 = 0x08
_MAX_IDX_AXES = 4
_PLANES = 3 * 32 * 32
_PIECE = 1 << 20


class DataMissingError(SubsetselError, FileNotFoundError):
    """The files of a data set are not where they should be."""


@dataclass(frozen=True)
class Images:
    """A labelled image data set with its official split.

    Attributes
    ----------
    train, test : ndarray of uint8
        Shape (n, height, width) or (n, height, width, channels).
    train_labels, test_labels : ndarray of int64, shape (n,)
    """

    train: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    @property
    def num_classes(self) -> int:
        """One more than the largest label."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1


def load_idx(folder: Path) -> Images:
    """Read the four IDX files of MNIST or Fashion-MNIST.

    Raises
    ------
    DataMissingError
        If one of them is missing.
    FileFormatError
        If one is damaged or their lengths differ.
    """
    parts: list[Any] = []
    for half in ("train", "t10k"):
        pictures = read_idx(_either(folder / f"{half}-images-idx3-ubyte", ".gz"))
        labels = read_idx(_either(folder / f"{half}-labels-idx1-ubyte", ".gz"))
        if pictures.ndim != 3 or labels.shape != pictures.shape[:1]:
            raise FileFormatError(
                f"{folder} holds {half} pictures of shape {pictures.shape} with labels of shape "
                f"{labels.shape}; they do not belong together."
            )
        parts += [pictures, labels.astype(np.int64)]
    return Images(*parts)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, gzip-compressed or not.

    Raises
    ------
    DataMissingError
        If it is not there.
    FileFormatError
        If the magic number or the length is wrong.
    """
    with _opened(path) as stream:
        head = stream.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _IDX_UINT8:
            raise FileFormatError(f"{path} does not begin like an IDX file of unsigned bytes.")
        num_axes = head[3]
        sizes = stream.read(4 * num_axes)
        if not 1 <= num_axes <= _MAX_IDX_AXES or len(sizes) < 4 * num_axes:
            raise FileFormatError(
                f"{path} ends within its header, or states {num_axes} axes; 1 to {_MAX_IDX_AXES} "
                "are read."
            )
        shape = struct.unpack(f">{num_axes}I", sizes)
        num_bytes = math.prod(shape)
        # Piece by piece, because the stated size may be a lie.
        pieces = iter(partial(stream.read, _PIECE), b"")
        raw = b"".join(islice(pieces, min(num_bytes // _PIECE + 1, sys.maxsize)))
    if len(raw) != num_bytes:
        found = "more than that" if len(raw) > num_bytes else f"{len(raw)} B"
        raise FileFormatError(f"{path} states the shape {shape} but holds {found}.")
    return np.frombuffer(raw, dtype=np.uint8).reshape(shape)


def load_cifar10(folder: Path) -> Images:
    """Read CIFAR-10 (32 x 32 x 3) from its official binary version, ``.xz`` or plain.

    Raises
    ------
    DataMissingError
        If one of the six files is missing.
    FileFormatError
        If one is damaged.
    """
    batches = [_read_cifar(folder / f"data_batch_{number}.bin", 1, 9) for number in range(1, 6)]
    return Images(
        np.concatenate([pictures for pictures, _ in batches]),
        np.concatenate([labels for _, labels in batches]),
        *_read_cifar(folder / "test_batch.bin", 1, 9),
    )


def load_cifar100(folder: Path) -> Images:
    """Read CIFAR-100 (32 x 32 x 3, fine labels) from its official binary version, as CIFAR-10.

    Raises
    ------
    DataMissingError
        If ``train.bin`` or ``test.bin`` is missing.
    FileFormatError
        If one is damaged.
    """
    return Images(
        *_read_cifar(folder / "train.bin", 2, 99), *_read_cifar(folder / "test.bin", 2, 99)
    )


def _read_cifar(
    path: Path, num_labels: int, last: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read records of label bytes, of which the last counts, and three planes of 32 x 32."""
    with _opened(_either(path, ".xz")) as stream:
        raw = stream.read()
    if not raw or len(raw) % (num_labels + _PLANES):
        raise FileFormatError(f"{path} holds {len(raw)} B, no multiple of {num_labels + _PLANES}.")
    records = np.frombuffer(raw, dtype=np.uint8).reshape(-1, num_labels + _PLANES)
    labels = records[:, num_labels - 1].astype(np.int64)
    if labels.max() > last:
        raise FileFormatError(f"{path} has the label {labels.max()}; they end at {last}.")
    planes = records[:, num_labels:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def load_arrays(path: Path) -> Images:
    """Read an ``.npz`` file with ``train``, ``train_labels``, ``test`` and ``test_labels``.

    Raises
    ------
    DataMissingError
        If it is not there.
    FileFormatError
        If it is no such file.
    """
    if not path.exists():
        raise DataMissingError(f"{path} is missing.")
    names = ("train", "train_labels", "test", "test_labels")
    try:
        arrays = read_npz(path, names)
    except (FileFormatError, OSError) as error:
        raise FileFormatError(
            f"{path} is no .npz file with {', '.join(names[:-1])} and {names[-1]}: {error}"
        ) from error
    return images_from_arrays(*arrays.values())


def images_from_arrays(train: Any, train_labels: Any, test: Any, test_labels: Any) -> Images:
    """Make a data set of arrays, checked.

    Parameters
    ----------
    train, test : array_like of uint8
        Shape (n, height, width) or (n, height, width, channels).
    train_labels, test_labels : array_like of integers, shape (n,)
        From 0 on.

    Raises
    ------
    FileFormatError
        If types, shapes or lengths are wrong.
    """
    checked: list[Any] = []
    for name, values, given in (
        ("train", train, train_labels),
        ("test", test, test_labels),
    ):
        pictures, labels = np.asarray(values), np.asarray(given)
        require_pictures(pictures, name)
        is_whole = labels.dtype.kind in "iu" and labels.shape == pictures.shape[:1]
        if not is_whole or labels.min() < 0:
            raise FileFormatError(
                f"{name}_labels must be one integer from 0 on per picture, got {labels.dtype} of "
                f"shape {labels.shape}."
            )
        checked += [pictures, labels.astype(np.int64)]
    if checked[0].shape[1:] != checked[2].shape[1:]:
        raise FileFormatError(
            f"train has pictures of {checked[0].shape[1:]}, test of {checked[2].shape[1:]}; scale "
            "all to one size first."
        )
    return Images(*checked)


def is_pictures(array: NDArray[Any]) -> bool:
    """Whether an array has the type and the axes of pictures."""
    return array.dtype == np.uint8 and array.ndim in {3, 4}


def require_pictures(array: NDArray[Any], name: str) -> None:
    """Raise a FileFormatError where an array holds no pictures."""
    if not is_pictures(array) or not len(array):
        raise FileFormatError(
            f"{name} must be pictures of unsigned bytes, (n, height, width) or with channels last; "
            f"got {array.dtype} of shape {array.shape}."
        )


def _either(path: Path, suffix: str) -> Path:
    packed = path.with_name(path.name + suffix)
    return packed if packed.exists() else path


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked on the way if its suffix says so; all its faults have one name."""
    if not path.exists():
        raise DataMissingError(f"{path} is missing.")
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        with openers.get(path.suffix, open)(path, "rb") as stream:
            yield stream
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise FileFormatError(f"{path} cannot be read: {error}.") from error

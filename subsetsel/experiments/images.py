"""Labelled pictures in their official file formats, read from where a user keeps them.

Nothing is downloaded. Sizes that a file states are checked against what it holds before anything
of that size is allocated; nothing is ever unpickled.
"""

from __future__ import annotations

import gzip
import lzma
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError, SubsetselError

_IDX_UINT8 = 0x08
_MAX_IDX_AXES = 4
_PLANES = 3 * 32 * 32


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

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a picture."""
        _, height, width, *rest = self.train.shape
        return (rest[0] if rest else 1), height, width


def load_idx(folder: Path) -> Images:
    """Read the four IDX files of MNIST or Fashion-MNIST.

    Returns
    -------
    Images

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

    Returns
    -------
    ndarray of uint8
        Of the shape the file's header states.

    Raises
    ------
    DataMissingError
        If it is not there.
    FileFormatError
        If the magic number or the length is wrong.
    """
    with _Source(path) as source:
        head = source.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _IDX_UINT8:
            raise FileFormatError(f"{path} does not begin like an IDX file of unsigned bytes.")
        num_axes = head[3]
        sizes = source.read(4 * num_axes)
        if not 1 <= num_axes <= _MAX_IDX_AXES or len(sizes) < 4 * num_axes:
            raise FileFormatError(
                f"{path} ends within its header, or states {num_axes} axes; 1 to {_MAX_IDX_AXES} "
                "are read."
            )
        shape = struct.unpack(f">{num_axes}I", sizes)
        num_bytes = math.prod(shape)
        raw = source.read(num_bytes + 1)
    if len(raw) != num_bytes:
        held = "more than that" if len(raw) > num_bytes else f"{len(raw)} B"
        raise FileFormatError(f"{path} states the shape {shape} but holds {held}.")
    return np.frombuffer(raw, dtype=np.uint8).reshape(shape)


def load_cifar10(folder: Path) -> Images:
    """Read CIFAR-10 from the files of its official binary version, ``.xz`` or plain.

    Returns
    -------
    Images
        Pictures of 32 x 32 x 3.

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
    """Read CIFAR-100 (fine labels) from its official binary version, ``.xz`` or plain.

    Returns
    -------
    Images
        Pictures of 32 x 32 x 3.

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
    with _Source(_either(path, ".xz")) as source:
        raw = source.read()
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

    Returns
    -------
    Images

    Raises
    ------
    DataMissingError
        If it is not there.
    FileFormatError
        If it is no such file.
    """
    if not path.exists():
        raise DataMissingError(f"{path} is missing.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("train", "test")}
            labels = {name: file[f"{name}_labels"] for name in ("train", "test")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise FileFormatError(
            f"{path} is no .npz file with train, train_labels, test and test_labels: {error}."
        ) from error
    return images_from_arrays(arrays["train"], labels["train"], arrays["test"], labels["test"])


def images_from_arrays(train: Any, train_labels: Any, test: Any, test_labels: Any) -> Images:
    """Make a data set of arrays, checked.

    Parameters
    ----------
    train, test : array_like of uint8
        Shape (n, height, width) or (n, height, width, channels).
    train_labels, test_labels : array_like of integers, shape (n,)
        From 0 on.

    Returns
    -------
    Images

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
        if pictures.dtype != np.uint8 or pictures.ndim not in {3, 4} or not len(pictures):
            raise FileFormatError(
                f"{name} must be pictures of unsigned bytes, (n, height, width) or with channels "
                f"last; got {pictures.dtype} of shape {pictures.shape}."
            )
        is_whole = labels.dtype.kind in "iu" and labels.shape == pictures.shape[:1]
        if not is_whole or labels.min() < 0:
            raise FileFormatError(
                f"{name}_labels must be one integer from 0 on per picture, got {labels.dtype} of "
                f"shape {labels.shape}."
            )
        checked += [pictures, labels.astype(np.int64)]
    if checked[0].shape[1:] != checked[2].shape[1:]:
        raise FileFormatError(
            f"train has pictures of {checked[0].shape[1:]}, test of {checked[2].shape[1:]}."
        )
    return Images(*checked)


def _either(path: Path, suffix: str) -> Path:
    packed = path.with_name(path.name + suffix)
    return packed if packed.exists() else path


class _Source:
    """A file, unpacked on the way if its suffix says so, whose faults have one name."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DataMissingError(f"{path} is missing.")
        self._path = path
        openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
        self._stream: IO[bytes] = openers.get(path.suffix, open)(path, "rb")

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, num_bytes: int = -1) -> bytes:
        """Read so many bytes, or as many as there are, piece by piece."""
        pieces, left = [], math.inf if num_bytes < 0 else num_bytes
        try:
            # A stated size is never allocated at once: it may be a lie.
            while left and (piece := self._stream.read(int(min(left, 1 << 20)))):
                pieces.append(piece)
                left -= len(piece)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise FileFormatError(f"{self._path} cannot be read: {error}.") from error
        return b"".join(pieces)

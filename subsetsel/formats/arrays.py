"""Files of named arrays: npy, npz and safetensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array
from subsetsel.formats.tensors import names_in_tensors, read_tensor, read_texts, texts_in_tensors
from subsetsel.support.npz import map_npy, npz_names, read_npz


class Arrays:
    """Arrays by name.

    Attributes
    ----------
    texts : sequence of str
        Those that are lists of texts beside the tensors.
    """

    index: Sequence[str] = ()

    def __init__(
        self,
        path: Path,
        kind: str,
        names: Sequence[str],
        read: Callable[[str], Array],
        texts: Sequence[str] = (),
    ) -> None:
        self.path = str(path)
        self.kind = kind
        self.names = names
        self.texts = texts
        self._read = read

    def get(self, name: str) -> Array:
        """Read one array as it lies in the file."""
        return self._read(name)

    def _numbers(self, names: Sequence[str]) -> Array:
        """Read one array as it is, or several side by side, one row per example."""
        arrays = [self._read(name) for name in names]
        for name, array in zip(names, arrays, strict=True):
            if array.dtype.kind not in "fiub":
                raise FileFormatError(
                    f"{self.path}: {self.kind} {name!r} must hold real numbers to be a feature or "
                    f"a weight, it holds {array.dtype}. Name another with --features or --weight, "
                    "or turn it into numbers first."
                )
            if not array.ndim:
                raise FileFormatError(
                    f"{self.path}: {self.kind} {name!r} holds a single number, not one row per "
                    "example. Name another with --features or --weight, or write one per example."
                )
            if array.shape[:1] != arrays[0].shape[:1]:
                raise FileFormatError(
                    f"{self.path}: {self.kind} {name!r} has shape {array.shape}, and "
                    f"{names[0]!r} has {arrays[0].shape}; each needs one row per example."
                )
        if len(arrays) == 1:
            return arrays[0]
        return np.hstack([array.reshape(len(array), -1) for array in arrays])

    def take(
        self, features: Sequence[str], label: str | None, identity: str | None
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Read features, labels and ids."""
        X = self._numbers(features) if features else None
        y, ids = (None if name is None else self._read(name) for name in (label, identity))
        return X, y, ids

    def place(self, row: int) -> str:
        """Say which example."""
        return f"example {row}"


def open_arrays(path: Path, ending: str) -> Arrays:
    """Open a file of arrays; an ``.npy`` file has one, named ``X``, which is mapped."""
    if ending == ".npy":
        return Arrays(path, "array", ["X"], lambda _: map_npy(path))
    if ending == ".npz":
        return Arrays(path, "array", npz_names(path), lambda name: read_npz(path, [name])[name])
    tensors, texts = names_in_tensors(path), texts_in_tensors(path)

    def read(name: str) -> Array:
        if name in tensors:
            return read_tensor(path, name)
        found = read_texts(path, name)
        assert found is not None
        return found

    return Arrays(path, "tensor", [*tensors, *texts], read, texts)

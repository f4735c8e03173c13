"""Features on disk: written as they come, found again after a kill, refused when they differ."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.support.files import reserve
from subsetsel.support.memory import describe
from subsetsel.support.records import write_json

_FORMAT = "subsetsel-features-1"
_MANIFEST = "manifest.json"

_CURES = {
    "model": "these features were computed with another model, or with other weights",
    "data": "these features were computed from another data set",
    "settings": "these features were computed with other settings",
}


@dataclass(frozen=True)
class Fingerprint:
    """What features depend on.

    Attributes
    ----------
    model, data : str
        SHA-256 in hexadecimal.
    settings : dict
        Batch size, precision, pooling, classifier, device type.
    """

    model: str
    data: str
    settings: dict[str, Any]


def fingerprint_model(model: nn.Module) -> str:
    """SHA-256 of a model's structure and of every weight and buffer."""
    digest = hashlib.sha256(repr(model).encode())
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            continue
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


class MemoryStore:
    """Features, shape (n, h), and labels in memory."""

    def __init__(self, shape: tuple[int, int], dtype: Any) -> None:
        self.features: NDArray[Any] = np.empty(shape, dtype=dtype)
        self.labels: NDArray[np.int64] = np.empty(shape[0], dtype=np.int64)
        self.num_done = 0

    def write(self, features: NDArray[Any], labels: NDArray[np.int64]) -> None:
        """Append rows; they count once `commit` is called."""
        rows = slice(self.num_done, self.num_done + len(labels))
        self.features[rows], self.labels[rows] = features, labels
        self.num_done = rows.stop

    def commit(self) -> None:
        """Do nothing: memory needs no flush."""


class FeatureStore(MemoryStore):
    """A folder with ``features.npy``, ``labels.npy`` and a manifest that says how far they go.

    Until the last row is there, the arrays are called ``features.npy.part`` and
    ``labels.npy.part``: their shape is that of the whole from the start, and their name must not
    let anybody take them for it.

    Parameters
    ----------
    folder : Path
    shape : tuple of int
        (n, h).
    dtype : numpy dtype
    num_done : int
        Rows that are safely on disk.
    about : dict
        What the manifest says beside ``num_done``.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, int], dtype: Any, num_done: int, about: dict[str, Any]
    ) -> None:
        self._folder, self._about = folder, about
        arrays = {"features": (shape, np.dtype(dtype)), "labels": (shape[:1], np.dtype(np.int64))}
        if not num_done:
            for name, (its_shape, its_dtype) in arrays.items():
                _reserve_array(folder / f"{name}.npy.part", its_shape, its_dtype)
        self.features: np.memmap[Any, Any] = _map_array(folder, "features", *arrays["features"])
        self.labels: np.memmap[Any, Any] = _map_array(folder, "labels", *arrays["labels"])
        self.num_done = num_done

    @classmethod
    def open(
        cls, folder: Path, fingerprint: Fingerprint, shape: tuple[int, int], dtype: Any
    ) -> Self:
        """Begin a store, or go on with one of the same fingerprint.

        The folder is made if it does not exist; lock it (`locked`) as long as rows are written.

        Raises
        ------
        ProblemError
            If the folder holds features of another model, other data or other settings.
        FileFormatError
            If its files are damaged.
        """
        about = {
            "format": _FORMAT,
            "fingerprint": vars(fingerprint),
            "shape": list(shape),
            "dtype": np.dtype(dtype).str,
        }
        manifest = folder / _MANIFEST
        if not manifest.exists():
            folder.mkdir(parents=True, exist_ok=True)
            return cls(folder, shape, dtype, 0, about)
        old, num_done = _read_manifest(manifest, about)
        for part, cure in _CURES.items():
            if old[part] != vars(fingerprint)[part]:
                detail = f": {old[part]}, not {vars(fingerprint)[part]}" * (part == "settings")
                raise ProblemError(
                    f"cache_dir {folder} does not fit: {cure}{detail}. Give another cache_dir, "
                    "or delete this one."
                )
        return cls(folder, shape, dtype, num_done, about)

    def commit(self) -> None:
        """Bring everything written so far to disk, then say so in the manifest."""
        self.features.flush()
        self.labels.flush()
        if self.num_done == len(self.labels):
            for name in ("features", "labels"):
                part = self._folder / f"{name}.npy.part"
                if part.exists():
                    part.replace(self._folder / f"{name}.npy")
        write_json(self._folder / _MANIFEST, self._about | {"num_done": self.num_done})


def _read_manifest(path: Path, about: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Read the fingerprint and the number of finished rows of a store; check every field."""
    try:
        found = json.loads(path.read_text())
        old, num_done, format_ = found["fingerprint"], found["num_done"], found["format"]
        shape, dtype = found["shape"], found["dtype"]
        has_parts = all(part in old for part in _CURES)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(
            f"{path} is no manifest of features: {error}; delete the folder."
        ) from error
    if format_ != _FORMAT:
        raise FileFormatError(
            f"{path} is of the format {format_!r}, not {_FORMAT!r}; delete the folder."
        )
    if not has_parts or not isinstance(old, dict):
        raise FileFormatError(f"{path} has no whole fingerprint; delete the folder.")
    is_same_data = all(old[part] == about["fingerprint"][part] for part in _CURES)
    if is_same_data and [shape, dtype] != [about["shape"], about["dtype"]]:
        raise FileFormatError(
            f"{path} says shape {shape} of {dtype}, expected {about['shape']} of "
            f"{about['dtype']}; delete the folder."
        )
    if type(num_done) is not int or not 0 < num_done <= max(1, about["shape"][0]):
        raise FileFormatError(
            f"{path} says that {num_done!r} rows are finished, of {about['shape'][0]}; delete the "
            "folder."
        )
    return old, num_done


def _reserve_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Make an array file with all the space it will need, so that a full disk shows here."""
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    try:
        with path.open("w+b") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            reserve(stream, stream.tell() + math.prod(shape) * dtype.itemsize)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno or 0)}: features of shape {shape} take "
            f"{describe(math.prod(shape) * dtype.itemsize)}",
            str(path),
        ) from error


def _map_array(
    folder: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.memmap[Any, Any]:
    """Map an array of a store, finished or not."""
    whole = folder / f"{name}.npy"
    path = whole if whole.exists() else folder / f"{name}.npy.part"
    try:
        # Opened for writing, a file that was cut short would be filled up with zeros by NumPy.
        np.lib.format.open_memmap(path, mode="r")
        array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="r+")
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"the features in {folder} are damaged: {error}; delete the folder."
        ) from error
    if (array.shape, array.dtype) != (shape, dtype):
        raise FileFormatError(
            f"the features in {folder} have the shape {array.shape} of {array.dtype}, expected "
            f"{shape} of {dtype}; delete the folder."
        )
    return array

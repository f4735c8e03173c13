"""Features on disk: written as they come, found again after a kill, refused when they differ."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subsetsel.errors import FileFormatError, ProblemError

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
    """Digest of a model's structure and of every weight and buffer.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256(repr(model).encode())
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            continue
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


class FeatureStore:
    """A folder with ``features.npy``, ``labels.npy`` and a manifest that says how far they go.

    Parameters
    ----------
    folder : Path
    shape : tuple of int
        (n, h).
    dtype : numpy dtype
    num_done : int
        Rows that are safely on disk.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, int], dtype: Any, num_done: int, about: dict[str, Any]
    ) -> None:
        mode = "r+" if num_done else "w+"
        self._folder, self._about = folder, about
        try:
            self.features = np.lib.format.open_memmap(
                folder / "features.npy", mode=mode, dtype=dtype, shape=shape
            )
            self.labels = np.lib.format.open_memmap(
                folder / "labels.npy", mode=mode, dtype=np.int64, shape=(shape[0],)
            )
        except (OSError, ValueError) as error:
            raise FileFormatError(
                f"the features in {folder} are damaged: {error}; delete the folder."
            ) from error
        if self.features.shape != shape or self.labels.shape != shape[:1]:
            raise FileFormatError(
                f"the features in {folder} have the shape {self.features.shape}, their manifest "
                f"says {shape}; delete the folder."
            )
        self.num_done = num_done

    @classmethod
    def open(
        cls, folder: Path, fingerprint: Fingerprint, shape: tuple[int, int], dtype: Any
    ) -> Self:
        """Begin a store, or go on with one of the same fingerprint.

        Parameters
        ----------
        folder : Path
            Made if it does not exist.
        fingerprint : Fingerprint
        shape : tuple of int
        dtype : numpy dtype

        Returns
        -------
        FeatureStore

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
        try:
            found = json.loads(manifest.read_text())
            old, num_done = found["fingerprint"], int(found["num_done"])
            same_format = found["format"] == _FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"{manifest} is no manifest of features: {error}; delete the folder."
            ) from error
        if not same_format:
            raise FileFormatError(f"{manifest} is of the format {found['format']!r}.")
        for part, cure in _CURES.items():
            if old[part] != vars(fingerprint)[part]:
                detail = f": {old[part]}, not {vars(fingerprint)[part]}" * (part == "settings")
                raise ProblemError(
                    f"cache_dir {folder} does not fit: {cure}{detail}. Give another cache_dir, "
                    "or delete this one."
                )
        if [list(found["shape"]), found["dtype"]] != [about["shape"], about["dtype"]]:
            raise FileFormatError(
                f"{manifest} says shape {found['shape']} of {found['dtype']}, expected "
                f"{about['shape']} of {about['dtype']}; delete the folder."
            )
        return cls(folder, shape, dtype, num_done, about)

    def write(self, features: NDArray[Any], labels: NDArray[np.int64]) -> None:
        """Append rows; they count once `commit` is called.

        Parameters
        ----------
        features : ndarray of shape (b, h)
        labels : ndarray of shape (b,)
        """
        rows = slice(self.num_done, self.num_done + len(labels))
        self.features[rows], self.labels[rows] = features, labels
        self.num_done = rows.stop

    def commit(self) -> None:
        """Bring everything written so far to disk, then say so in the manifest."""
        self.features.flush()
        self.labels.flush()
        part = self._folder / (_MANIFEST + ".part")
        part.write_text(json.dumps(self._about | {"num_done": self.num_done}, indent=1))
        part.replace(self._folder / _MANIFEST)


class MemoryStore:
    """The same, in memory only.

    Parameters
    ----------
    shape : tuple of int
        (n, h).
    dtype : numpy dtype
    """

    def __init__(self, shape: tuple[int, int], dtype: Any) -> None:
        self.features: NDArray[Any] = np.empty(shape, dtype=dtype)
        self.labels: NDArray[np.int64] = np.empty(shape[0], dtype=np.int64)
        self.num_done = 0

    def write(self, features: NDArray[Any], labels: NDArray[np.int64]) -> None:
        """Append rows; see `FeatureStore.write`."""
        rows = slice(self.num_done, self.num_done + len(labels))
        self.features[rows], self.labels[rows] = features, labels
        self.num_done = rows.stop

    def commit(self) -> None:
        """Nothing to be done."""

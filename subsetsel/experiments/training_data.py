"""Labelled pictures that are chosen from for a training: from files, lists, arrays or data sets."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError, OptionError, ProblemError, SubsetselError
from subsetsel.experiments.folders import import_pillow
from subsetsel.experiments.images import DataMissingError, is_pictures, require_pictures
from subsetsel.experiments.labelled import Labelled, read_labelled
from subsetsel.experiments.load import ARRAY_FILES, load_images
from subsetsel.experiments.pictures import Pictures
from subsetsel.support.ids import check_ids
from subsetsel.support.labels import to_labels
from subsetsel.support.memory import require_memory
from subsetsel.support.npz import npz_names, read_npz

_OTHER_HALVES = ("test", "val", "valid", "validation", "dev")
_CURE = "Scale the pictures down with --image-size, or take fewer of them."
_CURE_OF_TRANSFORM = "Let the transform make them smaller, or take fewer pictures."


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Labelled pictures, all of them open to the choice.

    Attributes
    ----------
    path : Path
    labels : ndarray of shape (n,)
        Names or numbers of classes.
    ids : ndarray of shape (n,) or None
        File names, or what the data set calls them.
    array : ndarray of uint8, shape (n, h, w) or (n, h, w, c), or None
        The pictures, where they came as one array.
    files : Labelled or None
        The pictures, where each is opened by itself.
    """

    path: Path
    labels: NDArray[Any]
    ids: NDArray[Any] | None = None
    array: NDArray[np.uint8] | None = None
    files: Labelled | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, row: int) -> str:
        """Say which picture, for messages."""
        return f"{self.path}: picture {row}" if self.files is None else self.files.name(row)

    def open(self, row: int) -> Any:
        """Give what a transform is given: a picture of Pillow, or a row of a data set."""
        if self.files is not None:
            return self.files.open(row)
        assert self.array is not None
        return import_pillow().fromarray(np.squeeze(self.array[row]))

    def stacked(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Put all pictures into one array, scaled to (height, width) if that is given.

        Grey pictures come out with one channel.

        Raises
        ------
        FileFormatError
            If a picture cannot be read, or they differ in size and no size is given.
        OptionError
            If pictures that came as one array are to be scaled, or are no pictures.
        OutOfMemoryError
            If they do not fit.
        """
        if self.array is not None:
            if size is not None:
                raise OptionError(
                    f"--image-size scales picture files, and {self.path} holds one array; leave it "
                    "out."
                )
            return self.array
        files = self.files
        assert files is not None
        if not files.is_pictures:
            raise OptionError(
                f"{self.path} has not one column of pictures; name the network by --model, with a "
                "function that gives network, transform, where the transform takes a row as a dict."
            )
        height, width = files.size(0)[::-1] if size is None else size
        if size is None:
            self._require_one_size(files)
        shape = (len(self), height, width, 3)
        require_memory(f"{len(self):,} pictures of {height} x {width}", 2 * math.prod(shape), _CURE)
        pictures = np.empty(shape, dtype=np.uint8)
        for row in range(len(self)):
            picture = files.open(row)
            if picture.size != (width, height):
                # As torchvision scales: bilinear, with antialiasing.
                picture = picture.resize((width, height), resample=2)
            pictures[row] = picture
        is_grey = all((pictures[..., 0] == pictures[..., c]).all() for c in (1, 2))
        return np.ascontiguousarray(pictures[..., 0]) if is_grey else pictures

    def transformed(self, transform: Callable[[Any], Any], what: str) -> torch.Tensor:
        """Give what a transform makes of each picture, float32, shape (n, c, h, w).

        The transform is called once for each: what it draws by lot stays as it is in all trainings.

        Raises
        ------
        ProblemError
            If it fails, or gives something else than a tensor of three axes, always of one shape.
        OutOfMemoryError
            If the tensors do not fit.
        """
        made = torch.empty(0)
        # What it draws by lot is drawn alike by the call that goes on.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for row in range(len(self)):
                tensor = self._tensor(row, transform, what)
                if row == 0:
                    sides = " x ".join(map(str, tensor.shape))
                    total = 4 * len(self) * tensor.numel()
                    require_memory(f"{len(self):,} tensors of {sides}", total, _CURE_OF_TRANSFORM)
                    made = torch.empty((len(self), *tensor.shape))
                elif tensor.shape != made.shape[1:]:
                    raise ProblemError(
                        f"the transform of {what} gives {tuple(made.shape[1:])} for {self.name(0)} "
                        f"and {tuple(tensor.shape)} for {self.name(row)}; let it scale all to one "
                        "size."
                    )
                made[row] = tensor
        return made.contiguous(memory_format=torch.channels_last)

    def _tensor(self, row: int, transform: Callable[[Any], Any], what: str) -> torch.Tensor:
        example = self.open(row)
        try:
            made = transform(example)
        except SubsetselError:
            raise
        except Exception as error:
            raise ProblemError(
                f"the transform of {what} failed on {self.name(row)}: {type(error).__name__}: "
                f"{error}."
            ) from error
        if not isinstance(made, torch.Tensor) or made.ndim != 3:
            shape = f" of shape {tuple(made.shape)}" if hasattr(made, "shape") else ""
            raise ProblemError(
                f"the transform of {what} must give a tensor of shape (channels, height, width); "
                f"for {self.name(row)} it gave a {type(made).__name__}{shape}."
            )
        return made

    def _require_one_size(self, files: Labelled) -> None:
        """Look at the headers alone: nothing is decoded before all sizes are known."""
        (w, h) = files.size(0)
        for row in range(1, len(self)):
            (v, g) = files.size(row)
            if (v, g) != (w, h):
                raise FileFormatError(
                    f"pictures differ in size: {self.name(0)} is {w} x {h}, {self.name(row)} is "
                    f"{v} x {g}. Say to which size they are scaled, such as --image-size {h}x{w}."
                )


def holds_pictures(path: Path, *, label: str = "y", identity: str = "id") -> bool:
    """Tell pictures from features by what a file or a folder holds.

    Raises
    ------
    DataMissingError
        If there is nothing of that name, and it is no pattern for the names of several files.
    """
    _require(path)
    if path.is_dir():
        return not any(path.glob("*.parquet"))
    suffix = path.suffix.lower()
    if suffix == ".npz":
        names = npz_names(path)
        return "train" in names or ("X" in names and is_pictures(read_npz(path, ["X"])["X"]))
    return suffix in {".csv", ".tsv"} and _is_list(path, label, identity)


def _require(path: Path) -> None:
    if not path.exists() and not glob.has_magic(str(path)):
        raise DataMissingError(f"there is no file or folder {path}; correct the name.")


def _is_list(path: Path, label: str, identity: str) -> bool:
    """Whether a table names picture files: nothing but them and labels, or files that exist."""
    import pandas as pd

    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        frame = pd.read_csv(path, sep=mark, dtype=str, nrows=1, encoding="utf-8-sig")
    except (ValueError, OSError):
        return False
    if identity not in frame.columns:
        return False
    if set(frame.columns) <= {identity, label}:
        return True
    return len(frame) > 0 and (path.parent / str(frame[identity].iloc[0])).is_file()


def read_training_data(path: Path, *, label: str = "y", identity: str = "id") -> TrainingData:
    """Find the pictures to choose from.

    Parameters
    ----------
    path : Path
        What `read_labelled` reads; a folder with such a folder ``train`` in it; a folder of MNIST's
        IDX files or of CIFAR's binary files, of which the training half is taken; or an ``.npz``
        file with the arrays ``train`` and ``train_labels``, or ``X``, ``y`` and perhaps ``ids``.
    label, identity : str
        Columns of a list or of a data set.

    Raises
    ------
    DataMissingError
        If there is nothing of that name.
    FileFormatError
        If it is none of these, or is damaged.
    """
    _require(path)
    if path.suffix.lower() == ".npz":
        return _of_arrays(path)
    if path.is_dir() and any(any(path.glob(mark)) for mark in ARRAY_FILES):
        images = load_images(path)
        return TrainingData(path, images.train_labels, array=images.train)
    is_halved = (path / "train").is_dir() and any((path / name).is_dir() for name in _OTHER_HALVES)
    found = read_labelled(path / "train" if is_halved else path, label=label, identity=identity)
    ids = None if found.ids is None else np.asarray(found.ids)
    return TrainingData(found.path, np.asarray(found.labels), ids, files=found)


def _of_arrays(path: Path) -> TrainingData:
    known = npz_names(path)
    names = ("train", "train_labels") if "train" in known else ("X", "y")
    arrays = read_npz(path, [*names, *(["ids"] if "ids" in known else [])])
    pictures, given, *rest = arrays.values()
    require_pictures(pictures, f"{path}: {names[0]}")
    labels = to_labels(given, names[1])
    if len(labels) != len(pictures):
        raise FileFormatError(
            f"{path}: {names[0]} holds {len(pictures)} pictures and {names[1]} {len(labels)} "
            "labels; give one label per picture."
        )
    if pictures.ndim == 4 and pictures.shape[3] not in {1, 3}:
        raise FileFormatError(
            f"{path}: {names[0]} has shape {pictures.shape}; channels come last, and there are 1 "
            "or 3 of them."
        )
    if rest:
        check_ids(str(path), rest[0], len(pictures))
    return TrainingData(path, labels, rest[0] if rest else None, array=pictures)


def as_pictures(
    pixels: NDArray[np.uint8] | torch.Tensor,
    labels: NDArray[np.int64],
    device: torch.device,
    *,
    is_plain: bool,
) -> Pictures:
    """Move pictures to the device, to be normalized by their own moments or, plain, to 0 to 1.

    What a transform made, a tensor, stays as it is.
    """
    if isinstance(pixels, np.ndarray):
        made = Pictures.of(pixels, labels, device)
        if not is_plain:
            return made
        scale = torch.full_like(made.scale, 255.0)
        return Pictures(made.bytes, made.labels, torch.zeros_like(made.mean), scale)
    one = torch.ones((pixels.shape[1], 1, 1), device=device)
    return Pictures(pixels.to(device), torch.from_numpy(labels).to(device), 0 * one, one)

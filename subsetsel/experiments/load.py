"""A data set of pictures, whichever of the known formats it is in."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from subsetsel.experiments.folders import load_folders, load_tinyimagenet
from subsetsel.experiments.images import (
    DataMissingError,
    Images,
    load_arrays,
    load_cifar10,
    load_cifar100,
    load_idx,
)

ARRAY_FILES: dict[str, Callable[[Path], Images]] = {
    "train-images-idx3-ubyte*": load_idx,
    "data_batch_1.bin*": load_cifar10,
    "train.bin*": load_cifar100,
}
"""A file that tells a folder of arrays -> what reads such a folder."""


def load_images(folder: str | PathLike[str]) -> Images:
    """Read a data set, whichever of the known formats it is in.

    Parameters
    ----------
    folder : path
        A folder of MNIST's or Fashion-MNIST's IDX files, of CIFAR-10's or CIFAR-100's binary
        version, of TinyImageNet, or one with ``train`` and ``test`` (or ``val``) holding a folder
        of pictures per class; or an ``.npz`` file with the arrays ``train``, ``train_labels``,
        ``test`` and ``test_labels``. IDX files may be compressed with gzip, CIFAR's with xz.

    Raises
    ------
    DataMissingError
        If the folder or one of its files is missing.
    FileFormatError
        If a file is not what its name says.
    """
    path = Path(folder)
    if path.suffix == ".npz":
        return load_arrays(path)
    if not path.is_dir():
        raise DataMissingError(f"there is no folder {path}.")
    for mark, load in ARRAY_FILES.items():
        if any(path.glob(mark)):
            return load(path)
    if (path / "train").is_dir():
        is_tiny = (path / "val" / "val_annotations.txt").exists()
        return load_tinyimagenet(path) if is_tiny else load_folders(path)
    raise DataMissingError(
        f"{path} holds no data set known here: IDX files, CIFAR's binary files, or a folder train."
    )

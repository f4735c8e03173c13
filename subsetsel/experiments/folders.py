"""Pictures in folders, one per class: TinyImageNet's layout and the plain one. Needs Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError, SubsetselError
from subsetsel.experiments.images import DataMissingError, Images

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm"})
_MAX_SIDE = 1024


def load_folders(folder: Path, size: int | None = None) -> Images:
    """Read ``train/<class>/*`` and ``test/<class>/*`` (or ``val``); classes in order of name.

    Parameters
    ----------
    folder : Path
    size : int, optional
        Side to which every picture is scaled; without it all must be of one size.

    Returns
    -------
    Images
        Colour pictures.

    Raises
    ------
    DataMissingError
        If a half is missing or empty.
    FileFormatError
        If a file is no picture, or sizes differ.
    """
    second = "test" if (folder / "test").is_dir() else "val"
    names = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    halves: list[Any] = []
    for half in ("train", second):
        listed = [
            (path, label)
            for label, name in enumerate(names)
            for path in _pictures_in(folder / half / name)
        ]
        halves += _read_all(listed, folder / half, size)
    return _checked(halves, folder)


def load_tinyimagenet(folder: Path) -> Images:
    """Read TinyImageNet as it is distributed; its validation half is the test half.

    Parameters
    ----------
    folder : Path
        With ``train/<wnid>/images/*`` and ``val/val_annotations.txt``.

    Returns
    -------
    Images

    Raises
    ------
    DataMissingError
        If a part is missing.
    FileFormatError
        If a file is no picture, or an annotation names an unknown class.
    """
    names = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    label_of = {name: label for label, name in enumerate(names)}
    train = [
        (path, label_of[name])
        for name in names
        for path in _pictures_in(folder / "train" / name / "images")
    ]
    annotations = folder / "val" / "val_annotations.txt"
    test = []
    for number, line in enumerate(annotations.read_text().splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in label_of or Path(fields[0]).name != fields[0]:
            raise FileFormatError(f"{annotations}, line {number} names no picture and class.")
        test.append((folder / "val" / "images" / fields[0], label_of[fields[1]]))
    halves = [*_read_all(train, folder / "train", None), *_read_all(test, folder / "val", None)]
    return _checked(halves, folder)


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read_all(
    listed: list[tuple[Path, int]], folder: Path, size: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not listed:
        raise DataMissingError(f"{folder} holds no pictures in folders named for classes.")
    first = _read_picture(listed[0][0], size)
    pictures = np.empty((len(listed), *first.shape), dtype=np.uint8)
    for row, (path, _) in enumerate(listed):
        picture = _read_picture(path, size)
        if picture.shape != first.shape:
            raise FileFormatError(
                f"{path} is {picture.shape[:2]}, {listed[0][0]} is {first.shape[:2]}; give a size."
            )
        pictures[row] = picture
    return pictures, np.array([label for _, label in listed], dtype=np.int64)


def _read_picture(path: Path, size: int | None) -> NDArray[np.uint8]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise SubsetselError(
            "picture files need Pillow, which is not installed; pip install pillow."
        ) from error
    if not path.exists():
        raise DataMissingError(f"{path} is missing.")
    try:
        with Image.open(path) as picture:
            # The header's size is known before anything is decoded.
            if size is None and max(picture.size) > _MAX_SIDE:
                raise FileFormatError(
                    f"{path} is {picture.size[0]} x {picture.size[1]}, more than {_MAX_SIDE} a "
                    "side; give a size to scale to."
                )
            colour = picture.convert("RGB")
            if size is not None:
                colour = colour.resize((size, size))
            return np.asarray(colour, dtype=np.uint8)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise FileFormatError(f"{path} cannot be read as a picture: {error}.") from error


def _checked(halves: list[Any], folder: Path) -> Images:
    train, train_labels, test, test_labels = halves
    if train.shape[1:] != test.shape[1:]:
        raise FileFormatError(
            f"{folder} has training pictures of {train.shape[1:3]} and test pictures of "
            f"{test.shape[1:3]}; give a size."
        )
    return Images(train, train_labels, test, test_labels)

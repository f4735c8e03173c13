"""Pictures in folders, one per class: TinyImageNet's layout and the plain one. Needs Pillow.

torchvision would read them, but it does not load beside the pinned CPU build of torch
(``torchvision::nms does not exist``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError, SubsetselError
from subsetsel.experiments.images import DataMissingError, Images, images_from_arrays

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm"})
_MAX_SIDE = 1024

Listed = list[tuple[Path, int]]
"""Files with their labels."""


def load_folders(folder: Path) -> Images:
    """Read ``train/<class>/*`` and ``test/<class>/*`` (or ``val``); classes in order of name.

    Raises
    ------
    DataMissingError
        If a half is missing or empty.
    FileFormatError
        If a file is no picture, or sizes differ.
    """
    second = "test" if (folder / "test").is_dir() else "val"
    names = _classes(folder)
    halves = []
    for half in (folder / "train", folder / second):
        listed = [(path, k) for k, name in enumerate(names) for path in _pictures(half / name)]
        halves.append(_read_all(listed, half))
    return images_from_arrays(*halves[0], *halves[1])


def load_tinyimagenet(folder: Path) -> Images:
    """Read TinyImageNet as it is distributed; its validation half is the test half.

    Parameters
    ----------
    folder : Path
        With ``train/<wnid>/images/*`` and ``val/val_annotations.txt``.

    Raises
    ------
    DataMissingError
        If a part is missing.
    FileFormatError
        If a file is no picture, or an annotation names an unknown class.
    """
    names = _classes(folder)
    train, annotations = folder / "train", folder / "val" / "val_annotations.txt"
    listed = [
        (path, k) for k, name in enumerate(names) for path in _pictures(train / name / "images")
    ]
    test: Listed = []
    for number, line in enumerate(annotations.read_text().splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in names or Path(fields[0]).name != fields[0]:
            raise FileFormatError(f"{annotations}, line {number} names no picture and class.")
        test.append((folder / "val" / "images" / fields[0], names.index(fields[1])))
    return images_from_arrays(*_read_all(listed, train), *_read_all(test, folder / "val"))


def _classes(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)


def _read_all(listed: Listed, folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not listed:
        raise DataMissingError(f"{folder} holds no pictures in folders named for classes.")
    first = _read_picture(listed[0][0])
    pictures = np.empty((len(listed), *first.shape), dtype=np.uint8)
    for row, (path, _) in enumerate(listed):
        picture = _read_picture(path)
        if picture.shape != first.shape:
            raise FileFormatError(
                f"{path} is {picture.shape[:2]}, {listed[0][0]} is {first.shape[:2]}; scale all "
                "pictures to one size first."
            )
        pictures[row] = picture
    return pictures, np.array([label for _, label in listed], dtype=np.int64)


def _read_picture(path: Path) -> NDArray[np.uint8]:
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
            if max(picture.size) > _MAX_SIDE:
                raise FileFormatError(
                    f"{path} is {picture.size[0]} x {picture.size[1]}, more than {_MAX_SIDE} a "
                    "side; scale it down first."
                )
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise FileFormatError(f"{path} cannot be read as a picture: {error}.") from error

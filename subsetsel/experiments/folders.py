"""Pictures in folders, one per class: TinyImageNet's layout and the plain one. Needs Pillow.

torchvision would read them, but it does not load beside the pinned CPU build of torch
(``torchvision::nms does not exist``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError, MissingExtraError
from subsetsel.experiments.images import DataMissingError, Images, images_from_arrays
from subsetsel.support.npz import DAMAGE
from subsetsel.support.optional import import_extra

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}  # ImageFolder's
)
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
    if not path.exists():
        raise DataMissingError(f"{path} is missing.")
    # The header's size is known before anything is decoded.
    size = open_picture(path, str(path), is_decoded=False).size
    if max(size) > _MAX_SIDE:
        raise FileFormatError(
            f"{path} is {size[0]} x {size[1]}, more than {_MAX_SIDE} a side; scale it down first."
        )
    return np.asarray(open_picture(path, str(path)), dtype=np.uint8)


def open_picture(source: Any, name: str, *, is_decoded: bool = True) -> Any:
    """Open a picture, as Pillow's image in RGB, or only its header.

    Parameters
    ----------
    source : path or binary stream
    name : str
        What messages call it.
    is_decoded : bool

    Raises
    ------
    FileFormatError
        If it is no picture, is damaged, or has samples that eight bits cannot hold, which Pillow
        would clip without a word.
    MissingExtraError
        If Pillow is not installed.
    """
    image = import_pillow()
    try:
        with image.open(source) as picture:
            if picture.mode.startswith(("I", "F")):
                raise FileFormatError(
                    f"{name} has samples of more than 8 bits (Pillow's mode {picture.mode}), of "
                    "which RGB would keep a clipped part; scale it to 8 bits first."
                )
            return picture.convert("RGB") if is_decoded else picture
    except (*DAMAGE, IndexError, image.DecompressionBombError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{name} cannot be read as a picture: {error}; mend the file, or take it out."
        ) from error


def import_pillow() -> Any:
    """Import ``PIL.Image``; a MissingExtraError says how to install it."""
    try:
        return import_extra("PIL.Image", "pictures", "picture files")
    except MissingExtraError as error:
        raise MissingExtraError(
            'picture files need Pillow, which is not installed; pip install "subsetsel[pictures]".'
        ) from error


def walk(folder: Path) -> list[Path]:
    """List the files of a folder and of those within it, also behind links, in order of name.

    What is hidden, such as ``.DS_Store`` and the ``._name.jpg`` that some systems write, is passed
    over.

    Raises
    ------
    OSError
        If one of the folders cannot be read.
    """
    found: list[Path] = []
    seen: set[str] = set()

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        real = os.path.realpath(place)
        # A link to a folder above would go on forever.
        is_new = real not in seen
        seen.add(real)
        folders[:] = sorted(name for name in folders if is_new and not name.startswith("."))
        if is_new:
            found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found)

"""NumPy's own files: npy, mapped, and npz."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array, check_fits

_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, SyntaxError, TypeError, OverflowError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def map_npy(path: Path) -> Array:
    """Open an ``.npy`` file without reading it.

    Returns
    -------
    memmap

    Raises
    ------
    FileFormatError
        If it is something else, cut off, or holds objects.
    """
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        raise FileFormatError(f"{path} is not an npy array, or is damaged: {error}.") from error
    return array


def names_in_npz(path: Path) -> list[str]:
    """List the arrays of an ``.npz`` file.

    Returns
    -------
    list of str

    Raises
    ------
    FileFormatError
        If it is no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as error:
        raise FileFormatError(f"{path} is not an npz file, or is damaged: {error}.") from error


def read_npz(path: Path, key: str) -> Array:
    """Read one array of an ``.npz`` file.

    Returns
    -------
    ndarray

    Raises
    ------
    FileFormatError
        If there is none of that name, it holds objects, claims another size than the archive has
        for it, or does not fit into memory.
    """
    known = names_in_npz(path)
    if key not in known:
        raise FileFormatError(
            f"{path} has no array {key!r}; it holds {', '.join(known) or 'none'}."
        )
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as stream:
            size = archive.getinfo(f"{key}.npy").file_size
            _check_header(path, key, stream, size)
        # A compressed archive of a few kilobytes may truly hold terabytes of zeros.
        check_fits(f"{path}: array {key!r}", size)
        with np.load(path, allow_pickle=False) as arrays:
            array: Array = arrays[key]
    except FileFormatError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(f"{path}: array {key!r} is damaged: {error}.") from error
    return array


def _check_header(path: Path, key: str, stream: IO[bytes], size: int) -> None:
    """Compare the size an array claims with the size its archive has for it."""
    version = np.lib.format.read_magic(stream)
    reader = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = reader(stream)
    if dtype.hasobject:
        raise FileFormatError(
            f"{path}: array {key!r} holds Python objects, which are never unpickled; store numbers "
            "or fixed-width strings, as in numpy.asarray(labels, dtype=str)."
        )
    if math.prod(shape) * dtype.itemsize + stream.tell() != size:
        raise FileFormatError(
            f"{path}: array {key!r} claims shape {shape} of {dtype}, which is not what the file "
            "holds; it is truncated or forged."
        )

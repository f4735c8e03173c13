"""Arrays from ``.npy`` and ``.npz`` files that may be anybody's: no pickle, no forged size.

A file says how large its arrays are, and NumPy believes it. Here each size is compared with what
the file can hold, and with the memory that is free, before anything is allocated.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from subsetsel.errors import FileFormatError
from subsetsel.support.memory import check_fits, describe, needs_memory

Array = NDArray[Any]
Found = TypeVar("Found")

DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, SyntaxError, TypeError, OverflowError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(struct.error, tokenize.TokenError),
)
"""What reading a damaged or hostile file raises in zipfile, zlib and NumPy."""

# No byte of a deflate stream stands for more than 1,032 bytes.
_LARGEST_RATIO = 1032
# What NumPy writes; other methods have bombs of their own.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CURE = "Store S as .npy, which is mapped and not read, or use a machine with more memory."


def map_npy(path: Path) -> Array:
    """Map an ``.npy`` file: it may be larger than memory."""
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        check_text(array)
    except (*DAMAGE, MemoryError) as error:
        raise FileFormatError(
            f"{path} is not an npy array, or is damaged: {error}. An array of Python objects is "
            "never unpickled: store texts as numpy.asarray(labels, dtype=str)."
        ) from error
    return array


def npz_names(path: str | PathLike[str]) -> list[str]:
    """List the arrays of a file, or raise as `read_npz` does."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise FileFormatError(f"{path} is not an npz file, or is damaged: {error}.") from error


def read_npz(path: str | PathLike[str], names: Iterable[str]) -> dict[str, Array]:
    """Read the arrays of the given names, in that order.

    Raises
    ------
    FileFormatError
        If one is missing, damaged, holds Python objects, or is larger than the file can hold or
        than the memory that is free.
    FileNotFoundError
        If there is no such file.
    """
    return {name: _read(path, name) for name in names}


def _read(path: str | PathLike[str], name: str) -> Array:
    known = npz_names(path)
    if name not in known:
        raise FileFormatError(
            f"{path} has no array {name!r}; it holds {', '.join(known) or 'none'}."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            _check_member(path, name, member)
            size = member.file_size
            with archive.open(member) as stream:
                _check_header(path, name, stream, member.file_size)
            what = f"array {name!r} of {path}"
            with archive.open(member) as stream, needs_memory(what, lambda: size, _CURE):
                array: Array = np.lib.format.read_array(stream, allow_pickle=False)
                # zipfile compares the checksum once the end is reached.
                if stream.read(1):
                    raise ValueError("it goes on after its end")
            check_text(array)
    except FileFormatError:
        raise
    except DAMAGE as error:
        raise FileFormatError(f"{path}: array {name!r} is damaged: {error}.") from error
    return array


def npz_header(path: str | PathLike[str]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Give shape and type of each array, as their headers tell, or raise as `read_npz` does."""
    return {name: _opened(path, name, _describe) for name in npz_names(path)}


def read_npz_rows(path: str | PathLike[str], name: str, start: int, stop: int) -> Array:
    """Read rows ``start`` to ``stop`` of one array, or raise as `read_npz` does.

    Of a file that is not compressed nothing else is read; else all rows before them are.
    """
    return _opened(path, name, lambda stream, *header: _rows(stream, *header, start, stop))


def _opened(path: str | PathLike[str], name: str, use: Callable[..., Found]) -> Found:
    """Give ``use(stream, shape, is_fortran, dtype)`` of an array, the stream behind its header."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            _check_claim(path, name, member)
            with archive.open(member) as stream:
                return use(stream, *_check_header(path, name, stream, member.file_size))
    except FileFormatError:
        raise
    except DAMAGE as error:
        raise FileFormatError(f"{path}: array {name!r} is damaged: {error}.") from error


def _describe(
    _: IO[bytes], shape: tuple[int, ...], is_fortran: bool, dtype: np.dtype[Any]
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if is_fortran and len(shape) > 1 and min(shape) > 1:
        raise ValueError(
            "it is stored column by column; store numpy.ascontiguousarray(array), or an npy file"
        )
    return shape, dtype


def _rows(
    stream: IO[bytes],
    shape: tuple[int, ...],
    is_fortran: bool,
    dtype: np.dtype[Any],
    *at: int,
) -> Array:
    _describe(stream, shape, is_fortran, dtype)
    start, stop = at
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    stream.seek(start * row_bytes, 1)
    found = stream.read((stop - start) * row_bytes)
    array: Array = np.frombuffer(found, dtype=dtype).reshape(stop - start, *shape[1:])
    check_text(array)
    return array


def check_text(array: Array) -> None:
    """Raise a ValueError for a text array with numbers that stand for no character.

    Python raises a SystemError where it meets one above 0x10FFFF, and writes no half of a pair.
    """
    if array.dtype.kind != "U" or not array.size or not array.dtype.itemsize:
        return
    points = np.ascontiguousarray(array).reshape(-1).view(array.dtype.byteorder + "u4")
    if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
        raise ValueError("it holds numbers that stand for no character")


def _check_member(path: Any, name: str, member: zipfile.ZipInfo) -> None:
    """Compare the size that the archive claims for a member with the file and the free memory."""
    _check_claim(path, name, member)
    check_fits(f"{path}: array {name!r}", member.file_size)


def _check_claim(path: Any, name: str, member: zipfile.ZipInfo) -> None:
    num_stored = min(member.compress_size, Path(path).stat().st_size)
    if member.compress_type not in _METHODS:
        raise FileFormatError(f"{path}: array {name!r} is compressed in a way no npz file is.")
    is_stored = member.compress_type == zipfile.ZIP_STORED
    if member.file_size > num_stored * (1 if is_stored else _LARGEST_RATIO):
        raise FileFormatError(
            f"{path}: array {name!r} claims {describe(member.file_size)}, more than "
            f"{num_stored:,} bytes can hold; it is truncated or forged."
        )


def _check_header(
    path: Any, name: str, stream: IO[bytes], size: int
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Compare the size that an array claims with the size of its member of the archive."""
    version = np.lib.format.read_magic(stream)
    reader = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    try:
        shape, is_fortran, dtype = reader(stream)
    except MemoryError as error:
        # Python's parser raises it for a header of thousands of brackets.
        raise ValueError("its header is nested beyond reason") from error
    if dtype.hasobject:
        raise FileFormatError(
            f"{path}: array {name!r} holds Python objects, which are never unpickled; store "
            "numbers or fixed-width strings, as in numpy.asarray(labels, dtype=str)."
        )
    num_items = math.prod(shape)
    # Without this check any number of items of zero bytes could be claimed.
    is_empty_type = num_items > 0 and dtype.itemsize == 0
    if (
        min(shape, default=0) < 0
        or is_empty_type
        or (num_items * dtype.itemsize + stream.tell() != size)
    ):
        raise FileFormatError(
            f"{path}: array {name!r} claims shape {shape} of {dtype}, which is not what the file "
            "holds; it is truncated or forged."
        )
    return shape, is_fortran, dtype

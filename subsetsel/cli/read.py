"""Reading what users bring: matrices and labelled data from npy, npz and CSV files.

Nothing is ever unpickled, and no array is allocated before its declared size was compared with
what the file holds.
"""

from __future__ import annotations

import csv
import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from subsetsel.errors import FileFormatError

Array = np.ndarray[Any, Any]

_SUFFIXES = (".npy", ".npz", ".csv", ".tsv")
_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, SyntaxError, TypeError, OverflowError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


@dataclass(frozen=True)
class Data:
    """Labelled examples.

    Attributes
    ----------
    X : ndarray of shape (n, h)
    y : ndarray of shape (n,)
    ids : ndarray of shape (n,) or None
        The user's names of the examples.
    """

    X: Array
    y: Array
    ids: Array | None = None

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.X)

    @property
    def num_features(self) -> int:
        """Numbers per example."""
        return self.X.size // max(1, len(self.X))

    @property
    def num_classes(self) -> int:
        """Different labels."""
        return len(np.unique(self.y))


def read_matrix(path: Path, key: str | None = None) -> Array:
    """Read one array.

    Parameters
    ----------
    path : Path
        ``.npy`` (mapped, not copied), ``.npz``, or ``.csv`` / ``.tsv`` of numbers, with or without
        a line of names.
    key : str, optional
        Which array of an ``.npz`` that holds several.

    Returns
    -------
    ndarray

    Raises
    ------
    FileFormatError
        If the file is something else, is damaged, or its array is not of numbers.
    """
    suffix = _suffix(path)
    if suffix == ".npy":
        array = _map_npy(path)
    elif suffix == ".npz":
        arrays = _open_npz(path)
        if key is None and len(arrays) != 1:
            raise FileFormatError(
                f"{path} holds {len(arrays)} arrays ({', '.join(arrays) or 'none'}); "
                "say which with --key."
            )
        array = _read_member(path, key or arrays[0], arrays)
    else:
        header, rows = _read_table(path)
        array = _numbers(path, rows if _is_number(header[0]) is False else [header, *rows])
    if array.dtype.kind not in "fiu":
        raise FileFormatError(f"{path}: the array must hold real numbers, it holds {array.dtype}.")
    return array


def read_data(path: Path, *, label: str = "y", identity: str = "id") -> Data:
    """Read labelled examples.

    Parameters
    ----------
    path : Path
        ``.npz`` with the arrays ``X``, ``y`` and, if there are any, ``ids``; or ``.csv`` / ``.tsv``
        with a line of column names.
    label, identity : str
        Columns of a table that hold the labels and the ids; all others are features.

    Returns
    -------
    Data

    Raises
    ------
    FileFormatError
        If the file is something else, is damaged, or lacks the labels.
    """
    suffix = _suffix(path)
    if suffix == ".npz":
        arrays = _open_npz(path)
        X, y = (_read_member(path, name, arrays) for name in ("X", "y"))
        ids = _read_member(path, "ids", arrays) if "ids" in arrays else None
        return Data(X, y, ids)
    if suffix == ".npy":
        raise FileFormatError(
            f"{path}: an .npy file holds one array, and X and y are needed; "
            "write both with numpy.savez(path, X=X, y=y)."
        )
    header, rows = _read_table(path)
    if label not in header:
        raise FileFormatError(
            f"{path} has no column {label!r}; its columns are {', '.join(header[:8])}"
            f"{', ...' if len(header) > 8 else ''}. Name the labels' column with --label."
        )
    columns = [c for c, name in enumerate(header) if name not in {label, identity}]
    labels = np.array([row[header.index(label)] for row in rows])
    ids = np.array([row[header.index(identity)] for row in rows]) if identity in header else None
    return Data(_numbers(path, rows, columns), _as_integers(labels), ids)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise FileFormatError(
            f"{path}: the name must end in one of {', '.join(_SUFFIXES)}, so that the format is "
            "known."
        )
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    return suffix


# --- npy and npz --------------------------------------------------------------------------------


def _map_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        raise FileFormatError(f"{path} is not an npy array, or is damaged: {error}.") from error
    return array


def _open_npz(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as error:
        raise FileFormatError(f"{path} is not an npz file, or is damaged: {error}.") from error


def _read_member(path: Path, key: str, known: list[str]) -> Array:
    if key not in known:
        raise FileFormatError(
            f"{path} has no array {key!r}; it holds {', '.join(known) or 'none'}."
        )
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as stream:
            size = archive.getinfo(f"{key}.npy").file_size
            _check_header(path, key, stream, size)
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


# --- tables -------------------------------------------------------------------------------------


def _read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read all cells as text: the first line and the others, all of one length."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [row for row in csv.reader(stream, delimiter=delimiter) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a table in UTF-8: {error}.") from error
    if len(lines) < 2:
        raise FileFormatError(f"{path} needs a line of column names and at least one example.")
    for number, row in enumerate(lines, 1):
        if len(row) != len(lines[0]):
            raise FileFormatError(
                f"{path}, line {number}: {len(row)} cells where the first line has {len(lines[0])}."
            )
    return [name.strip() for name in lines[0]], lines[1:]


def _numbers(path: Path, rows: list[list[str]], columns: list[int] | None = None) -> Array:
    chosen = range(len(rows[0])) if columns is None else columns
    try:
        return np.array([[row[c] for c in chosen] for row in rows]).astype(np.float64)
    except ValueError as error:
        for row in rows:
            for c in chosen:
                if not _is_number(row[c]):
                    raise FileFormatError(
                        f"{path}: {row[c]!r} in column {c + 1} is not a number. Columns of text "
                        "cannot be features; turn them into numbers first."
                    ) from error
        raise


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_integers(labels: Array) -> Array:
    """Labels of digits as integers, so that they sort as numbers; others as they are."""
    try:
        return labels.astype(np.int64)
    except ValueError:
        return labels

"""The readers of every format; the ending of the name says which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array, Data
from subsetsel.formats.parquet import read_parquet, read_parquet_columns, read_parquet_matrix
from subsetsel.formats.tables import read_table, read_table_columns, read_table_matrix
from subsetsel.formats.tensors import names_in_tensors, read_tensor, read_texts
from subsetsel.support.npz import DAMAGE, npz_names, read_npz

MATRIX_SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet", ".csv", ".tsv")


def read_matrix(path: Path, key: str | None = None) -> Array:
    """Read one array.

    Parameters
    ----------
    path : Path
        ``.npy`` (mapped, not copied), ``.npz``, ``.safetensors``, ``.parquet`` of numbers, or
        ``.csv`` / ``.tsv`` of numbers, with or without a line of names.
    key : str, optional
        Which array of an ``.npz`` or ``.safetensors`` that holds several.

    Returns
    -------
    ndarray
        As it lies in the file.

    Raises
    ------
    FileFormatError
        If the file is something else, is damaged, or its array is not of numbers.
    MissingExtraError
        If the package that reads the format is not installed.
    """
    suffix = check_suffix(path)
    if suffix == ".npy":
        array = _map_npy(path)
    elif suffix in {".npz", ".safetensors"}:
        names = npz_names(path) if suffix == ".npz" else names_in_tensors(path)
        if key is None and len(names) != 1:
            raise FileFormatError(
                f"{path} holds {len(names)} arrays ({', '.join(names) or 'none'}); "
                "say which with --key."
            )
        name = key or names[0]
        array = read_npz(path, [name])[name] if suffix == ".npz" else read_tensor(path, name)
    elif suffix == ".parquet":
        array = read_parquet_matrix(path)
    else:
        array = read_table_matrix(path)
    if array.dtype.kind not in "fiu":
        raise FileFormatError(f"{path}: the array must hold real numbers, it holds {array.dtype}.")
    return array


def read_data(path: Path, *, label: str = "y", identity: str = "id") -> Data:
    """Read labelled examples.

    Parameters
    ----------
    path : Path
        ``.npz`` or ``.safetensors`` with the arrays ``X``, ``y`` and, if there are any, ``ids``; or
        ``.parquet`` / ``.csv`` / ``.tsv`` with named columns. Tensors hold no text: a safetensors
        file has text labels and ids as JSON lists under the same names in its metadata.
    label, identity : str
        Columns of a table that hold the labels and the ids; all others are features. A column of
        lists in a parquet file stands for as many features.

    Returns
    -------
    Data
        Features, labels, and ids if there are any.

    Raises
    ------
    FileFormatError
        If the file is something else, is damaged, or lacks the labels.
    MissingExtraError
        If the package that reads the format is not installed.
    """
    suffix = check_suffix(path)
    if suffix == ".npy":
        raise FileFormatError(
            f"{path}: an .npy file holds one array, and X and y are needed; "
            "write both with numpy.savez(path, X=X, y=y)."
        )
    if suffix == ".parquet":
        return read_parquet(path, label, identity)
    if suffix in {".csv", ".tsv"}:
        return read_table(path, label, identity)
    if suffix == ".npz":
        wanted = ["X", "y", *(["ids"] if "ids" in npz_names(path) else [])]
        return Data(**read_npz(path, wanted))
    names = names_in_tensors(path)
    labels, ids = (
        read_tensor(path, name) if name in names else read_texts(path, name)
        for name in ("y", "ids")
    )
    if labels is None:
        # Raises the error that lists the tensors there are.
        labels = read_tensor(path, "y")
    return Data(read_tensor(path, "X"), labels, ids)


def read_columns(path: Path, names: Sequence[str]) -> list[list[Any]]:
    """Read columns of a ``.parquet``, ``.csv`` or ``.tsv`` file; of the latter two as text."""
    if path.suffix.lower() == ".parquet":
        return read_parquet_columns(path, names)
    return read_table_columns(path, names)


def _map_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*DAMAGE, MemoryError) as error:
        raise FileFormatError(f"{path} is not an npy array, or is damaged: {error}.") from error
    return array


def check_suffix(path: Path, known: tuple[str, ...] = MATRIX_SUFFIXES) -> str:
    """Give the ending of the name in lower case, if it is known and there is such a file."""
    suffix = path.suffix.lower()
    if suffix not in known:
        raise FileFormatError(
            f"{path}: the name must end in one of {', '.join(known)}, so that the format is known."
        )
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    return suffix

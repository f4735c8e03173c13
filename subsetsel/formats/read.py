"""The readers of every format; the ending of the name says which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from subsetsel.errors import FileFormatError
from subsetsel.formats.arrays import open_arrays
from subsetsel.formats.choose import (
    examples_of,
    label_of,
    matrix_columns,
    refuse_missing,
    require_labels,
)
from subsetsel.formats.data import Array, Data, Table, numbers_of
from subsetsel.formats.lines import LinesTable
from subsetsel.formats.parquet import ParquetTable
from subsetsel.formats.reading import PLAIN_TEXT, Reading, Text
from subsetsel.formats.text import TextTable
from subsetsel.support.npz import map_npy
from subsetsel.support.parts import parts_of

ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")
TABLE_SUFFIXES = (
    *(".parquet", ".csv", ".tsv", ".jsonl"),
    *(".csv.gz", ".tsv.gz", ".jsonl.gz"),
)
MATRIX_SUFFIXES = (*ARRAY_SUFFIXES, *TABLE_SUFFIXES)


def read_matrix(
    path: Path, key: str | None = None, text: Text = PLAIN_TEXT, drop: Sequence[str] = ()
) -> Array:
    """Read one array.

    Parameters
    ----------
    path : Path
        ``.npy`` (mapped, not copied), ``.npz``, ``.safetensors``; or a table of numbers:
        ``.parquet`` (a folder or a glob too), ``.jsonl``, ``.csv`` / ``.tsv`` with or without a
        line of names; the last three may be packed (``.csv.gz``).
    key : str, optional
        Which array of an ``.npz`` or ``.safetensors`` that holds several.
    text : Text
        How a table of text is written.
    drop : sequence of str
        Columns of a table to leave out.

    Returns
    -------
    ndarray
        As it lies in the file. The index of a frame that pandas wrote is left out.

    Raises
    ------
    FileFormatError
        If the file is something else, is damaged, or its array is not of numbers.
    MissingExtraError
        If the package that reads the format is not installed.
    """
    ending = check_suffix(path)
    if ending == ".npy":
        array = map_npy(path)
    elif ending in ARRAY_SUFFIXES:
        arrays = open_arrays(path, ending)
        names = [name for name in arrays.names if name not in arrays.texts]
        if key is None and len(names) != 1:
            raise FileFormatError(
                f"{path} holds {len(names)} arrays ({', '.join(names) or 'none'}); "
                "say which with --key."
            )
        if key is not None and key not in names:
            refuse_missing(arrays, key, "Say which with --key.")
        array = arrays.get(key or names[0])
    else:
        table = _open(path, ending, text, is_matrix=True)
        array = numbers_of(table, matrix_columns(table, drop))
    if array.dtype.kind not in "fiu":
        raise FileFormatError(f"{path}: the array must hold real numbers, it holds {array.dtype}.")
    return array


def read_data(path: Path, how: Reading | None = None, **wanted: Any) -> Data:
    """Read labelled examples.

    Parameters
    ----------
    path : Path
        ``.npz`` or ``.safetensors`` with the arrays ``X``, ``y`` and, if there are any, ``ids``; or
        ``.parquet``, ``.csv``, ``.tsv`` or ``.jsonl`` with named columns, the last three packed by
        gzip or not. A folder or a glob stands for parquet files, sorted by name, part-2
        before part-10. Tensors hold no text: a safetensors file has text labels and ids as JSON
        lists under the same names in its metadata. An ``.npy`` file holds features, whose labels
        are in another file.
    how : Reading, optional
        Which column is what. All that are not named are features; a column of lists stands for as
        many. Where no column holds ids, the index of the frame that pandas wrote does.
    **wanted
        The attributes of a `Reading`, in place of ``how``.

    Returns
    -------
    Data
        Features, labels, and ids and weights if there are any.

    Raises
    ------
    FileFormatError
        If the file is something else, is damaged, or lacks the labels; if a cell, a label or an id
        is missing, an id or a name stands twice.
    MissingExtraError
        If the package that reads the format is not installed.
    """
    how = Reading(**wanted) if how is None else how
    ending = check_suffix(path)
    if ending == ".npy" and how.labels is None:
        raise FileFormatError(
            f"{path}: an .npy file holds one array, and X and y are needed; name the file of the "
            "labels with --labels, or write both with numpy.savez(path, X=X, y=y)."
        )
    table = _open(path, ending, how.text)
    labels = None if how.labels is None else _open(how.labels, check_suffix(how.labels), how.text)
    return examples_of(table, how, labels)


def read_labels_alone(how: Reading) -> Array:
    """Read the labels from the file of their own that ``how.labels`` names."""
    assert how.labels is not None
    table = _open(how.labels, check_suffix(how.labels), how.text)
    _, y, _ = table.take((), label_of(table, how), None)
    assert y is not None
    return require_labels(table, y, how)


def read_columns(path: Path, names: Sequence[str], text: Text = PLAIN_TEXT) -> list[list[Any]]:
    """Read columns of a table, each of numbers or texts; of CSV and TSV integers or texts."""
    table = _open(path, check_suffix(path, TABLE_SUFFIXES), text)
    columns = []
    for name in names:
        if name not in table.names:
            refuse_missing(table, name, "Name one of these.")
        _, column, _ = table.take((), name, None)
        assert column is not None
        columns.append(column.tolist())
    return columns


def names_of_columns(path: Path, text: Text = PLAIN_TEXT) -> list[str]:
    """Read the names of a table's columns."""
    return list(_open(path, check_suffix(path, TABLE_SUFFIXES), text).names)


def _open(path: Path, ending: str, text: Text, *, is_matrix: bool = False) -> Table:
    if ending in ARRAY_SUFFIXES:
        return open_arrays(path, ending)
    if ending == ".parquet":
        return ParquetTable(path, parts_of(path))
    if ending.startswith(".jsonl"):
        return LinesTable(path, text.encoding)
    return TextTable(path, ending, text, is_matrix=is_matrix)


def check_suffix(path: Path, known: tuple[str, ...] = MATRIX_SUFFIXES) -> str:
    """Give the ending of the name in lower case, if it is known and there is such a file."""
    ending = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
    ending = ending.lower()
    if path.is_dir() and ".parquet" in known:
        return ".parquet"
    if ending not in known:
        raise FileFormatError(
            f"{path}: the name must end in one of {', '.join(known)}, so that the format is known."
        )
    parts = parts_of(path)
    if len(parts) > 1 and ending != ".parquet":
        raise FileFormatError(
            f"{path} stands for {len(parts)} files; only parquet files are read together. Name "
            "one, or write them as parquet."
        )
    return ending

"""Tables of text: CSV and TSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array, Data, as_text


def read_table_matrix(path: Path) -> Array:
    """Read a table of numbers, with or without a line of names.

    Returns
    -------
    ndarray of shape (n, d), float64

    Raises
    ------
    FileFormatError
        If it is no table in UTF-8, is ragged, or holds text.
    """
    header, rows = _read_cells(path)
    return _numbers(path, [header, *rows] if _is_number(header[0]) else rows)


def read_table(path: Path, label: str, identity: str) -> Data:
    """Read labelled examples from a table with a line of names.

    Parameters
    ----------
    path : Path
    label, identity : str
        Columns that hold the labels and the ids; all others are features.

    Returns
    -------
    Data

    Raises
    ------
    FileFormatError
        If it is no table in UTF-8, is ragged, has no such labels, or text among its features.
    """
    header, rows = _read_cells(path)
    require_label(path, label, header)
    columns = [c for c, name in enumerate(header) if name not in {label, identity}]
    labels, ids = (
        as_text(f"{path}: column {name!r}", [row[header.index(name)] for row in rows])
        if name in header
        else None
        for name in (label, identity)
    )
    assert labels is not None
    return Data(_numbers(path, rows, columns), _as_integers(labels), ids)


def read_columns(path: Path) -> dict[str, list[str]]:
    """Read a table with a line of names, as text.

    Returns
    -------
    dict
        name -> cells.

    Raises
    ------
    FileFormatError
        If it is no table in UTF-8, or is ragged.
    """
    header, rows = _read_cells(path)
    return {name: [row[c] for row in rows] for c, name in enumerate(header)}


def require_label(path: Path, label: str, columns: Sequence[str]) -> None:
    """Refuse a table that has no column of labels.

    Raises
    ------
    FileFormatError
    """
    if label not in columns:
        raise FileFormatError(
            f"{path} has no column {label!r}; its columns are {', '.join(columns[:8])}"
            f"{', ...' if len(columns) > 8 else ''}. Name the labels' column with --label."
        )


def _read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
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

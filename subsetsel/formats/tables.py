"""Tables of text: CSV and TSV.

The csv module reads them: pyarrow's reader would save some 30 lines here, and make a package of
170 MB a dependency of everybody.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.data import Array, Data, as_text, require_columns

LABEL_CURE = "Name the labels' column with --label."


def read_table_matrix(path: Path) -> Array:
    """Read a table of numbers, with or without a line of names: float64, shape (n, d)."""
    header, rows = _read_cells(path)
    rows = [header, *rows] if _is_number(header[0]) else rows
    return _numbers(path, rows, range(len(header)))


def read_table(path: Path, label: str, identity: str) -> Data:
    """Read labelled examples; columns that are neither the label nor the id are features."""
    header, rows = _read_cells(path)
    require_columns(str(path), [label], header, FileFormatError, LABEL_CURE)
    features = [c for c, name in enumerate(header) if name not in {label, identity}]
    labels, ids = (
        as_text(f"{path}: column {name!r}", [row[header.index(name)] for row in rows])
        if name in header
        else None
        for name in (label, identity)
    )
    assert labels is not None
    with contextlib.suppress(ValueError):
        # Labels of digits become integers, so that 10 sorts after 9.
        labels = labels.astype(np.int64)
    return Data(_numbers(path, rows, features), labels, ids)


def read_table_columns(path: Path, names: Sequence[str]) -> list[list[str]]:
    """Read the cells of chosen columns as text."""
    header, rows = _read_cells(path)
    require_columns(str(path), names, header, FileFormatError)
    return [[row[header.index(name)] for row in rows] for name in names]


def _read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read all cells as text: the first line and the others, all of one length."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    lines: list[list[str]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            for row in filter(None, reader):
                lines.append(row)
                if len(row) != len(lines[0]):
                    raise FileFormatError(
                        f"{path}, line {reader.line_num}: {len(row)} cells where the first line "
                        f"has {len(lines[0])}."
                    )
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a table in UTF-8: {error}.") from error
    if len(lines) < 2:
        raise FileFormatError(f"{path} needs a line of column names and at least one example.")
    return [name.strip() for name in lines[0]], lines[1:]


def _numbers(path: Path, rows: list[list[str]], columns: Sequence[int]) -> Array:
    try:
        return np.array([[row[c] for c in columns] for row in rows]).astype(np.float64)
    except ValueError as error:
        row, column = next(
            (r, c) for r, cells in enumerate(rows) for c in columns if not _is_number(cells[c])
        )
        raise FileFormatError(
            f"{path}: {rows[row][column]!r} in column {column + 1} of example {row} is not a "
            "number. Columns of text cannot be features; turn them into numbers first."
        ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

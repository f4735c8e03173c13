"""What is kept, in the format it came in: the lines and rows of the source, untouched."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats.data import Array
from subsetsel.rows.base import BoolArray
from subsetsel.support.files import written_whole
from subsetsel.support.npz import npz_names, read_npz
from subsetsel.support.optional import import_extra

LIST = ".txt"
_TABLES = {".csv": ",", ".tsv": "\t"}
_ROWS = (".csv", ".tsv", ".jsonl", ".parquet", ".npz")
_BATCH = 1 << 14
_CURE = "Name a .txt file, for the list of ids."


def check_kept(
    path: Path, source: Path, n: int, ids: Array | None, delimiter: str | None = None
) -> None:
    """Refuse, before the work, a file of what is kept that could not be written.

    A source of text is read once for that.

    Parameters
    ----------
    path : Path
        ``.txt`` for a list of ids (indices where there are none), or the format of the source.
    source : Path
        The data.
    n : int
        How many examples were read from it.
    ids : ndarray of shape (n,) or None
    delimiter : str, optional
        Of a ``.csv`` whose cells are not parted by commas.

    Raises
    ------
    OptionError
        If the source has another format.
    FileFormatError
        If its examples cannot be told apart line by line.
    MissingExtraError
        If the package that writes the format is not installed.
    """
    form, came = _format(path), _format(source)
    if form == LIST:
        bad = [] if ids is None else [name for name in ids.tolist() if _breaks(name)]
        if bad:
            raise OptionError(
                f"--kept {path}: a list has one id per line, and the id {bad[0]!r} holds a line "
                f"break; write the rows instead, as --kept {path.with_suffix(came)}."
            )
        return
    if came not in _ROWS or not source.is_file():
        raise OptionError(
            f"--kept {path}: what is kept of {source} can be written as a list alone; name a .txt "
            "file."
        )
    if form != came:
        raise OptionError(
            f"--kept {path}: what is kept is written in the format of the data, and {source} is "
            f"{came[1:]}; name a {came} file, or a .txt file for the list of ids."
        )
    if form == ".parquet":
        import_extra("pyarrow.parquet", "parquet", "parquet files")
    elif form == ".npz":
        # X was read already; another array may hold pickles.
        read_npz(source, [name for name in npz_names(source) if name != "X"])
    else:
        with _opened(source, "r") as lines:
            count = sum(1 for _ in _examples(lines, form, delimiter)[1])
        _check_count(source, count, n)


def write_kept(
    path: Path,
    source: Path,
    mask: BoolArray,
    ids: Array | None = None,
    delimiter: str | None = None,
) -> None:
    """Write the examples that are kept, in their order, with all the columns they came with.

    Parameters
    ----------
    path, source, ids, delimiter
        As in `check_kept`.
    mask : ndarray of shape (n,), bool
        True means pruned.

    Raises
    ------
    FileFormatError
        If the source does not hold as many examples as the mask, as when it was changed since.
    """
    form = _format(path)
    with written_whole(path) as part:
        if form == LIST:
            names = np.flatnonzero(~mask) if ids is None else ids[~mask]
            part.write_text("".join(f"{name}\n" for name in names.tolist()), encoding="utf-8")
        elif form == ".parquet":
            _write_parquet(part, source, mask)
        elif form == ".npz":
            _write_arrays(part, source, mask)
        else:
            with _opened(source, "r") as lines, _opened(part, "w", form=path) as out:
                header, records = _examples(lines, form, delimiter)
                out.writelines(header)
                _filter(records, out, source, mask)


def _format(path: Path) -> str:
    """Give the ending of a name in lower case, that of the packed file where gzip packed it."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()


def _breaks(name: Any) -> bool:
    return isinstance(name, str) and len(name.splitlines()) > 1


def _opened(path: Path, mode: str, form: Path | None = None) -> IO[str]:
    """Open a text of any encoding that has ASCII in it: each byte is one letter, and comes back."""
    if (form or path).suffix.lower() == ".gz":
        return cast(IO[str], gzip.open(path, f"{mode}t", encoding="latin-1", newline=""))
    return path.open(mode, encoding="latin-1", newline="")


def _examples(stream: IO[str], form: str, delimiter: str | None) -> tuple[list[str], Iterator[str]]:
    """Give the line of names, if the format has one, and the text of each example."""
    if form == ".jsonl":
        return [], (line for line in stream if line.strip(" \t\r\n"))
    records = _records(stream, delimiter or _TABLES[form])
    return list(islice(records, 1)), records


def _records(stream: IO[str], delimiter: str) -> Iterator[str]:
    """Give each record of a table as it stands: a cell in quotes may hold line breaks."""
    taken: list[str] = []

    def remembered() -> Iterator[str]:
        for line in stream:
            taken.append(line)
            yield line

    try:
        for cells in csv.reader(remembered(), delimiter=delimiter):
            if cells:
                yield "".join(taken)
            taken.clear()
    except csv.Error as error:
        raise FileFormatError(
            f"--kept: the lines cannot be told apart: {error}. {_CURE}"
        ) from error


def _filter(records: Iterator[str], out: IO[str], source: Path, mask: BoolArray) -> None:
    count = 0
    for count, record in enumerate(records, start=1):
        if count <= len(mask) and not mask[count - 1]:
            out.write(record)
    _check_count(source, count, len(mask))


def _check_count(source: Path, count: int, n: int) -> None:
    if count != n:
        raise FileFormatError(
            f"--kept: {source} has {count} examples where {n} were read: it was changed, or its "
            f"lines are not those of a table with one encoding and delimiter. {_CURE}"
        )


def _write_parquet(part: Path, source: Path, mask: BoolArray) -> None:
    """Copy rows batch by batch, under the schema and the metadata of the source."""
    arrow = import_extra("pyarrow", "parquet", "parquet files")
    parquet: Any = import_extra("pyarrow.parquet", "parquet", "parquet files")
    with parquet.ParquetFile(source) as file:
        _check_count(source, file.metadata.num_rows, len(mask))
        with parquet.ParquetWriter(part, file.schema_arrow) as writer:
            start = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                is_kept = arrow.array(~mask[start : start + len(batch)])
                writer.write_batch(batch.filter(is_kept))
                start += len(batch)


def _write_arrays(part: Path, source: Path, mask: BoolArray) -> None:
    """Take the kept rows of every array that has one row per example; others stay whole."""
    arrays = read_npz(source, npz_names(source))
    n = len(mask)
    kept: dict[str, Any] = {
        name: array[~mask] if array.ndim and len(array) == n else array
        for name, array in arrays.items()
    }
    with part.open("wb") as stream:
        np.savez(stream, **kept)

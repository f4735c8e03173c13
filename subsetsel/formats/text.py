"""Tables of text, CSV and TSV, packed by gzip or not: pandas finds the cells, a block at a time."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.blocks import Blocks
from subsetsel.formats.data import Array
from subsetsel.formats.reading import Text
from subsetsel.support.arrays import as_text

# Cells that are held as text at a time.
_CELLS = 1 << 18


class TextTable:
    """The columns of a CSV or TSV file."""

    kind = "column"

    def __init__(self, path: Path, ending: str, text: Text, *, is_matrix: bool = False) -> None:
        self.path = str(path)
        self._text = text
        self._separator = text.separator(ending)
        with self._blocks() as blocks:
            first = [str(cell).strip() for cell in next(blocks)[0]]
            self.has_header = not (is_matrix and all(map(_is_number, first)))
            if next(blocks, None) is None and self.has_header:
                raise FileFormatError(
                    f"{path} needs a line of column names and at least one example."
                )
        self._refuse_numbered_columns(first)
        names = first if self.has_header else [f"column {c + 1}" for c in range(len(first))]
        self.names: Sequence[str] = names
        # pandas writes the index of a frame as a first column without a name.
        self.index: Sequence[str] = [""] if names[0] == "" else []

    def take(
        self, features: Sequence[str], label: str | None, identity: str | None
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Read features as float64, and labels and ids as text."""
        columns = [self.names.index(name) for name in features]
        out = Blocks(self.path)
        texts: dict[str, list[str]] = {name: [] for name in (label, identity) if name is not None}
        row = 0
        with self._blocks() as blocks:
            if self.has_header:
                next(blocks)
            for block in blocks:
                if columns:
                    out.add(self._floats(block, columns, row))
                for name, cells in texts.items():
                    cells += block[:, self.names.index(name)].tolist()
                row += len(block)
        arrays = {
            name: as_text(f"{self.path}: column {name!r}", cells) for name, cells in texts.items()
        }
        y = None if label is None else _integers(arrays[label])
        ids = None if identity is None else arrays[identity]
        return out.joined() if columns else None, y, ids

    def place(self, row: int) -> str:
        """Say in which line an example begins or ends: cells in quotes may have several."""
        line, width = self._line(row)
        if width is None or width >= len(self.names):
            return f"line {line}"
        return f"line {line}: {width} cells where the first line has {len(self.names)}"

    def _floats(self, block: Array, columns: list[int], start: int) -> Array:
        cells = block[:, columns]
        joined = "".join(cells.ravel())
        # Python takes 1_0 for 10.
        if "_" not in joined and (self._text.decimal == "." or "." not in joined):
            plain = cells if self._text.decimal == "." else _with_points(cells)
            try:
                out: Array = plain.astype(np.float64)
            except ValueError:
                pass
            else:
                if not np.isnan(out).any():
                    return out
        r, c = next(
            (r, c)
            for r in range(len(cells))
            for c in range(len(columns))
            if not _is_number(cells[r, c], self._text.decimal)
        )
        raise self._fault(start + r, columns[c], str(cells[r, c]))

    def _fault(self, row: int, column: int, cell: str) -> FileFormatError:
        """Say what is wrong with a cell, and where it is."""
        place = f"{self.path}, {self.place(row)}"
        name = self.names[column]
        if not cell.strip() or cell.strip().lower() in MISSING:
            return FileFormatError(
                f"{place}: column {name!r} has no value ({cell!r}). Fill it in, "
                f"leave the example out, or leave the column out (--drop {name})."
            )
        comma = self._text.decimal == "." and _is_number(cell, ",")
        cure = (
            "If a comma begins its decimals, say --decimal , (and --delimiter, if the cells are "
            "separated by another character)."
            if comma
            else "Columns of text cannot be features or weights: leave them out (--drop), name "
            "those of numbers (--features, --weight), or turn text into numbers first."
        )
        return FileFormatError(
            f"{place}: {cell!r} in column {column + 1}, {name!r}, is not a number. {cure}"
        )

    def _line(self, row: int) -> tuple[int, int | None]:
        """Find the line in which a row ends, and how many cells it has."""
        with open_text(Path(self.path), self._text.encoding) as stream:
            reader = csv.reader(stream, delimiter=self._separator)
            # pandas skips lines of nothing but spaces.
            rows = (cells for cells in reader if len(cells) > 1 or "".join(cells).strip())
            try:
                for number, cells in enumerate(rows, start=-1 if self.has_header else 0):
                    if number == row:
                        return reader.line_num, len(cells)
            except csv.Error:
                pass
        return row + 2, None

    def _refuse_numbered_columns(self, first: list[str]) -> None:
        if not self.has_header and len(first) > 1 and first == list(map(str, range(len(first)))):
            last = len(first) - 1
            raise FileFormatError(
                f"{self.path}: the first line is 0, 1, ... up to {last}. Those may be names, as "
                "pandas gives them to columns without, or an example. If they are names, write "
                "others that are no numbers; if it is an example, write 0.0 for 0."
            )

    @contextmanager
    def _blocks(self) -> Iterator[Iterator[Array]]:
        """Give the cells as text: the first line, then blocks of rows of the same length."""
        with open_text(Path(self.path), self._text.encoding) as stream:
            yield self._cells(stream)

    def _cells(self, stream: IO[str]) -> Iterator[Array]:
        import pandas as pd

        first = None
        try:
            reader = pd.read_csv(
                stream,
                sep=self._separator,
                header=None,
                index_col=False,
                dtype=object,
                na_filter=False,
                iterator=True,
            )
            with reader:
                first = reader.get_chunk(1)
                yield first.to_numpy(dtype=object)
                size = max(1, _CELLS // len(first.columns))
                while True:
                    try:
                        yield reader.get_chunk(size).to_numpy(dtype=object)
                    except StopIteration:
                        return
        except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
            cure = None if first is None else other_delimiter(first.to_numpy()[0])
            reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
            raise FileFormatError(
                f"{self.path} is no table: {reason.rstrip('.')}. "
                + (cure or "A cell that holds the delimiter must stand in quotes.")
            ) from error


MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"})
"""What stands for nothing, in lower case."""


def other_delimiter(names: Sequence[str]) -> str | None:
    """Say what seems to separate the cells where there is but one in the first line."""
    if len(names) != 1:
        return None
    mark = next((mark for mark in ";\t|" if mark in str(names[0])), None)
    shown = "tab" if mark == "\t" else f"'{mark}'"
    return mark and f"The cells seem to be separated by {shown}: say --delimiter {shown}."


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file of text, which gzip may have packed; name it where it cannot be read."""
    # A mark of the byte order may begin a file in UTF-8.
    name = "utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding
    is_packed = path.name.lower().endswith(".gz")
    try:
        with (
            gzip.open(path, "rt", encoding=name, newline="")
            if is_packed
            else path.open(encoding=name, newline="")
        ) as stream:
            yield cast(IO[str], stream)
    except UnicodeError as error:
        raise FileFormatError(
            f"{path} is no text in {encoding.upper()}: {error}. Name its encoding with "
            "--encoding, such as utf-16 or latin-1."
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileFormatError(
            f"{path} is no gzip file, or is damaged: {error}. Pack it again, or name it without "
            ".gz if it is not packed."
        ) from error


def _with_points(cells: Array) -> Array:
    flat = [cell.replace(",", ".") for cell in cells.ravel()]
    return np.array(flat, dtype=object).reshape(cells.shape)


def _is_number(cell: Any, decimal: str = ".") -> bool:
    text = str(cell)
    if "_" in text or (decimal == "," and "." in text):
        return False
    try:
        return not np.isnan(float(text.replace(decimal, ".")))
    except ValueError:
        return False


def _integers(labels: Array) -> Array:
    """Turn labels into integers, so that 10 sorts after 9, where no two become one by that."""
    try:
        numbers = labels.astype(np.int64)
    except (ValueError, OverflowError):
        return labels
    return numbers if np.array_equal(numbers.astype(np.str_), labels) else labels

"""JSON Lines, packed by gzip or not: one record per line, as data sets of texts are stored.

The standard library parses each line: pandas names no line where one is damaged, and takes texts
for dates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.errors import FileFormatError
from subsetsel.formats.blocks import Blocks
from subsetsel.formats.data import Array
from subsetsel.formats.text import open_text
from subsetsel.support.arrays import as_text

_BATCH = 1 << 12


class LinesTable:
    """The fields of a JSONL file."""

    kind = "field"
    index: Sequence[str] = ()

    def __init__(self, path: Path, encoding: str) -> None:
        self.path = str(path)
        self._encoding = encoding
        first = next(self._records(), None)
        if first is None:
            raise FileFormatError(f"{path} holds no example.")
        self.names: Sequence[str] = list(first[1])

    def take(
        self, features: Sequence[str], label: str | None, identity: str | None
    ) -> tuple[Array | None, Array | None, Array | None]:
        """Read fields of numbers, or lists of as many, as float64; labels and ids as they are."""
        out = Blocks(self.path)
        batch: list[list[float]] = []
        known: dict[str, list[Any]] = {name: [] for name in (label, identity) if name is not None}
        width: int | None = None
        for line, record in self._records():
            numbers: list[float] = []
            for name in features:
                try:
                    self._flatten(self._value(record, name, line), name, line, numbers)
                except RecursionError as error:
                    raise FileFormatError(
                        f"{self.path}, line {line}: field {name!r} is nested beyond reason."
                    ) from error
            if width is not None and len(numbers) != width:
                raise FileFormatError(
                    f"{self.path}, line {line}: {len(numbers)} numbers, where the first example "
                    f"has {width}."
                )
            width = len(numbers)
            for name, values in known.items():
                values.append(self._scalar(self._value(record, name, line), name, line))
            if features:
                batch.append(numbers)
                if len(batch) == max(1, _BATCH // max(1, width // 64)):
                    out.add(np.array(batch, dtype=np.float64))
                    batch = []
        if batch:
            out.add(np.array(batch, dtype=np.float64))
        arrays = {name: self._column(name, values) for name, values in known.items()}
        X = out.joined() if features else None
        y, ids = (None if name is None else arrays[name] for name in (label, identity))
        return X, y, ids

    def place(self, row: int) -> str:
        """Say in which line an example stands."""
        line = next((at for i, (at, _) in enumerate(self._records()) if i == row), row + 1)
        return f"line {line}"

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with open_text(Path(self.path), self._encoding) as stream:
            for line, text in enumerate(stream, start=1):
                if text.strip():
                    yield line, self._parsed(text, line)

    def _parsed(self, text: str, line: int) -> dict[str, Any]:
        try:
            record = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{self.path}, line {line} is no JSON: {error}.") from error
        if not isinstance(record, dict):
            raise FileFormatError(
                f"{self.path}, line {line} must hold a record such as "
                '{"y": "cat", "embedding": [0.1, 0.2]}.'
            )
        return record

    def _value(self, record: dict[str, Any], name: str, line: int) -> Any:
        value = record.get(name)
        if value is None:
            raise FileFormatError(
                f"{self.path}, line {line}: field {name!r} has no value. Fill it in, or leave the "
                "example out."
            )
        return value

    def _flatten(self, value: Any, name: str, line: int, out: list[float]) -> None:
        """Append a number, or the numbers of lists of lists."""
        if isinstance(value, list):
            for item in value:
                self._flatten(item, name, line, out)
            return
        try:
            if not isinstance(value, (int, float)) or value != value:
                raise TypeError
            out.append(float(value))
        except (TypeError, OverflowError):
            raise FileFormatError(
                f"{self.path}, line {line}: field {name!r} holds {str(value)[:40]!r}, not a "
                "number. Leave such fields out (--drop), or name those of numbers (--features, "
                "--weight)."
            ) from None

    def _scalar(self, value: Any, name: str, line: int) -> Any:
        if not isinstance(value, (str, int, float)):
            raise FileFormatError(
                f"{self.path}, line {line}: field {name!r} holds neither a number nor a text."
            )
        return value

    def _column(self, name: str, values: list[Any]) -> Array:
        kinds = {type(value) for value in values}
        if kinds == {str}:
            return as_text(f"{self.path}: field {name!r}", values)
        # NumPy would make texts of numbers beside texts, and 1 of True beside numbers.
        array = np.array(values, dtype=None if kinds <= {int, float} or len(kinds) == 1 else object)
        if array.dtype.kind not in "fiub":
            raise FileFormatError(
                f"{self.path}: field {name!r} must hold texts or numbers of 64 bits, and one kind "
                "of them; write all as texts."
            )
        return array


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("it has two fields of one name")
    return record

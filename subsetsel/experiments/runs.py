"""Finished runs on disk: one JSON line each, found again by key."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.support.files import locked, written_whole
from subsetsel.support.records import plain, write_json

Record = dict[str, Any]
Cell = TypeVar("Cell")


class RunLog:
    """The folder of one experiment.

    Parameters
    ----------
    folder : Path
        Made when the first run is added.
    about : mapping
        What all its runs have in common; a folder of other settings is refused.

    Raises
    ------
    ProblemError
        If the folder holds runs of other settings.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder, self._path = folder, folder / "runs.jsonl"
        self._settings, self._common = folder / "settings.json", plain(about)
        if self._settings.exists():
            self._compare(_read_json(self._settings))
        self._records = self._read()

    @property
    def records(self) -> list[Record]:
        """All runs, in the order in which they were finished."""
        return list(self._records.values())

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def _read(self) -> dict[str, Record]:
        records: dict[str, Record] = {}
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        for line in lines:
            # What a kill tore while it was written is passed over, and done again.
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                record = json.loads(line)
                records[record["key"]] = record
        return records

    def _compare(self, found: Mapping[str, Any]) -> None:
        common = self._common
        names = sorted(n for n in {*found, *common} if found.get(n) != common.get(n))
        unknown = [name for name in names if name not in found]
        if unknown:
            raise ProblemError(
                f"{self.folder} was begun by an earlier version, which did not write down "
                f"{', '.join(unknown)}; give another folder."
            )
        if names:
            raise ProblemError(
                f"{self.folder} holds runs of another {', '.join(names)}; give another folder."
            )

    def _begin(self) -> None:
        if not self._settings.exists():
            write_json(self._settings, self._common)

    def add(self, record: Record) -> None:
        """Write a run down; it is on the disk when this returns."""
        self._begin()
        self._records[record["key"]] = record
        has_torn_line = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("a") as stream:
            stream.write("\n" * has_torn_line + json.dumps(plain(record)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def fill(
        self,
        todo: Sequence[Cell],
        make: Callable[[Cell], Record],
        say: Callable[[str], None],
        sitting: Mapping[str, Any] | None = None,
    ) -> None:
        """Do runs one after the other, and write each down as soon as it is finished.

        Parameters
        ----------
        make : callable
            Returns the record of a run, with ``key``, ``accuracy`` and ``train_time``.
        say : callable
            Given one line per run.
        sitting : mapping, optional
            What machine, code and command the runs are of; see `add_sitting`.

        Raises
        ------
        FolderInUseError
            If another process is doing runs of this folder.
        """
        with locked(self.folder):
            if todo and sitting is not None:
                self.add_sitting(sitting)
            for number, cell in enumerate(todo, 1):
                record = make(cell)
                self.add(record)
                say(
                    f"[{number}/{len(todo)}] {record['key']}: {record['accuracy']:.2%} "
                    f"({record['train_time']:.1f} s)"
                )

    def write_csv(self) -> None:
        """Write ``results.csv`` anew, in one piece: all that is one value a run."""
        values = [(k, v) for record in self.records for k, v in record.items()]
        columns = dict.fromkeys(name for name, value in values if not isinstance(value, list))
        with (
            written_whole(self.folder / "results.csv") as part,
            part.open("w", newline="") as stream,
        ):
            writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.records)

    def add_sitting(self, sitting: Mapping[str, Any]) -> None:
        """Append to ``env.json`` what machine, code and command the following runs are of."""
        self._begin()
        path = self.folder / "env.json"
        earlier = _read_json(path).get("sittings", []) if path.exists() else []
        write_json(path, {"sittings": [*earlier, plain(sitting)]})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged: {error}; give another folder.") from error
    if not isinstance(record, dict):
        raise FileFormatError(f"{path} holds no settings; give another folder.")
    return record

"""The folder of one comparison: results.csv, traces.jsonl, env.json; and the best known values.

Every run is written as soon as it is checked, so an interrupted comparison goes on where it was.
"""

from __future__ import annotations

import contextlib
import csv
import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import COLUMNS, Key, Record

BEST_KNOWN = Path(__file__).with_name("best_known.json")


class Store:
    """Results on disk; the runs that the folder holds count as done.

    Raises
    ------
    ValueError
        If the folder holds a table without its traces, as those of ``bench/results`` do: a new run
        would overwrite it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.records = self._read()

    @property
    def done(self) -> set[Key]:
        """Keys of the runs that need no repetition; errors and skipped ones are tried again."""
        return {record.key for record in self.records if record.outcome in {"ok", "failed"}}

    def _read(self) -> list[Record]:
        path = self.folder / "traces.jsonl"
        if not path.exists():
            if (self.folder / "results.csv").exists():
                raise ValueError(
                    f"{self.folder} holds results.csv without traces.jsonl, so its runs cannot be "
                    "continued and would be overwritten; choose another --out."
                )
            return []
        records = []
        for line in path.read_text().splitlines():
            # Passed over: the last line of a run that was killed, and lines of an older format.
            with contextlib.suppress(json.JSONDecodeError, TypeError):
                found = json.loads(line)
                found["trace"] = [(float(moment), float(value)) for moment, value in found["trace"]]
                records.append(Record(**found))
        return _latest(records)

    def add(self, record: Record) -> None:
        """Keep a record, on disk at once."""
        self.records = _latest([*self.records, record])
        with (self.folder / "traces.jsonl").open("a") as stream:
            stream.write(json.dumps(asdict(record)) + "\n")
        self.write_csv()

    def write_csv(self) -> None:
        """Write results.csv anew, in one piece."""
        part = self.folder / "results.csv.part"
        with part.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(record) for record in self.records)
        part.replace(self.folder / "results.csv")

    def write_environment(self, environment: dict[str, Any]) -> str:
        """Append to env.json what machine and code the following runs are of.

        The answer is a warning if earlier runs in the folder are of another machine or other code.
        """
        path = self.folder / "env.json"
        earlier: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*earlier, environment], indent=1) + "\n")
        changed = {
            name
            for other in earlier
            for name in ("cpu", "cores", "threads", "code", "versions")
            if other.get(name) != environment.get(name)
        }
        if not (changed and self.records):
            return ""
        return f"{self.folder} holds runs of another {', '.join(sorted(changed))}; they stay."


def _latest(records: Iterable[Record]) -> list[Record]:
    """Only the last record of each key, in the order of first appearance."""
    return list({record.key: record for record in records}.values())


def read_best_known(path: Path = BEST_KNOWN) -> dict[str, dict[str, Any]]:
    """Read instance -> {"value", "norm", "found_by", "seed", "time_limit", "date", "digest"}."""
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def best_value(
    name: str, records: Iterable[Record], best_known: dict[str, dict[str, Any]]
) -> float | None:
    """Best objective known of an instance: from the file, by construction, or from these runs."""
    mine = [record for record in records if record.instance == name]
    if not mine:
        return None
    mine = [record for record in mine if record.digest == mine[-1].digest]
    entry = best_known.get(name)
    is_same_matrix = entry is not None and entry["digest"] == mine[0].digest
    values = [float(entry["value"])] if entry is not None and is_same_matrix else []
    values += [record.known_value for record in mine if record.known_value is not None]
    values += [float(r.value) for r in mine if r.outcome == "ok" and r.value is not None]
    if not values:
        return None
    return max(values) if mine[0].form == "max_size" else min(values)


def update_best_known(records: Iterable[Record], path: Path = BEST_KNOWN) -> list[str]:
    """Enter what is better than the file says, and name the instances that have changed."""
    best_known = read_best_known(path)
    changed = []
    for record in records:
        if record.outcome != "ok" or record.value is None:
            continue
        entry = best_known.get(record.instance)
        sign = 1 if record.form == "max_size" else -1
        is_same_matrix = entry is not None and entry["digest"] == record.digest
        if entry is not None and is_same_matrix and sign * record.value <= sign * entry["value"]:
            continue
        best_known[record.instance] = {
            "value": record.value,
            "norm": record.norm,
            "found_by": record.solver,
            "seed": record.seed,
            "time_limit": record.time_limit,
            "date": time.strftime("%Y-%m-%d"),
            "digest": record.digest,
        }
        changed.append(record.instance)
    path.write_text(json.dumps(dict(sorted(best_known.items())), indent=1) + "\n")
    return sorted(set(changed))

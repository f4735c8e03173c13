"""`bench/overshoot.py`: what ends late, and what does not end at all, has its row."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import overshoot

_GIVEN = Namespace(limits=[1.0, 2.0], threads=1, patience=0.0)


def stand_in(code: str) -> Any:
    """A measured process that does as it is told."""

    @contextmanager
    def start(*_: Any) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [sys.executable, "-c", f"print('ready', flush=True); {code}"],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    return start


def test_a_call_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row says so, and the next limit gets a process of its own."""
    given = Namespace(limits=[0.0, 0.0], threads=1, patience=0.0)
    monkeypatch.setattr(overshoot, "start", stand_in("import time; time.sleep(600)"))
    rows: list[dict[str, Any]] = list(overshoot.measure(given, "eq3", "greedy"))
    assert [row["status"] for row in rows] == ["killed", "killed"]


def test_a_crash_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends without a line was not killed for being late."""
    monkeypatch.setattr(overshoot, "start", stand_in("raise SystemExit(1)"))
    rows = list(overshoot.measure(_GIVEN, "eq3", "greedy"))
    assert [row["status"] for row in rows] == ["crashed", "crashed"]
    assert [row["over"] for row in rows] == ["", ""]


def test_a_process_that_answers_is_asked_for_every_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One process, one row for each limit, in the columns of the table."""
    early, late = '{"over": 0.1, "late": 0.0}', '{"over": 9.0, "late": 8.4}'
    code = f"print({early!r}); print({late!r})"
    monkeypatch.setattr(overshoot, "start", stand_in(code))
    rows = [overshoot.completed(row) for row in overshoot.measure(_GIVEN, "eq3", "greedy")]
    assert [(row["time_limit"], row["over"], row["late"]) for row in rows] == [
        (1.0, 0.1, 0.0),
        (2.0, 9.0, 8.4),
    ]
    assert "LATE" in overshoot.readable(rows[1])
    assert "LATE" not in overshoot.readable(rows[0])

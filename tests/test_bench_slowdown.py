"""What slowdown.py makes of seconds, and how it runs a checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import slowdown
import slowdown_jobs

ABOUT = {"cpu": "a processor", "cores": 2, "date": "today", "commit": "0123456789"}
JOB = next(iter(slowdown_jobs.JOBS))


def line_of(**seconds: float | None) -> str:
    """Give the table's line for one job, whose seconds are named by their setting."""
    rows: list[dict[str, Any]] = [
        {"version": "new", "condition": "alone", "job": JOB, "setting": setting, "seconds": value}
        for setting, value in seconds.items()
    ]
    return slowdown.as_table(rows, ABOUT, 40.0).splitlines()[-1]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"default": 3.0, "1 thread": 2.0, "2 threads": 4.0}, "3.00 | 2.00 | 4.00 | 1.50 |"),
        ({"default": None, "1 thread": 2.0, "2 threads": None}, "> 40 | 2.00 | > 40 | > 20.0 |"),
        ({"default": 3.0, "1 thread": 3.0}, "3.00 | 3.00 |  | 1.00 |"),
    ],
)
def test_default_settings_are_compared_with_the_best(
    seconds: dict[str, float | None], expected: str
) -> None:
    """Where a job was given up, the table says more than what."""
    assert line_of(**seconds) == f"| {JOB} | alone | new | {expected}"


def test_a_checkout_is_copied_as_it_is_installed(tmp_path: Path) -> None:
    """The solvers lie in the package."""
    for name in ("subsetsel", "solvers"):
        (tmp_path / "checkout" / name).mkdir(parents=True)
        (tmp_path / "checkout" / name / "__init__.py").touch()
    folder = slowdown.installed(tmp_path / "checkout", tmp_path / "copy")
    assert (folder / "subsetsel" / "solvers" / "__init__.py").exists()


def test_the_variables_of_the_libraries_are_set_or_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """With default settings nothing says how many threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in slowdown._variables(None)
    assert slowdown._variables(2)["OMP_NUM_THREADS"] == "2"

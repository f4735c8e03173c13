"""How the guarantee of two versions is measured: rows, turns, the table."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import guarantee
import version_worker
from data import Features
from versions import WorkerLostError


def blobs(n: int) -> Features:
    """Three overlapping classes, the last third held out."""
    X = np.random.default_rng(0).normal(size=(n, 3))
    y = (X + 0.5 * np.random.default_rng(1).normal(size=X.shape)).argmax(axis=1)
    cut = 2 * n // 3
    return Features(X[:cut], y[:cut], X[cut:], y[cut:])


def row_of(version: str, pruned: int, **more: Any) -> dict[str, Any]:
    """What is asked, and how many are pruned."""
    return {
        "data": "blobs",
        "l2": 1e-3,
        "rel_epsilon": 0.01,
        "version": version,
        "time_limit": None,
        "clock": "wall",
        "pruned": pruned,
        "share": pruned / 100,
        "seconds": 1.0,
        **more,
    }


def test_measured_subset_is_verified_and_moves_less_than_random_ones() -> None:
    """Features on the disk are pruned; n, d and the random subsets belong to them."""
    with guarantee.on_disk(blobs(180)) as path:
        job = {"path": path, "l2": 1e-2, "rel_epsilon": 0.05, "time_limit": None}
        row = guarantee.measure({**job, "num_random": 3})
    assert row["is_verified"]
    assert (row["n"], row["d"]) == (120, 8)
    assert row["pruned"] > 0
    assert row["random_change"] > row["change"]


def test_search_is_asked_for_what_it_predicted_of_the_answer() -> None:
    """Of the points with its size, the one that moved as far; nan where a version is silent."""
    check: Any = SimpleNamespace(num_pruned=5, change=0.2)
    curve = [
        {"m": 5, "change": 0.9, "predicted_searched": 1.0},
        {"m": 5, "change": 0.2, "predicted_searched": 2.0},
        {"m": 6, "change": 0.2, "predicted_searched": 3.0},
    ]
    assert guarantee.searched(curve, check) == 2.0
    assert np.isnan(guarantee.searched([{"m": 5, "change": 0.2}], check))
    assert np.isnan(guarantee.searched([], check))


class Clerk:
    """In the place of a worker: notes who is asked, or is lost."""

    def __init__(self, name: str, asked: list[str], is_lost: bool = False) -> None:
        self.version = SimpleNamespace(name=name, code=name)
        self.asked, self.is_lost = asked, is_lost

    def ask(self, job: dict[str, Any], patience: float) -> dict[str, Any]:
        """Answer at once."""
        assert Path(job["path"]).exists()
        self.asked.append(self.version.name)
        if self.is_lost:
            raise WorkerLostError("gone")
        return {"pruned": 1, "num_random": job["num_random"]}


def rows_of(*names: str, lost: str = "") -> tuple[list[dict[str, Any]], list[str]]:
    """Ask three questions of some versions."""
    asked: list[str] = []
    workers: Any = {name: Clerk(name, asked, is_lost=name == lost) for name in names}
    given = guarantee.parse_arguments(["--l2", "1e-3", "1e-4", "1e-5", "--rel-epsilon", "0.01"])
    return list(guarantee.ask_all(given, {"blobs": blobs(9)}, workers)), asked


def test_versions_take_turns_in_beginning() -> None:
    """Who is first changes from question to question; random subsets are refitted once."""
    rows, asked = rows_of("old", "new")
    assert asked == ["new", "old", "old", "new", "new", "old"]
    assert [row["l2"] for row in rows] == [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    assert {row["version"]: row["num_random"] for row in rows} == {"new": 5, "old": 0}


def test_a_lost_version_does_not_end_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The other one goes on, and the question is named."""
    rows, asked = rows_of("old", "new", lost="old")
    assert len(asked) == 6
    assert [row["version"] for row in rows] == ["new"] * 3
    assert "blobs l2 0.0001 1.0% old: gone" in capsys.readouterr().out


def test_rows_measured_again_replace_the_earlier_ones(tmp_path: Path) -> None:
    """Those of other questions, versions and limits stay; another layout is refused."""
    guarantee.write([row_of("old", 1), row_of("new", 2)], tmp_path)
    guarantee.write([row_of("new", 3)], tmp_path)
    guarantee.write([row_of("new", 4, time_limit=9.0)], tmp_path)
    lines = (tmp_path / "results.csv").read_text().splitlines()[1:]
    assert [line.split(",")[6] for line in lines] == ["1", "3", "4"]
    with pytest.raises(ValueError, match="other columns; choose another --out"):
        guarantee.write([row_of("new", 3, more=1)], tmp_path)


def test_fewer_verified_than_before_is_named() -> None:
    """Where the new version has less, the summary says so; alone, there is nothing to say."""
    text = guarantee.summary([row_of("old", 7), row_of("new", 5)])
    assert "old   7.00%" in text
    assert text.splitlines()[-1].startswith("new verifies fewer: blobs")
    assert guarantee.summary([row_of("old", 7), row_of("new", 8)]).endswith("fewer: nowhere")
    assert guarantee.summary([row_of("new", 5)]) == ""


def test_an_answer_without_any_numbers_can_be_told() -> None:
    """Where time ends before the head is trained, epsilon and accuracy are not known."""
    with guarantee.on_disk(blobs(180)) as path:
        job = {"path": path, "l2": 1e-2, "rel_epsilon": 0.05, "time_limit": 1e-9, "num_random": 3}
        row = guarantee.measure(job)
    assert row["pruned"] == 0
    line = guarantee.told({**row_of("new", 0), **row})
    assert "0 of 120 pruned" in line
    assert "random" not in line


def test_worker_prunes_the_features_it_is_sent() -> None:
    """The process of a version answers with the row, warm or not."""
    with guarantee.on_disk(blobs(90)) as path:
        job = {"entrant": "prune", "path": path, "l2": 1e-2, "rel_epsilon": 0.05}
        desk = version_worker.Desk()
        rows = [desk.answer({**job, "time_limit": None, "num_random": 0}) for _ in range(2)]
    assert rows[0]["pruned"] == rows[1]["pruned"] > 0
    assert np.isnan(rows[0]["random_change"])

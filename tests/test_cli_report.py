"""`subsetsel report` and `demo`: one page about a run."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import call, refused

from subsetsel import Solution
from subsetsel.report.manifest import Manifest


def test_report_shows_curve_and_examples(data: Path, tmp_path: Path) -> None:
    """With the data at hand, other shares are refitted and the examples shown."""
    quick = ("--l2", 1e-2, "--size", 30, "--solver", "greedy", "--out", tmp_path / "pruned.npz")
    call("prune", data, *quick)
    manifest = tmp_path / "pruned.manifest.json"
    shown = ("--data", data, "--image-shape", "2x2", "--curve", "--json")
    record = json.loads(call("report", manifest, *shown).stdout)
    assert [point["is_chosen"] for point in record["points"]].count(True) == 1
    page = (tmp_path / "pruned.manifest.html").read_text()
    assert "30 of 120 examples pruned" in page
    assert page.count("data:image/svg+xml;base64,") >= 3
    assert "random subsets move the head" in page
    assert page.count("data:image/png;base64,") == 3 * 16


def test_report_shows_texts_and_writes_to_standard_output(data: Path, tmp_path: Path) -> None:
    """A table with a column `text`, in the order of the data."""
    Solution(np.arange(120) < 40, norm=0.0, status="feasible").save(tmp_path / "p.npz")
    manifest = tmp_path / "p.json"
    ids = np.array([f"image-{i}" for i in range(120)])
    Manifest.of(
        Solution.load(tmp_path / "p.npz"), command="prune", settings={}, inputs={}, ids=ids
    ).write(manifest)
    lines = ["text", *(f"this is number {i}" for i in range(120))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    page = call("report", manifest, "--data", data, "--examples", tmp_path / "t.csv", "--out", "-")
    assert "this is number" in page.stdout
    assert page.stdout.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--curve"], "need the examples: --data"),
        (["--data", "{data}", "--image-shape", "3x3"], "9 numbers, and an example has 4"),
        (["--data", "{data}", "--image-shape", "four"], "must look like 28x28"),
        (["--data", "{data}", "--examples", "{data}", "--image-shape", "2x2"], "not both"),
        (["--data", "{data}", "--examples", "{few}"], "shows 2 examples, the data hold 120"),
        (["--out", "page.pdf"], "must name an .html file"),
    ],
)
def test_bad_reports_are_one_clear_line(
    arguments: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    """Exit code 2 before anything is computed."""
    few, manifest = tmp_path / "few.npy", tmp_path / "m.json"
    np.save(few, np.zeros((2, 4, 4)))
    ids = np.array([f"image-{i}" for i in range(120)])
    solution = Solution(np.arange(120) < 40, norm=0.0, status="feasible")
    Manifest.of(solution, command="prune", settings={}, inputs={}, ids=ids).write(manifest)
    words = [word.format(data=data, few=few) for word in arguments]
    assert message in refused("report", manifest, *words)


@pytest.mark.slow
def test_the_demo_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten lines, four files, and the head moves three times less than at random or better.

    Three of the ten classes are enough to show it.
    """
    sklearn = pytest.importorskip("sklearn.datasets")
    monkeypatch.setattr(sklearn, "load_digits", partial(sklearn.load_digits, n_class=3))
    monkeypatch.setattr("subsetsel.cli.demo.NUM_TEST", 137)
    folder = tmp_path / "demo"
    result = call("demo", "--folder", folder)
    assert len(result.stdout.splitlines()) == 10
    assert {path.name for path in folder.iterdir()} == {
        "pruned.npz",
        "pruned.manifest.json",
        "demo.png",
        "report.html",
    }
    (ratio,) = re.findall(r"([\d.]+) times as far", result.stdout)
    assert float(ratio) > 3
    ((reach, epsilon),) = re.findall(r"verified: ([\d.]+) <= ([\d.]+)", result.stdout)
    assert float(reach) <= float(epsilon)

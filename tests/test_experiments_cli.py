"""`subsetsel compare` and `bench/reproduce.py`: the commands around the comparisons."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import reproduce

from subsetsel.cli.app import app
from subsetsel.experiments.methods import METHODS
from subsetsel.experiments.networks import first_networks


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixty stripes in three classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    stripes = rng.integers(0, 90, (60, 8, 8), dtype=np.uint8)
    for row, label in enumerate(labels):
        stripes[row, 2 * label : 2 * label + 2] += 100
    path = tmp_path / "stripes.npz"
    np.savez(path, train=stripes, train_labels=labels, test=stripes, test_labels=labels)
    return path


def call(*arguments: Any, code: int = 0) -> Any:
    """Run a command of the command line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def short(pictures: Path, out: Path) -> list[Any]:
    """A comparison of seconds."""
    run = ["compare", pictures, "--kept", "12,24", "--methods", "random,joint", "--out", out]
    return [*run, "--seeds", 2, "--network", "strided", "--scorer-epochs", 1, "--epochs", 2]


def test_compare_writes_table_csv_and_picture(pictures: Path, tmp_path: Path) -> None:
    """And says the cost first; a second call finds everything done."""
    out = tmp_path / "runs"
    result = call(*short(pictures, out))
    assert "8 trainings to do" in result.stderr
    assert "estimated cost" in result.stderr
    assert "strided, 12 kept" in result.stdout
    names = {path.name for path in out.iterdir()}
    assert {"table.md", "results.csv", "figure.png", "env.json", "runs.jsonl"} <= names
    again = call(*short(pictures, out), "--json")
    assert "0 trainings to do" in again.stderr
    assert len(json.loads(again.stdout)["runs"]) == 8


def test_a_dry_run_trains_and_writes_nothing(pictures: Path, tmp_path: Path) -> None:
    """Only the cost."""
    out = tmp_path / "runs"
    assert "estimated cost" in call(*short(pictures, out), "--dry-run").stderr
    assert not out.exists()


def test_bad_commands_are_one_line(pictures: Path, tmp_path: Path) -> None:
    """Exit code 2, with what is wrong."""
    run = ["compare", pictures, "--out", tmp_path / "runs", "--kept"]
    assert "--epochs or --iterations" in call(*run, "12", code=2).stderr
    assert "must be integers" in call(*run, "many", "--epochs", 1, code=2).stderr
    assert "no folder" in call("compare", tmp_path / "x", *run[2:], 9, "--epochs", 1, code=2).stderr


def test_methods_are_listed() -> None:
    """Without any data."""
    assert call("compare", "--list-methods").stdout.split() == ["whole", *METHODS]


def test_reproduce_knows_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """Figure 2 is another script; a preset that there is not is a bad command."""
    assert reproduce.main(["fig2"]) == 0
    assert "theory_check.py" in capsys.readouterr().out
    assert reproduce.main(["fmnist-lenet", "--preset", "paper"]) == 2
    assert "no preset 'paper'" in capsys.readouterr().err
    assert reproduce.main(["table1", "--archs", "721"]) == 2
    assert "there are 720 networks, 721 were asked for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"), [("3", (0, 1, 2)), ("10-12", (10, 11, 12)), ("4,7", (4, 7))]
)
def test_seeds_are_a_count_a_range_or_a_list(text: str, expected: tuple[int, ...]) -> None:
    """Fresh seeds confirm what others chose."""
    assert reproduce.seeds(text) == expected


@pytest.mark.parametrize("text", ["9-3", "0", "some"])
def test_no_seeds_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A range that runs backwards is not taken for all seeds."""
    with pytest.raises(SystemExit):
        reproduce.parse(["validity", "--seeds", text])
    assert "--seeds" in capsys.readouterr().err


def test_networks_are_names_or_the_first_of_the_search_space() -> None:
    """``--archs 24`` is a fixed mixture of the 720."""
    assert reproduce.networks("24") == first_networks(24)
    assert reproduce.networks("lenet,strided") == ("lenet", "strided")


def test_reproduce_runs_a_figure_at_a_tiny_size(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code path of the paper's size, from command to files; the search too."""
    monkeypatch.setattr(reproduce, "find_folder", lambda *_: pictures)
    common = ["--preset", "cpu", "--device", "cpu"]
    out = str(tmp_path / "fig4")
    few = ["--seeds", "1", "--kept", "12", "--networks", "strided", "--methods", "random,joint"]
    assert reproduce.main(["fig4", *common, *few, "--out", out]) == 0
    assert (tmp_path / "fig4" / "figure.png").exists()
    few = ["--archs", "2", "--kept", "12"]
    dry = ["table1", *common, *few, "--out", str(tmp_path / "search"), "--dry-run"]
    assert reproduce.main(dry) == 0
    assert not (tmp_path / "search").exists()

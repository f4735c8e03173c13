"""What networks learn from what is kept: which cells, who shares what, and how it is summed up."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import select_made
import select_networks
import select_report
import select_training
from select_settings import (
    FIXED,
    HERDING,
    JOINT,
    KEPT_HESSIAN,
    OTHER_DATA,
    REFEREE,
    SEARCH,
    Cell,
    search_of,
)
from select_settings import SETTINGS as ALL

import subsetsel
from subsetsel.experiments.images import Images
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.training import PictureTraining
from subsetsel.selection.composition import random_rule

SHORT = Recipe(epochs=None, iterations=10, batch_size=8, lr=0.05, padding=0)
SMALL = replace(
    ALL["fmnist"],
    network="strided",
    recipe=SHORT,
    scorer_recipe=Recipe(epochs=1, batch_size=16, lr=0.05, padding=0),
    num_kept=(30,),
    seeds=(100, 101),
)


def made_pictures(n: int = 120) -> Images:
    """Three classes told apart by their brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % 3
    pictures = rng.integers(0, 60, (n, 8, 8), dtype=np.uint8) + (60 * labels)[:, None, None]
    stored = pictures.astype(np.uint8)
    return Images(stored, labels, stored, labels)


def found_cut(_num_kept: int, number: int) -> dict[str, Any]:
    """Two searches with different answers."""
    composition = {**FIXED[OTHER_DATA].record(), "hard_cut": 0.2 + 0.1 * number}
    return {"stats": {"composition": composition}}


def run_of(method: str, seed: int, accuracy: float, num_kept: int = 500) -> dict[str, Any]:
    """A finished training."""
    return {"method": method, "seed": seed, "accuracy": accuracy, "num_kept": num_kept}


def test_every_training_is_asked_for_once() -> None:
    """Five sizes, twenty seeds, five methods, and two searches a size."""
    found = list(select_training.cells(ALL["fmnist"]))
    assert len({cell.key for cell in found}) == len(found) == 5 * (20 * 5 + 2)


def test_search_comes_before_the_seeds_that_it_serves() -> None:
    """What it found is trained on."""
    setting, searched = ALL["fmnist"], set()
    for cell in select_training.cells(setting):
        if cell.method == SEARCH:
            searched.add((cell.num_kept, cell.seed))
        else:
            assert (cell.num_kept, search_of(setting, cell.seed)) in searched


def test_nothing_is_searched_where_the_referee_is_not_asked_for() -> None:
    """Fixed rules need no search, which is what costs most."""
    fixed = replace(ALL["fmnist"], methods=("random",))
    assert SEARCH not in {cell.method for cell in select_training.cells(fixed)}


def test_searches_serve_equal_parts_of_the_seeds() -> None:
    """Search 0 the first ten, search 1 the last ten."""
    setting = ALL["fmnist"]
    assert [search_of(setting, s) for s in setting.seeds] == [0] * 10 + [1] * 10


def test_two_processes_share_the_work_by_the_search() -> None:
    """Neither does what the other does, and nothing is left out."""
    parts = [list(select_training.cells(ALL["fmnist"], number)) for number in (0, 1)]
    assert parts[0] + parts[1] == list(select_training.cells(ALL["fmnist"]))


def test_referee_keeps_what_its_search_found(tmp_path: Path) -> None:
    """Each half of the seeds has the composition of its own search."""
    bench = select_networks.FromScratch(SMALL, made_pictures(), tmp_path, found_cut)
    cuts = [bench.make(Cell(30, REFEREE, seed))["composition"]["hard_cut"] for seed in (100, 101)]
    assert cuts == pytest.approx([0.2, 0.3])


def test_random_that_came_back_is_random(tmp_path: Path) -> None:
    """The very same examples, parameters and batches, so that the difference is zero."""
    random = {
        "stats": {"composition": {**FIXED[OTHER_DATA].record(), "hard_cut": 0, "evenness": 0}}
    }
    bench = select_networks.FromScratch(SMALL, made_pictures(), tmp_path, lambda *_: random)
    referee, plain = (bench.make(Cell(30, method, 100)) for method in (REFEREE, "random"))
    assert referee["accuracy"] == plain["accuracy"]
    assert referee["composition"] == plain["composition"]


def test_search_sees_no_test_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is given to train and to judge are training pictures alone."""
    pytest.importorskip("optuna")
    bench = select_networks.FromScratch(SMALL, made_pictures(), tmp_path, found_cut)
    bench._source.scorer(0)
    seen = []
    real = PictureTraining.__call__

    def watched(self: Any, kept: Any, held_out: Any, seed: int) -> float:
        seen.append((self.pictures is bench.pictures, len(np.intersect1d(kept, held_out))))
        return real(self, kept, held_out, seed)

    monkeypatch.setattr(PictureTraining, "__call__", watched)
    record = bench.make(Cell(30, SEARCH, 0))
    assert set(seen) == {(True, 0)}
    assert record["stats"]["num_trainings"] == len(seen)
    assert record["message"]


@pytest.mark.parametrize("method", [*ALL["warm"].methods, KEPT_HESSIAN])
def test_methods_near_theta_keep_as_many_as_asked(method: str, tmp_path: Path) -> None:
    """The network that goes on is a copy: what a method does with it is not seen by the next."""
    setting = replace(SMALL, first_recipe=SHORT, methods=(method,))
    bench = select_networks.NearTheta(setting, made_pictures(), tmp_path, found_cut)
    cell = Cell(30, method, 100)
    first, again = bench.make(cell), bench.make(cell)
    assert first["accuracy"] == again["accuracy"]
    composition = bench._composition(cell)
    kept = bench._keep(cell, composition)
    assert len(np.unique(kept)) == 30
    assert (composition is None) == (method in {HERDING, KEPT_HESSIAN})


def test_joint_choice_near_theta_is_of_the_networks_own_features(tmp_path: Path) -> None:
    """Its norm is smaller than that of a draw, in the space of these features."""
    setting = replace(SMALL, first_recipe=SHORT)
    bench = select_networks.NearTheta(setting, made_pictures(), tmp_path, found_cut)
    problem = bench._of(100)[0].chooser.problem
    assert problem is not None
    norms = []
    for method in (JOINT, "random"):
        cell = Cell(30, method, 100)
        pruned = np.ones(120, dtype=np.bool_)
        pruned[bench._keep(cell, bench._composition(cell))] = False
        norms.append(problem.norm(pruned))
    assert norms[0] < 0.5 * norms[1]


def test_random_that_came_back_in_the_made_task_is_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same fresh draws: nothing is left to luck."""
    answer = SimpleNamespace(
        stats={"rule": "random", "composition": {}, "is_confirmed": False}, message=""
    )
    answer.stats["composition"] = random_rule("noise").record()
    monkeypatch.setattr(subsetsel, "select_for_training", lambda *_, **__: answer)
    run = select_made.made_run(60, 0)
    assert run["values"] == run["random"]
    assert len(set(run["values"])) == select_made.NUM_PAIRS
    assert (run["difference"], run["interval"]) == (0, [0, 0])


def test_made_difficulty_says_nothing_of_the_examples() -> None:
    """Neither of their class nor of where they lie."""
    X, y = select_made.made_task(select_made.NUM_TRAIN, 0)
    noise = select_made.made_difficulty(0)
    for column in (y, *X.T):
        assert abs(np.corrcoef(noise, column)[0, 1]) < 0.06


def test_table_holds_whole_seeds_alone() -> None:
    """A seed that not every method has is left out of all means."""
    runs = [run_of("random", s, 0.5) for s in (100, 101)]
    runs += [run_of("strata", s, v) for s, v in ((100, 0.6), (101, 0.6), (102, 0.1))]
    (line,) = [one for one in _table(runs) if one.startswith("| **strata**")]
    assert line.startswith("| **strata** | 60.00 | 0.00 | +10.00 (+10.00 to +10.00)")


def test_losses_to_fixed_rules_are_told() -> None:
    """By how much, and whether surely."""
    runs = [run_of("strata", s, 0.6 + 0.001 * s) for s in (100, 101, 102)]
    runs += [run_of(REFEREE, s, 0.5 + 0.0011 * s) for s in (100, 101, 102)]
    runs += [run_of("random", s, 0.5) for s in (100, 101, 102)]
    (loss,) = select_report.told_losses(select_report.by_size(runs)[500], 500)
    assert loss.startswith("- 500 kept: strata is ahead of the referee by 8.9")
    assert loss.endswith(", surely")


def test_what_is_chosen_jointly_is_no_fixed_rule() -> None:
    """The best of the fixed rules is what the others are measured against."""
    runs = [run_of("random", 100, 0.5), run_of(JOINT, 100, 0.9), run_of(REFEREE, 100, 0.8)]
    assert select_report.best_fixed(select_report.by_size(runs)[500]) == "random"


def test_report_writes_table_picture_and_summary(tmp_path: Path) -> None:
    """Of what is there; a line that a killed run left half written is passed over."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "fmnist"
    folder.mkdir()
    runs = [
        {**run_of(method, seed, 0.5, k), "key": f"{k} {method} {seed}"}
        for k in (500, 1000)
        for method in ("random", "strata")
        for seed in (100, 101)
    ]
    lines = [json.dumps(run) for run in runs]
    (folder / "runs.jsonl").write_text("\n".join(lines) + '\n{"key": "torn')
    text = select_report.write_report(ALL["fmnist"], folder)
    assert "### 1,000 kept" in text
    assert (folder / "table.md").read_text() == text
    assert text in (tmp_path / "summary.txt").read_text()
    assert (folder / "accuracy.png").stat().st_size > 0


def test_same_command_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is done is not done again, and other settings are refused their folder."""
    calls = []

    def made_run(num_kept: int, seed: int) -> dict[str, Any]:
        calls.append(seed)
        same = {"values": [0.5], "random": [0.5], "difference": 0.0, "interval": [0.0, 0.0]}
        return {"accuracy": 0.5, "train_time": 0.0, "rule": "random", **same}

    monkeypatch.setattr(select_training, "made_run", made_run)
    for seeds in (["0", "1"], ["0", "1", "2"]):
        assert select_training.main(["made", "--seeds", *seeds, "--out", str(tmp_path)]) == 0
    assert calls == [0, 1, 2]
    assert "random came back in 3 of 3 runs" in capsys.readouterr().out


def _table(runs: list[dict[str, Any]]) -> list[str]:
    return select_report.rows_of(select_report.by_size(runs)[500])

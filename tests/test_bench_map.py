"""The map: which trainings, differences with Holm's correction, searches made once, its faults."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import map_faults
import map_report
import map_run
import map_study
import map_validity
import reproduce
import select_networks
from map_study import EVERYTHING, RANDOM, Asked, Cell, Metric, Study
from select_settings import REFEREE

import subsetsel
from subsetsel.errors import OptionError
from subsetsel.experiments.runs import RunLog
from subsetsel.selection.composition import Composition

_FOUND = Composition("el2n", hard_cut=0.25)


class Made(Study):
    """Two cases of numbers: `good` is ahead of random by a point, `bad` behind by two."""

    name, title, about, num_examples = "made", "A made study", "Numbers, no networks.", 50
    asked = Asked(
        ("one", "two"), (EVERYTHING, RANDOM, "good", "bad", REFEREE), (10, 20), (0, 1, 2, 3)
    )
    metrics: ClassVar[dict[str, Metric]] = {"loss": Metric("test loss")}
    num_searches = 0

    def train(self, cell: Cell) -> dict[str, Any]:
        """Random moves with the seed, the others beside it."""
        points = {"good": 1.0, "bad": -2.0, REFEREE: 0.5, EVERYTHING: 9.0}.get(cell.method, 0.0)
        wobble = 0.001 * ((7 * cell.seed + len(cell.method)) % 3)
        return {"accuracy": 0.5 + 0.01 * (cell.seed + points) + wobble, "loss": 1.0}

    def search(self, case: str, num_kept: int) -> dict[str, Any]:
        """Count the searches."""
        self.num_searches += 1
        about = {"rule": "searched", "composition": _FOUND.record(), "num_trainings": 3}
        return {"accuracy": 0.5, **about}

    def costs(self, todo: Any, searches: Any) -> dict[str, float]:
        """A second a training, ten a search."""
        return {"trainings": len(todo), "searches": 10.0 * len(searches)}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A study in which everything was done."""
    study = Made(RunLog(tmp_path, {}), None, tmp_path)
    study.log.fill(list(map_study.cells(study.asked, 50)), study.make, lambda _: None)
    return study


def test_what_nobody_doubts_is_marked(made: Made) -> None:
    """A point ahead on every seed is in bold, two behind in italics; random has no mark."""
    text = "\n".join(map_report.overview(map_report.Results(made, made.log.records)))
    assert "**+1.0**" in text
    assert "*-2.0*" in text
    beside = map_report.beside_random(map_report.Results(made, made.log.records).values("one", 10))
    assert set(beside) == {"good", "bad", REFEREE}
    assert beside["good"].sign == 1
    assert beside["bad"].sign == -1


def test_two_seeds_are_never_sure() -> None:
    """Two equal differences, which small test sets give by chance, are marked from three on.

    Mutation: p is taken as it comes: 0.
    """
    for seeds, sign in ((2, 0), (3, 1)):
        random = {seed: 0.5 + 0.01 * seed for seed in range(seeds)}
        ahead = {seed: value + 0.02 for seed, value in random.items()}
        assert map_report.beside_random({RANDOM: random, "good": ahead})["good"].sign == sign


def test_a_method_of_fewer_seeds_says_how_many_and_takes_none_from_others(made: Made) -> None:
    """It is compared with random over the seeds that both have.

    Mutation: all methods are cut to the seeds that all have: no cell of three seeds.
    """
    lost = Cell("one", 10, "good", 3).key
    records = [one for one in made.log.records if one["key"] != lost]
    results = map_report.Results(made, records)
    text = "\n".join(map_report.overview(results))
    assert text.count("**+1.0** (3 seeds)") == 1
    assert len(results.values("one", 10)["bad"]) == 4


def test_ctrl_c_in_a_search_leaves_no_search_behind(tmp_path: Path) -> None:
    """The best so far of a search that was cut short is not written down as what it found.

    Mutation: `searched` takes any answer: the record is there.
    """

    class Stopped(Made):
        def search(self, case: str, num_kept: int) -> dict[str, Any]:
            calls = list[int]()

            def train(kept: Any, held_out: Any, seed: int) -> float:
                calls.append(seed)
                if len(calls) == 4:
                    raise KeyboardInterrupt
                return float(len(calls))

            rng = np.random.default_rng(0)
            return map_validity.searched(
                subsetsel.select_for_training(
                    train, difficulty=rng.random(100), labels=np.arange(100) % 2, num_kept=20
                )
            )

    study = Stopped(RunLog(tmp_path, {}), None, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        study.make(Cell("one", 10, REFEREE, 0))
    assert not study.log.records


def test_ctrl_c_in_a_median_choice_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best so far of the solver is not kept."""
    stopped = SimpleNamespace(limit="interrupted", kept=np.arange(5))
    monkeypatch.setattr(subsetsel, "solve", lambda *_, **__: stopped)
    trained: Any = SimpleNamespace(features=np.eye(20), labels=np.arange(20) % 2)
    with pytest.raises(KeyboardInterrupt):
        map_faults.by_median(trained, 10, 0)


def test_score_of_a_search_is_that_of_the_composition_that_came_back() -> None:
    """Two finalists may bear one name; random's score is that beside the first of them."""
    found = [
        {"composition": {"hard_cut": cut}, "rule": "searched", "values": [cut], "random": [0.0]}
        for cut in (0.1, 0.2)
    ]
    for composition, score in (({"hard_cut": 0.2}, 0.2), ({"hard_cut": 0.0}, 0.0)):
        stats = {"composition": composition, "rule": "searched", "confirmation": found}
        assert select_networks.confirmed_score(stats) == score
    assert np.isnan(select_networks.confirmed_score({"composition": {}, "confirmation": []}))


@pytest.mark.parametrize("option", ["--lr=0.1", "--preset=gpu", "--device=cuda"])
def test_options_of_the_figures_are_refused_by_the_map(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would change nothing; the message names the option."""
    assert reproduce.main(["validity", option]) == 2
    assert f"{option.partition('=')[0]} belongs to the figures" in capsys.readouterr().err


def test_equal_values_are_no_difference() -> None:
    """Two methods with the same values differ by nothing, with p = 1."""
    same = {0: 0.5, 1: 0.6, 2: 0.7}
    beside = map_report.beside_random({RANDOM: same, "other": dict(same)})["other"]
    assert (beside.mean, beside.p, beside.sign) == (0.0, 1.0, 0)


def test_a_search_is_made_once_for_each_case_and_budget(made: Made) -> None:
    """Seeds share what the referee found, also after the command was stopped and called again.

    Mutation: the record of a search is not looked up: eight searches more.
    """
    assert made.num_searches == 4
    again = Made(RunLog(made.log.folder, {}), None, made.log.folder)
    again.make(Cell("one", 10, REFEREE, 9))
    assert again.num_searches == 0
    assert again.found("one", 10) == _FOUND


def test_everything_is_trained_once_for_each_case_and_seed(made: Made) -> None:
    """It has one budget, all there is, and stands in the tables of every budget."""
    keys = [cell.key for cell in map_study.cells(made.asked, 50) if cell.method == EVERYTHING]
    assert len(keys) == 8
    results = map_report.Results(made, made.log.records)
    assert results.num_kept == [10, 20]
    assert EVERYTHING in results.runs("two", 20)


def test_cost_counts_the_searches_that_are_missing(made: Made) -> None:
    """Searches that are there cost nothing."""
    todo = [Cell("one", 10, REFEREE, 9), Cell("new", 10, REFEREE, 9), Cell("new", 10, REFEREE, 8)]
    assert map_study.cost(made, todo).seconds == 3 + 10


def test_page_and_picture_are_written(made: Made) -> None:
    """Every case, budget and method has its row; the picture is there."""
    text = map_report.write_report(made, made.log.folder, [])
    assert text.count("\n| good |") == 4
    assert "hard cut 0.25" in text
    assert (made.log.folder / "map.png").stat().st_size > 10_000


def test_ctrl_c_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and the exit code of an interrupted command; no traceback."""

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "run_study", stopped)
    assert reproduce.main(["validity"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    """The message lists what a study has; a name it lists is taken."""
    given = Namespace(cases=None, methods="good;odd", kept=None, seeds=None)
    with pytest.raises(OptionError, match="no 'odd'; there are everything; random; good"):
        map_run._asked(Made.asked, given)
    given.methods = "good;bad"
    assert map_run._asked(Made.asked, given).methods == ("good", "bad")


def test_geometric_median_is_the_middle_of_most() -> None:
    """One point far away hardly moves it; no other point has a smaller sum of distances."""
    rng = np.random.default_rng(0)
    points = np.vstack([rng.normal(size=(40, 3)), [[1e4, 0, 0]]])
    median = map_faults.geometric_median(points, 200)
    assert np.linalg.norm(median) < 1

    def length(point: Any) -> float:
        return float(np.linalg.norm(points - point, axis=1).sum())

    assert all(length(median) <= length(median + 0.01 * rng.normal(size=3)) for _ in range(50))


def test_kept_have_the_median_as_their_mean() -> None:
    """In each class the mean of what is kept is nearer to the median than that of a random draw."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 4)) + 3 * (rng.random((200, 1)) < 0.2)
    trained: Any = SimpleNamespace(features=features, labels=np.arange(200) % 2)
    kept = map_faults.by_median(trained, 40, 0)
    assert len(kept) == 40
    for label in (0, 1):
        mine = features[trained.labels == label]
        median = map_faults.geometric_median(mine)
        ours = features[kept][trained.labels[kept] == label]
        assert len(ours) == 20
        drawn = np.linalg.norm(mine[:20].mean(axis=0) - median)
        assert np.linalg.norm(ours.mean(axis=0) - median) < 0.2 * drawn


def test_a_share_of_the_labels_is_wrong_and_never_right_by_chance() -> None:
    """Replaced labels are other labels, and those marked wrong are the replaced ones."""
    torch = pytest.importorskip("torch")
    from subsetsel.experiments.pictures import Pictures

    labels = np.arange(2000) % 10
    study: Any = object.__new__(map_faults.Noise)
    pixels = np.zeros((2000, 4, 4), dtype=np.uint8)
    study.clean = Pictures.of(pixels, labels, torch.device("cpu"))
    seen, is_wrong = study.spoil("20 % wrong", 3)
    assert (is_wrong == (seen.labels.numpy() != labels)).all()
    assert 0.15 < is_wrong.mean() < 0.25


def test_a_network_is_asked_once_for_each_share_of_wrong_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings with 0, 20 and 40 % wrong labels take turns, and a search comes between."""
    bytes_, labels = np.zeros((90, 28, 28), np.uint8), np.arange(90) % 10
    images = SimpleNamespace(train=bytes_, train_labels=labels, test=bytes_, test_labels=labels)
    monkeypatch.setattr(map_faults, "find_folder", lambda name, _: name)
    monkeypatch.setattr(map_faults, "load_images", lambda _: images)
    asked: list[int] = []
    monkeypatch.setattr(map_faults, "ask", lambda *_, seed, **__: asked.append(seed))
    study = map_faults.Noise(RunLog(tmp_path, {}), None, tmp_path)
    for seed in (0, 0, 1000, 0):
        for case in study.asked.cases:
            assert study.faulty(case, seed).is_odd.any() == (case != "0 % wrong")
    assert asked == [0, 0, 0, 1000, 1000, 1000]


def test_a_hundredth_of_one_class_is_left() -> None:
    """Sixty of the rare class are left, all of the others."""
    torch = pytest.importorskip("torch")
    from subsetsel.experiments.pictures import Pictures

    labels = np.arange(1000) % 10
    study: Any = object.__new__(map_faults.Unequal)
    study.clean = Pictures.of(np.zeros((1000, 4, 4), np.uint8), labels, torch.device("cpu"))
    study._num_rare = 7
    left, is_rare = study.spoil("", 13)
    assert is_rare.sum() == 7
    assert (left.labels.numpy()[is_rare] == 3).all()
    assert len(left) == 900 + 7


@pytest.mark.parametrize("method", ["gentle strata, equal classes", "joint, equal classes"])
def test_equal_classes_change_nothing_else(method: str) -> None:
    """A rule with equal classes is the rule with as many of each class."""
    study: Any = object.__new__(map_faults.Unequal)
    equal, plain = (
        study.composition(name, 1000, 50_000)
        for name in (method, method.removesuffix(", equal classes"))
    )
    assert equal.class_balance == 1.0
    assert (equal.hard_cut, equal.evenness) == (plain.hard_cut, plain.evenness)
    assert equal.is_joint == plain.is_joint

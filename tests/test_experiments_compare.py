"""Comparisons and network searches at a tiny size: the code path of the large ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from subsetsel.engine.solve import solve
from subsetsel.errors import OptionError, ProblemError
from subsetsel.experiments.compare import Comparison
from subsetsel.experiments.images import Images
from subsetsel.experiments.methods import METHODS, Selector, compositions
from subsetsel.experiments.networks import first_networks
from subsetsel.experiments.plan import WHOLE, Cell, Plan, cells
from subsetsel.experiments.presets import PLANS
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.runs import Record, RunLog
from subsetsel.experiments.scorer import Scorer
from subsetsel.experiments.search_report import (
    ceiling,
    rank_correlation,
    results,
    search_markdown,
    write_search_report,
)
from subsetsel.experiments.tables import (
    draw_budgets,
    draw_curves,
    markdown,
    write_table,
)
from subsetsel.experiments.zoo import BUILDERS
from subsetsel.problem.problem import Problem
from subsetsel.problem.solution import Solution
from subsetsel.scores.strata import equal_slices
from subsetsel.support.records import sha256_of_array

SHORT = Recipe(epochs=2, batch_size=16, lr=0.05, padding=0)
CPU = torch.device("cpu")
PLAN = Plan(
    data="stripes",
    scorer="strided",
    scorer_recipe=SHORT,
    networks=("strided",),
    recipe=SHORT,
    methods=("random", "joint", WHOLE),
    num_kept=(20, 40),
    seeds=(0, 1),
    num_proposals=2000,
)


def quiet(_: str) -> None:
    """Say nothing."""


def stripes(num: int, seed: int) -> tuple[Any, Any]:
    """Pictures of three classes, more of the first than of the last."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.choice(3, num, p=[0.5, 0.3, 0.2]))
    pictures = rng.integers(0, 90, (num, 8, 8), dtype=np.uint8)
    for row, label in enumerate(labels):
        pictures[row, 2 * label : 2 * label + 2] += 100
    return pictures, labels


@pytest.fixture(scope="module")
def images() -> Images:
    """A hundred to train on, forty to test on."""
    return Images(*stripes(100, 0), *stripes(40, 1))


@pytest.fixture(scope="module")
def finished(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The plan, done without interruption."""
    comparison = Comparison(PLAN, images, tmp_path_factory.mktemp("runs"), CPU)
    comparison.run(quiet)
    return comparison


def outcome(record: dict[str, Any]) -> dict[str, Any]:
    """What must be repeated to the bit; times are not."""
    return {name: value for name, value in record.items() if not name.endswith("_time")}


# --- comparisons ---------------------------------------------------------------------------------


def test_every_cell_is_trained_once(finished: Comparison) -> None:
    """Seeds x methods x budgets, and the whole set once a seed."""
    assert len(finished.log.records) == 2 * (2 * 2 + 1)
    assert finished.open_cells() == []
    assert {record["num_kept"] for record in finished.log.records} == {20, 40, 100}


def test_what_every_method_kept_is_written(finished: Comparison) -> None:
    """Sorted numbers of pictures, those that the digest in the results is of."""
    for record in finished.log.records:
        cell = Cell(*(record[name] for name in ("network", "method", "num_kept", "seed")))
        if cell.method == WHOLE:
            assert not finished.kept_path(cell).exists()
            continue
        kept = np.load(finished.kept_path(cell))
        assert kept.dtype == np.int64
        assert len(kept) == cell.num_kept
        assert (np.diff(kept) > 0).all()
        assert sha256_of_array(kept)[:16] == record["kept_digest"]


def test_a_stopped_comparison_goes_on_to_the_same_results(
    finished: Comparison, images: Images, tmp_path: Path
) -> None:
    """Killed after three runs with a line half written; what is done is not repeated."""

    def stop(line: str) -> None:
        if line.startswith("[3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Comparison(PLAN, images, tmp_path, CPU).run(stop)
    runs = tmp_path / "runs.jsonl"
    before = runs.read_text()
    runs.write_text(before + '{"key": "strided/jo')
    again = Comparison(PLAN, images, tmp_path, CPU)
    assert len(again.open_cells()) == 10 - 3
    again.run(quiet)
    assert runs.read_text().startswith(before)
    assert [outcome(r) for r in again.log.records] == [outcome(r) for r in finished.log.records]


def test_more_seeds_are_added_and_other_settings_refused(
    finished: Comparison, images: Images, tmp_path: Path
) -> None:
    """A folder holds runs of one recipe."""
    first = replace(PLAN, methods=("random",), seeds=(0,), num_kept=(20,))
    Comparison(first, images, tmp_path, CPU).run(quiet)
    more = Comparison(replace(first, seeds=(0, 1)), images, tmp_path, CPU)
    assert [cell.seed for cell in more.open_cells()] == [1]
    with pytest.raises(ProblemError, match="runs of another recipe; give another folder"):
        Comparison(replace(first, recipe=replace(SHORT, lr=0.1)), images, tmp_path, CPU)
    others = replace(images, train=255 - images.train)
    with pytest.raises(ProblemError, match="runs of another pictures; give another folder"):
        Comparison(first, others, tmp_path, CPU)


def test_a_folder_of_an_earlier_version_is_told_as_such(tmp_path: Path) -> None:
    """What it did not write down is named, and not taken for another value."""
    RunLog(tmp_path, {"a": 1}).add({"key": "one"})
    with pytest.raises(ProblemError, match="an earlier version, which did not write down b"):
        RunLog(tmp_path, {"a": 1, "b": 2})


def test_the_cost_is_told_before_it_is_spent(
    finished: Comparison, images: Images, tmp_path: Path
) -> None:
    """Scorers and steps still to be done, and nothing when all is done."""
    text = str(Comparison(PLAN, images, tmp_path, CPU).cost())
    assert "2 scorers (strided, 14 steps)" in text
    # Two seeds, two methods, 2 x 2 and 3 x 2 steps each, and 7 x 2 for the whole set.
    assert f"10 trainings of strided, {2 * (2 * (4 + 6) + 14)} steps" in text
    assert finished.cost().seconds == 0


def test_methods_share_the_seed_of_a_training(images: Images, tmp_path: Path) -> None:
    """With nothing pruned but in name, two methods at one seed train the same network."""
    plan = replace(PLAN, methods=(WHOLE,), networks=("strided",), seeds=(3,))
    (one,) = Comparison(plan, images, tmp_path / "a", CPU).run(quiet)
    (two,) = Comparison(plan, images, tmp_path / "b", CPU).run(quiet)
    assert outcome(one) == outcome(two)


def test_curves_and_several_networks(images: Images, tmp_path: Path) -> None:
    """Figure 3 and Figure 4 in one: accuracy after every epoch, one choice for both networks."""
    plan = replace(
        PLAN,
        networks=("strided", "convnet-w32-d1-none-relu-max"),
        methods=("joint",),
        num_kept=(40,),
        seeds=(0,),
        has_curve=True,
    )
    records = Comparison(plan, images, tmp_path, CPU).run(quiet)
    assert [len(record["curve"]) for record in records] == [2, 2]
    assert len({record["kept_digest"] for record in records}) == 1
    draw_curves(records, tmp_path / "curve.png", "curves", is_cpu=True)
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_pictures_show_what_there_is_to_lose(finished: Comparison, tmp_path: Path) -> None:
    """A line for the whole set beside a curve for each method."""
    draw_budgets(finished.log.records, tmp_path / "budgets.png", "budgets", 100)
    assert (tmp_path / "budgets.png").read_bytes()[:4] == b"\x89PNG"


def test_the_table_has_paired_differences(finished: Comparison, tmp_path: Path) -> None:
    """Best first, against every rival that took part."""
    text = markdown(finished.log.records)
    assert "**strided, 20 kept**" in text
    assert "minus random (95 %), Holm's p" in text
    assert "minus strata" not in text
    write_table(finished.log.records, tmp_path / "table.md", "Title")
    assert (tmp_path / "table.md").read_text().endswith(text)
    head, *lines = (finished.log.folder / "results.csv").read_text().splitlines()
    assert len(lines) == 10
    assert head.startswith("key,network,method,num_kept,seed,accuracy,")
    assert "curve" not in head


def test_p_is_corrected_for_the_methods_of_a_table() -> None:
    """A rival is compared with the others alone, and no method with another number kept."""
    differences = {"random": (0, 0, 0), "joint": (1, 2, 3), "herding": (2, 2, 2)}
    records = [
        {"network": "n", "method": method, "num_kept": 9, "seed": seed, "accuracy": 0.5 + d / 100}
        for method, points in differences.items()
        for seed, d in enumerate(points)
    ]
    lines = markdown([*records, {**records[3], "num_kept": 8}, {**records[0], "num_kept": 8}])
    assert "| joint | 3 | 52.00 ± 1.00 | +2.00 (-0.48 to +4.48), 0.074 |" in lines
    assert "| herding | 3 | 52.00 ± 0.00 | +2.00 (+2.00 to +2.00), 0 |" in lines
    assert "| random | 3 | 50.00 ± 0.00 | - |" in lines
    assert "| joint | 1 | 51.00 | - |" in lines


def test_unknown_methods_are_refused_at_once() -> None:
    """Before a scorer is trained for nothing."""
    with pytest.raises(OptionError, match="no method 'luck'"):
        replace(PLAN, methods=("luck",))
    with pytest.raises(OptionError, match="seeds is empty"):
        replace(PLAN, seeds=())


def test_presets_name_networks_and_methods_that_there_are() -> None:
    """Every plan builds its cells; the three sizes exist for every figure."""
    for plan in PLANS.values():
        assert list(cells(plan, 50_000))
        assert {*plan.networks, plan.scorer} <= {*BUILDERS, *first_networks(720)}
    figures = {figure for figure, _ in PLANS} - {"fmnist-lenet"}
    assert {(f, p) for f in figures for p in ("paper", "gpu", "cpu")} <= set(PLANS)
    assert len(set(PLANS["table1", "paper"].networks)) == 720


# --- methods -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """Features around class means, and scores that follow the distance."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [90, 60, 30])
    features = (np.eye(3, 5)[labels] * 3 + rng.normal(size=(180, 5))).astype(np.float32)
    difficulty = rng.uniform(size=180)
    times = np.round(4 * difficulty)
    return Scorer(features, labels, difficulty, difficulty**2, times, 0.9, 1.0)


@pytest.fixture(scope="module")
def selector(scorer: Scorer) -> Selector:
    """Shares S among the tests; a choice depends on nothing that was chosen before."""
    return Selector(scorer, seed=0, num_proposals=2000)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_as_many_as_asked(
    method: str, scorer: Scorer, selector: Selector
) -> None:
    """Sorted, distinct, the same for the same seed."""
    kept = selector.choose(method, 40)
    assert kept.shape == (40,)
    assert (np.diff(kept) > 0).all()
    again = Selector(scorer, seed=0, num_proposals=2000)
    np.testing.assert_array_equal(again.choose(method, 40), kept)


@pytest.mark.parametrize("method", ["random_classes", "joint_classes"])
def test_as_many_of_each_class_are_kept(method: str, selector: Selector) -> None:
    """And a class that has no more gives its part to the others."""
    for num_kept, counts in ((60, [20, 20, 20]), (120, [45, 45, 30])):
        kept = selector.choose(method, num_kept)
        assert np.bincount(selector.scorer.labels[kept]).tolist() == counts


def test_balanced_scores_rank_within_classes(scorer: Scorer) -> None:
    """As many of each class, its hardest."""
    kept = Selector(scorer, seed=0, is_balanced=True).choose("el2n", 60)
    for label in range(3):
        members = np.flatnonzero(scorer.labels == label)
        hardest = members[np.argsort(-scorer.el2n[members])[:20]]
        np.testing.assert_array_equal(np.sort(hardest), kept[scorer.labels[kept] == label])


@pytest.mark.parametrize(
    ("joint", "draw"),
    [
        ("joint", "random"),
        ("joint_classes", "random_classes"),
        ("joint_both_gentle", "strata_gentle"),
    ],
)
def test_the_joint_choice_has_the_smaller_norm(joint: str, draw: str, selector: Selector) -> None:
    """Than a random draw under the same quotas, with and without strata."""
    norms = []
    for method in (joint, draw):
        mask = np.ones(180, dtype=np.bool_)
        mask[selector.choose(method, 40)] = False
        norms.append(selector.problem.norm(mask))
    assert norms[0] < 0.9 * norms[1]


@pytest.mark.parametrize(
    ("method", "share"), [("strata", 0.3), ("strata_gentle", 0.2), ("joint_both_gentle", 0.2)]
)
def test_strata_leave_out_the_hardest(method: str, share: float, selector: Selector) -> None:
    """At 13 kept a class 30 %, or the 20 % of the gentle cut, and not more."""
    rank = np.argsort(np.argsort(-selector.scorer.el2n))
    hardest = rank[selector.choose(method, 40)].min()
    assert share * 180 <= hardest < share * 180 + 9


def test_joint_within_strata_has_the_cells_of_the_draw(selector: Selector) -> None:
    """As many of every class in every stratum; the slices are of what the cut leaves."""
    difficulty, labels = selector.scorer.el2n, selector.scorer.labels
    strata = equal_slices(np.minimum(difficulty, np.sort(difficulty)[-37]), 50)
    drawn, chosen = (
        np.bincount(strata[kept] * 3 + labels[kept], minlength=150).tolist()
        for kept in (selector.choose(name, 40) for name in ("strata_gentle", "joint_both_gentle"))
    )
    assert chosen == drawn


def test_a_draw_computes_no_rows(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost more than all draws; a joint choice asks for them."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("rows were computed")

    monkeypatch.setattr(Problem, "from_features", refuse)
    for method, composition in compositions(40, 180, 3).items():
        if composition.is_joint:
            with pytest.raises(AssertionError, match="rows were computed"):
                Selector(scorer, seed=0).choose(method, 40)
        else:
            Selector(scorer, seed=0).choose(method, 40)


def test_the_budget_of_a_plan_reaches_the_solver(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``num_proposals`` of the annealing, and its own where a plan names none."""
    seen = []

    def note(problem: Problem, **options: Any) -> Solution:
        seen.append(options.get("num_proposals"))
        return solve(problem, solver="greedy", bound=False)

    monkeypatch.setattr("subsetsel.selection.chooser.solve", note)
    for name, budget in (("a", 123), ("b", None)):
        plan = replace(PLAN, methods=("joint",), num_kept=(20,), seeds=(0,), num_proposals=budget)
        Comparison(plan, images, tmp_path / name, CPU).run(quiet)
    assert seen == [123, None]


def test_more_than_there_is_cannot_be_kept(images: Images, tmp_path: Path) -> None:
    """It is told before a scorer is trained for nothing; what is held out is not there."""
    with pytest.raises(OptionError, match="between 1 and 89, got 90"):
        Comparison(replace(PLAN, num_kept=(20, 90), validation_share=0.1), images, tmp_path, CPU)


# --- the network search --------------------------------------------------------------------------

SEARCH = replace(
    PLAN,
    networks=("strided", "convnet-w32-d1-none-relu-max", "convnet-w32-d1-batch-sigmoid-avg"),
    whole_recipe=SHORT,
    recipe=replace(SHORT, epochs=3),
    num_kept=(20,),
    methods=(WHOLE, "herding"),
    is_balanced=True,
    validation_share=0.1,
)


@pytest.fixture(scope="module")
def search(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A search, done without interruption."""
    comparison = Comparison(SEARCH, images, tmp_path_factory.mktemp("search"), CPU)
    comparison.run(quiet)
    return comparison


def test_validation_pictures_are_never_trained_on(search: Comparison) -> None:
    """A tenth is held out of the whole set; the test half judges the whole set alone."""
    assert search.validation is not None
    assert (len(search.pictures), len(search.validation)) == (90, 10)
    for record in search.log.records:
        is_whole = record["method"] == WHOLE
        assert record["num_kept"] == (90 if is_whole else 20)
        assert (record["test_accuracy"] is not None) == is_whole


def test_what_is_kept_is_numbered_in_the_whole_data(search: Comparison, images: Images) -> None:
    """Pictures that are held out for validation have numbers, too, and are never kept."""
    record = next(r for r in search.log.records if r["method"] == "herding")
    cell = Cell(*(record[name] for name in ("network", "method", "num_kept", "seed")))
    kept = np.load(search.kept_path(cell))
    order = np.random.default_rng(0).permutation(100)
    assert not np.isin(kept, order[:10]).any()
    inner = np.searchsorted(np.sort(order[10:]), kept)
    taken = search.pictures.labels[torch.as_tensor(inner)]
    assert taken.tolist() == np.asarray(images.train_labels)[kept].tolist()


def test_the_whole_set_has_a_recipe_of_its_own(search: Comparison) -> None:
    """Two passes over 90, three over 20, in batches of 16."""
    steps = {record["method"]: record["num_steps"] for record in search.log.records}
    assert steps == {WHOLE: 2 * 6, "herding": 3 * 2}


def test_small_pictures_are_trained_on_where_asked(images: Images, tmp_path: Path) -> None:
    """Sides of 8 are padded to 32, then halved."""
    comparison = Comparison(replace(SEARCH, is_halved=True), images, tmp_path, CPU)
    assert comparison.pictures.shape == (1, 16, 16)


def ranking(method: str, seed: int, accuracies: list[float]) -> list[Record]:
    """Trainings of as many networks as there are accuracies."""
    common = {"method": method, "seed": seed, "num_kept": 20, "cpu_time": 2.0, "train_time": 3.0}
    return [
        {"network": f"net{i}", "accuracy": value, "test_accuracy": value / 2, **common}
        for i, value in enumerate(accuracies)
    ]


RANKINGS = [
    *ranking(WHOLE, 0, [0.5, 0.6, 0.7, 0.8]),
    *ranking(WHOLE, 1, [0.5, 0.6, 0.8, 0.7]),
    *ranking("herding", 0, [0.4, 0.3, 0.6, 0.5]),
]


def test_a_proxy_is_judged_by_what_it_finds_and_how_it_ranks() -> None:
    """The network that is best on the proxy, with its accuracy when trained on everything."""
    (found,) = results(RANKINGS)["herding"]
    assert (found.found, found.accuracy) == ("net2", 0.35)
    assert found.correlation == pytest.approx(0.6)
    assert (found.num_images, found.cpu_time, found.train_time) == (20, 8.0, 12.0)
    assert [r.correlation for r in results(RANKINGS)[WHOLE]] == pytest.approx([1, 1])


def test_the_whole_set_against_itself_is_the_ceiling() -> None:
    """One correlation for a pair of seeds; without the whole set nothing can be judged."""
    assert ceiling(RANKINGS) == pytest.approx([0.8])
    assert "against itself with another seed, all: 0.80." in search_markdown(RANKINGS)
    assert results(ranking("herding", 0, [0.1, 0.2, 0.3])) == {}


def test_a_constant_has_no_rank_correlation() -> None:
    """NaN without a warning: networks that learn nothing share their accuracy."""
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_a_search_is_reported_as_table_and_picture(search: Comparison, tmp_path: Path) -> None:
    """With the recipes above the table."""
    write_search_report(SEARCH, search.log.records, tmp_path)
    assert "3 of the 720 networks on stripes" in (tmp_path / "table.md").read_text()
    assert "| rank correlation, all |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "figure.png").exists()


# --- storage -------------------------------------------------------------------------------------


def test_sittings_are_appended(tmp_path: Path) -> None:
    """What machine and command each part of the runs is of."""
    log = RunLog(tmp_path, {"a": 1})
    log.add_sitting({"command": "one"})
    log.add_sitting({"command": "two"})
    env = json.loads((tmp_path / "env.json").read_text())
    assert [sitting["command"] for sitting in env["sittings"]] == ["one", "two"]

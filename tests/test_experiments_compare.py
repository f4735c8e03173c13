"""Comparisons and network searches at a tiny size: the code path of the large ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from subsetsel.errors import OptionError, ProblemError
from subsetsel.experiments import methods as catalogue
from subsetsel.experiments.compare import WHOLE, Comparison, Plan, cells
from subsetsel.experiments.images import Images
from subsetsel.experiments.methods import METHODS, Selector
from subsetsel.experiments.presets import COMPARISONS, SEARCHES
from subsetsel.experiments.quotas import gentle_cut, hardest_cut, of_both
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.runs import RunLog
from subsetsel.experiments.scorer import Scorer
from subsetsel.experiments.search import Search, SearchPlan
from subsetsel.experiments.search_report import ceiling, results, write_search_report
from subsetsel.experiments.statistics import paired_difference, rank_correlation
from subsetsel.experiments.tables import draw_budgets, draw_curves, markdown, write_table
from subsetsel.experiments.zoo import BUILDERS

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
    draw_budgets(records, tmp_path / "budgets.png", "budgets", 100)
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_the_table_has_paired_differences(finished: Comparison, tmp_path: Path) -> None:
    """Best first, against every rival that took part."""
    text = markdown(finished.log.records)
    assert "**strided, 20 kept**" in text
    assert "minus random (95 %), p" in text
    assert "minus strata" not in text
    write_table(finished.log.records, tmp_path / "table.md", "Title")
    assert (tmp_path / "table.md").read_text().endswith(text)
    assert (finished.log.folder / "results.csv").read_text().count("\n") == 11


def test_unknown_methods_are_refused_at_once() -> None:
    """Before a scorer is trained for nothing."""
    with pytest.raises(OptionError, match="no method 'luck'"):
        replace(PLAN, methods=("luck",))
    with pytest.raises(OptionError, match="seeds is empty"):
        replace(PLAN, seeds=())


def test_presets_name_networks_and_methods_that_there_are() -> None:
    """Every plan builds its cells; the three sizes exist for every figure."""
    for plan in COMPARISONS.values():
        assert list(cells(plan, 50_000))
        assert {*plan.networks, plan.scorer} <= {*BUILDERS}
    figures = {figure for figure, _ in COMPARISONS} - {"fmnist-lenet"}
    assert {(f, p) for f in figures for p in ("paper", "gpu", "cpu")} <= set(COMPARISONS)
    assert len(set(SEARCHES["paper"].networks)) == 720


# --- methods -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """Features around class means, and scores that follow the distance."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [90, 60, 30])
    features = (np.eye(3, 5)[labels] * 3 + rng.normal(size=(180, 5))).astype(np.float32)
    difficulty = rng.uniform(size=180)
    early = (features + rng.normal(size=(180, 5))).astype(np.float32)
    times = np.round(4 * difficulty)
    return Scorer(features, early, labels, difficulty, difficulty**2, times, 0.9, 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_as_many_as_asked(method: str, scorer: Scorer) -> None:
    """Sorted, distinct, the same for the same seed."""
    selector = Selector(scorer, seed=0, second=scorer, num_proposals=2000)
    kept = selector.choose(method, 40)
    assert kept.shape == (40,)
    assert (np.diff(kept) > 0).all()
    again = Selector(scorer, seed=0, second=scorer, num_proposals=2000)
    np.testing.assert_array_equal(again.choose(method, 40), kept)


@pytest.mark.parametrize("method", ["random_classes", "joint_classes", "strata_classes"])
def test_class_quotas_are_met_exactly(method: str, scorer: Scorer) -> None:
    """The same share of each class."""
    kept = Selector(scorer, seed=0, num_proposals=2000).choose(method, 60)
    assert np.bincount(scorer.labels[kept]).tolist() == [30, 20, 10]


def test_balanced_scores_rank_within_classes(scorer: Scorer) -> None:
    """Each class keeps its hardest."""
    kept = Selector(scorer, seed=0, is_balanced=True).choose("el2n", 60)
    for label, count in enumerate((30, 20, 10)):
        members = np.flatnonzero(scorer.labels == label)
        hardest = members[np.argsort(-scorer.el2n[members])[:count]]
        np.testing.assert_array_equal(np.sort(hardest), kept[scorer.labels[kept] == label])


def test_the_joint_choice_has_the_smaller_norm(scorer: Scorer) -> None:
    """Than chance under the same quotas, with and without strata."""
    selector = Selector(scorer, seed=0, num_proposals=20_000)
    for joint, chance in (
        ("joint", "random"),
        ("joint_strata", "strata"),
        ("joint_both", "strata"),
    ):
        norms = []
        for method in (joint, chance):
            mask = np.ones(180, dtype=np.bool_)
            mask[selector.choose(method, 40)] = False
            norms.append(selector.problem.norm(mask))
        assert norms[0] < 0.9 * norms[1], (joint, norms)


def test_the_centred_choice_represents_its_strata(scorer: Scorer) -> None:
    """What is kept deviates least from the strata's means of S, added up over what is kept."""
    selector = Selector(scorer, seed=0, num_proposals=20_000)
    strata, S = selector.strata(40), np.asarray(selector.problem.S)
    deviations = {}
    for method in ("strata", "joint_strata", "joint_centred"):
        kept = selector.choose(method, 40)
        total = np.zeros(S.shape[1])
        for stratum in strata.group_limits:
            mine = kept[strata.groups[kept] == stratum]
            total += (S[mine] - S[strata.groups == stratum].mean(axis=0)).sum(axis=0)
        deviations[method] = np.linalg.norm(total)
    assert deviations["joint_centred"] < 0.9 * min(
        deviations["strata"], deviations["joint_strata"]
    ), deviations


def test_the_choice_by_means_has_the_classes_of_the_draw_and_their_directions(
    scorer: Scorer,
) -> None:
    """As many of every class; their directions add up closer to those of the cells' means."""
    selector = Selector(scorer, seed=0, num_proposals=20_000)
    directions = scorer.features / np.linalg.norm(scorer.features, axis=1, keepdims=True)
    cells = of_both(selector, 40, is_gentle=True)["groups"]
    drawn = np.bincount(scorer.labels[selector.choose("strata_gentle", 40)]).tolist()
    away = {}
    for method in ("strata_gentle", "means_strata"):
        kept = selector.choose(method, 40)
        classes = np.bincount(scorer.labels[kept])
        deviations = np.array([
            directions[i] - directions[cells == cells[i]].mean(axis=0) for i in kept
        ])
        sums = [deviations[scorer.labels[kept] == label].sum(axis=0) for label in range(3)]
        away[method] = np.linalg.norm(sums)
        assert classes.tolist() == drawn
    assert away["means_strata"] < 0.8 * away["strata_gentle"], away


def test_joint_within_strata_has_the_strata_of_the_draw(scorer: Scorer) -> None:
    """What is cut is not kept, and each stratum gives what its quota says."""
    selector = Selector(scorer, seed=0, num_proposals=2000)
    strata = selector.strata(40)
    for method in ("strata", "joint_strata", "joint_centred", "joint_both"):
        is_kept = np.zeros(180, dtype=np.bool_)
        is_kept[selector.choose(method, 40)] = True
        assert not is_kept[strata.must_prune].any()
        for stratum, (fewest, most) in strata.group_limits.items():
            assert fewest <= np.count_nonzero(~is_kept & (strata.groups == stratum)) <= most


def test_strata_of_classes_cut_the_hardest_of_each_class(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of every class; over the whole set, an easy class would lose less."""
    harder = replace(scorer, el2n=scorer.el2n + scorer.labels)
    monkeypatch.setattr(catalogue, "hardest_cut", lambda *_: 0.1)
    kept = Selector(harder, seed=0).choose("strata_classes", 40)
    for label in range(3):
        members = np.flatnonzero(scorer.labels == label)
        hardest = members[np.argsort(-harder.el2n[members])[: len(members) // 10]]
        assert not np.isin(hardest, kept).any()


def test_the_weighted_choice_is_as_hard_as_strata_on_average(scorer: Scorer) -> None:
    """Within a hundredth; what the joint choice alone keeps is further away."""
    selector = Selector(scorer, seed=0, num_proposals=20_000)
    means = {
        method: scorer.el2n[selector.choose(method, 40)].mean()
        for method in ("strata", "joint_weighted", "joint")
    }
    assert means["joint_weighted"] == pytest.approx(means["strata"], rel=0.0101)
    assert means["joint"] != pytest.approx(means["strata"], rel=0.05)


def test_each_rows_are_those_of_its_head(scorer: Scorer) -> None:
    """The loss metric is half as steep in H, the paper leaves the ridge out, epochs are stacked."""
    selector = Selector(scorer, seed=0)
    S = np.asarray(selector.problem.S)
    assert np.linalg.norm(S.sum(axis=0)) < 1e-3 * np.linalg.norm(
        selector.paper_problem.S.sum(axis=0)
    )
    assert selector.loss_problem.S.shape == S.shape
    assert not np.allclose(selector.loss_problem.S, S)
    both = np.asarray(selector.checkpoints_problem.S)
    assert both.shape == (180, 2 * S.shape[1])
    assert not np.allclose(both[:, : S.shape[1]], both[:, S.shape[1] :])


def test_the_cut_shrinks_as_more_is_kept() -> None:
    """30, 20 and 10 % for 100, 200 and 400 images a class; nothing from one half on."""
    cuts = [hardest_cut(k, 60_000, 10) for k in (1000, 2000, 4000, 30_000)]
    assert cuts == [0.3, 0.2, 0.1, 0.0]
    gentle = [gentle_cut(k, 60_000, 10) for k in (1000, 2000, 4000, 30_000)]
    assert gentle == [0.2, 0.2, 0.1, 0.0]


def test_bad_choices_are_refused(scorer: Scorer) -> None:
    """Unknown methods, budgets out of range, a second scorer that is missing."""
    selector = Selector(scorer, seed=0)
    with pytest.raises(OptionError, match="no method 'luck'"):
        selector.choose("luck", 40)
    with pytest.raises(OptionError, match="between 1 and 179"):
        selector.choose("random", 180)
    with pytest.raises(OptionError, match="asks two scorers"):
        selector.choose("joint_two", 40)


# --- the network search --------------------------------------------------------------------------

SEARCH = SearchPlan(
    data="stripes",
    scorer="strided",
    scorer_recipe=SHORT,
    networks=("strided", "convnet-w32-d1-none-relu-max", "convnet-w32-d1-batch-sigmoid-avg"),
    recipe=SHORT,
    proxy_recipe=replace(SHORT, epochs=3),
    num_kept=20,
    proxies=(WHOLE, "herding"),
    seeds=(0, 1),
)


def test_a_search_ranks_networks_on_every_proxy(images: Images, tmp_path: Path) -> None:
    """Resumed where it was; validation pictures are never trained on."""
    Search(replace(SEARCH, networks=SEARCH.networks[:1], seeds=(0,)), images, tmp_path, CPU).run(
        quiet
    )
    search = Search(SEARCH, images, tmp_path, CPU)
    assert len(search.open_cells()) == 2 * 2 + 3 * 2
    assert "whole: " in str(search.cost())
    records = search.run(quiet)
    assert (len(search.pictures), len(search.validation)) == (90, 10)
    assert {r["num_kept"] for r in records if r["proxy"] != WHOLE} == {20}
    found = results(records)
    assert found[WHOLE].correlation == pytest.approx((1, 1))
    assert found["herding"].num_images == 20
    assert len(ceiling(records)) == 1
    write_search_report(SEARCH, records, tmp_path)
    assert "rank correlation" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "figure.png").exists()


def test_the_first_networks_are_narrow_pooled_and_mixed() -> None:
    """Twenty-four of width 32 with all depths and norms among them."""
    first = SearchPlan.first(24)
    assert all("-w32-" in name and not name.endswith("-none") for name in first)
    assert {name.split("-")[2] for name in first} == {"d1", "d2", "d3", "d4"}
    assert SearchPlan.first(720)[:24] == first
    assert SEARCH.with_networks("5").networks == first[:5]
    assert SEARCH.with_networks("lenet,strided").networks == ("lenet", "strided")
    with pytest.raises(OptionError, match="there are 720"):
        SearchPlan.first(721)


# --- statistics and storage ----------------------------------------------------------------------


def test_paired_differences_agree_with_scipy() -> None:
    """Mean, p and interval of the paired t-test."""
    from scipy import stats

    rng = np.random.default_rng(0)
    for num in (2, 3, 10):
        a, b = rng.normal(size=(2, num))
        found = paired_difference(a, b, level=0.9)
        expected = stats.ttest_rel(a, b)
        interval = expected.confidence_interval(0.9)
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.mean == pytest.approx(np.mean(a - b))


def test_paired_differences_without_spread() -> None:
    """One pair says nothing about spread; equal differences leave no doubt."""
    assert paired_difference([1.0], [0.5]).high == np.inf
    assert paired_difference([1, 2], [1, 2]).p == 1
    assert paired_difference([2, 3], [1, 2]).p == 0
    with pytest.raises(ProblemError, match="equally long"):
        paired_difference([1, 2], [1])
    with pytest.raises(ProblemError, match="level"):
        paired_difference([1, 2], [1, 3], level=95)


def test_rank_correlation_agrees_with_scipy() -> None:
    """With ties; undefined for constants."""
    from scipy import stats

    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.integers(0, 5, size=(2, 12))
        assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
    with pytest.raises(ProblemError, match="equally long"):
        rank_correlation([1], [1])


def test_sittings_are_appended(tmp_path: Path) -> None:
    """What machine and command each part of the runs is of."""
    log = RunLog(tmp_path, {"a": 1})
    log.add_sitting({"command": "one"})
    log.add_sitting({"command": "two"})
    env = json.loads((tmp_path / "env.json").read_text())
    assert [sitting["command"] for sitting in env["sittings"]] == ["one", "two"]

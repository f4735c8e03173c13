"""What people read about a selection: the text, the page, the pictures."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call
from test_manifest import places_in, with_value_at
from test_report import Outline

from subsetsel import FileFormatError, Solution, SubsetselError, select_for_training
from subsetsel.problem.selected import Selected
from subsetsel.report.figures import MAX_DOTS, Picture, pictures_of
from subsetsel.report.manifest import Manifest
from subsetsel.report.page import render_page
from subsetsel.report.trials import MAX_LETTERS, MAX_REASONS, MAX_TRIALS

PLAIN: dict[str, Any] = {
    "score": "el2n",
    "hard_cut": 0.0,
    "easy_cut": 0.0,
    "evenness": 0.0,
    "class_balance": 0.0,
    "choice": "draw",
}
FOUND = {**PLAIN, "hard_cut": 0.1, "evenness": 0.5}
RULES: dict[str, dict[str, Any]] = {
    "random": PLAIN,
    "class-balanced": {**PLAIN, "class_balance": 1.0},
    "strata": {**PLAIN, "hard_cut": 0.3, "evenness": 1.0},
    "joint in cells": {**PLAIN, "hard_cut": 0.2, "evenness": 1.0, "choice": "joint in cells"},
    "searched": FOUND,
}
RANDOM = (0.81, 0.80, 0.82, 0.81, 0.80, 0.82)


def tried(number: int, rule: str, value: float | None, **more: Any) -> dict[str, Any]:
    """A trial as the stats have it."""
    state = {"state": "failed" if value is None else "finished", "reason": "", "seconds": 5.0}
    return {"number": number, "rule": rule, "value": value, **state, **RULES[rule], **more}


def beside(
    interval: tuple[float, float], rule: str = "searched", random: Any = RANDOM
) -> dict[str, Any]:
    """A confirmation whose mean difference is the middle of the interval."""
    middle = sum(interval) / 2
    return {
        "rule": rule,
        "composition": RULES[rule],
        "values": [value + middle for value in random],
        "random": list(random),
        "difference": middle,
        "interval": list(interval),
        "is_ahead": interval[0] > 0,
    }


def stats_of(**more: Any) -> dict[str, Any]:
    """A search that found a composition ahead of random."""
    values = (0.80, 0.81, 0.815, 0.82, 0.84)
    return {
        "start": "scratch",
        "rule": "searched",
        "composition": FOUND,
        "is_confirmed": True,
        "trials": [tried(i, rule, values[i]) for i, rule in enumerate(RULES)],
        "confirmation": [beside((0.015, 0.027)), beside((-0.004, 0.006), "strata")],
        "num_trainings": 25,
        "training_time": 260.0,
        "num_held_out": 6000,
        "remarks": [],
        "study": None,
        **more,
    }


def make(limit: Any = None, norm: float = np.nan, n: int = 40, **more: Any) -> Solution:
    """A selection that keeps a tenth of 40 examples."""
    mask = np.arange(n) >= n // 10
    return Solution(
        mask=mask,
        norm=norm,
        status="feasible",
        limit=limit,
        solver="select",
        stats=stats_of(**more),
    )


def manifest_of(solution: Solution) -> Manifest:
    """What the command writes about it."""
    return Manifest.of(solution, command="select", settings={"num_kept": 4}, inputs={})


def page_of(solution: Solution) -> Outline:
    """The page with its pictures, from the manifest alone."""
    manifest = manifest_of(solution)
    return Outline(render_page(manifest, pictures=pictures_of(manifest)))


RANDOM_BACK = {"rule": "random", "composition": PLAIN, "is_confirmed": False}
UNCONFIRMED = {"is_confirmed": False, "confirmation": []}
BEHIND = {**RANDOM_BACK, "confirmation": [beside((-0.004, 0.010))]}
NOTHING = {**RANDOM_BACK, "confirmation": [], "trials": []}
BITS = {
    "trials": [tried(0, "random", -1.5)],
    "confirmation": [beside((0.15, 0.27), random=[-1.5, -1.4, -1.6])],
}


@pytest.mark.parametrize(
    ("limit", "more", "standing", "words"),
    [
        (
            *(None, {}, "feasible, ahead of random"),
            "Ahead of random by 2.1 points (1.5 to 2.7) in 6 paired trainings on fresh seeds.",
        ),
        (
            *("time", {}, "feasible, ahead of random (stopped: time limit)"),
            "on fresh seeds. The search was stopped by the time limit.",
        ),
        (
            *(None, BITS, "feasible, ahead of random"),
            "Ahead of random by 0.21 (0.15 to 0.27) in 3 paired trainings on fresh seeds.",
        ),
        (
            *(None, BEHIND, "feasible, random came back"),
            "Nothing was found that is ahead of random, which came back: the difference of the "
            "best was +0.3 points (-0.4 to +1.0) in 6 paired trainings on fresh seeds.",
        ),
        (
            *("interrupted", UNCONFIRMED, "feasible, not confirmed (stopped: interrupted)"),
            "Nothing is confirmed: interrupted. The best of 5 trials, by one training each, came "
            "back, 0.84 beside 0.8 of random; it may owe that to luck.",
        ),
        (
            *("time", {**RANDOM_BACK, "confirmation": []}, "feasible, not confirmed (stopped: "),
            "Nothing is confirmed: stopped by the time limit. Random came back, the best so far.",
        ),
        (
            *(None, {**RANDOM_BACK, "confirmation": []}, "feasible, not confirmed"),
            "too few trainings on fresh seeds gave a score. Random came back.",
        ),
        (
            *("interrupted", NOTHING, "feasible, not confirmed (stopped: interrupted)"),
            "Nothing is confirmed, and nothing was tried: interrupted before a training ended.",
        ),
    ],
)
def test_text_and_page_say_what_came_back(
    limit: Any, more: dict[str, Any], standing: str, words: str
) -> None:
    """The same sentence in both, and on the page nothing about a refit that nobody made."""
    solution = make(limit, **more)
    assert str(solution).startswith(standing)
    assert ("choice" in str(solution)) == bool(solution.stats["trials"])
    assert words in str(solution)
    page = page_of(solution)
    assert words in page.text
    assert page.open == []
    assert "efit" not in page.text
    assert "score: nothing is predicted" not in page.text


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.015, 0.027), "2.1 points (1.5 to 2.7)"),
        ((0.0004, 0.0116), "0.60 points (0.04 to 1.16)"),
        ((0.00021, 0.00029), "0.025 points (0.021 to 0.029)"),
        ((0.01, 0.01), "1.0 points (1.0 to 1.0)"),
        ((1e-12, 2e-12), "1.5e-10 points (1e-10 to 2e-10)"),
    ],
)
def test_an_interval_is_said_with_the_digits_that_it_needs(
    interval: tuple[float, float], words: str
) -> None:
    """An end that is not zero is never shown as zero."""
    assert f"by {words} in" in str(make(confirmation=[beside(interval)]))


def test_the_text_says_what_was_chosen_and_what_it_cost() -> None:
    """Trainings, time, the examples of the judge; remarks one by one, no iterations."""
    text = str(make(remarks=["train ignores its seed.", "2 trials failed."]))
    assert (
        "searched: the hardest 10% left out, evenness of strata 0.5 (by el2n), drawn by lot" in text
    )
    assert "25 trainings in 4 min, each judged on 6,000 examples that were set aside" in text
    assert text.count("remark") == 2
    assert "iterations" not in text


def test_the_text_speaks_of_the_norm_only_with_rows() -> None:
    """Without S there is none to speak of, and with one it holds near the trained parameters."""
    assert "norm" not in str(make())
    assert "norm    0.5, which says what happens near the trained parameters" in str(make(norm=0.5))
    assert "bound" not in str(make(norm=0.5))


def test_a_selection_reads_the_same_from_its_file(tmp_path: Path) -> None:
    """And for people who load it later."""
    make().save(tmp_path / "kept.npz")
    assert str(Solution.load(tmp_path / "kept.npz")) == str(make())


@pytest.mark.parametrize(
    "damage",
    [
        {"trials": "none"},
        {"confirmation": [{**beside((0.01, 0.03)), "interval": [0.01, 1e308]}]},
        {"confirmation": [{**beside((0.01, 0.03)), "values": [], "random": []}]},
        {"trials": [tried(0, "random", float("nan"))]},
    ],
)
def test_a_solution_with_a_damaged_record_is_printed_without_it(damage: dict[str, Any]) -> None:
    """Looking at a solution never raises."""
    text = str(make(**damage))
    assert "kept 4" in text
    assert "random" not in text


# --- the page -----------------------------------------------------------------------------------


def test_the_page_shows_trials_and_confirmation() -> None:
    """Best first; what came back stands out; its trial is named beside random."""
    manifest = manifest_of(make(remarks=["<b>train</b> ignores its seed."]))
    page = render_page(manifest)
    text = Outline(page).text
    assert "4 of 40 examples kept for training (10.0%)" in text
    assert "+2.1 pointsahead of random (+1.5 to +2.7 with 95 % confidence)" in text
    assert "0.831mean score; 0.81 of random" in text
    assert "25trainings; 4 min in them" in text
    assert "searched, trial 4" in text
    assert "<b>train</b> ignores its seed." in text
    assert page.count("<tr class=back>") == 2
    rules = [text.rindex(f"{number}{rule}") for number, rule in enumerate(RULES)]
    assert rules == sorted(rules, reverse=True)
    assert "{" not in text.partition("}\n")[2].rpartition("}")[2]


def test_the_page_names_the_difficulty_only_where_there_are_several() -> None:
    """A column that says the same in every row says nothing."""
    several = [*stats_of()["trials"], tried(5, "strata", 0.7, score="<i>margin")]
    assert "difficulty" not in page_of(make()).text
    text = page_of(make(trials=several)).text
    assert "<i>margin" in text
    assert "class-balanced0.810.0%" in text


def test_a_large_study_makes_a_page_that_can_be_mailed() -> None:
    """The fixed rules and the best of a thousand trials; the manifest has them all."""
    generator = np.random.default_rng(0)
    shares = generator.random((1000, 4)).round(3) / 2
    trials = [
        tried(i, "searched", 0.8 + share[0] / 10, **dict(zip(list(PLAIN)[1:5], share, strict=True)))
        for i, share in enumerate(shares.tolist())
    ]
    fixed = [tried(1000 + i, rule, 0.1) for i, rule in enumerate(RULES)]
    reasons = [f"raised Error: {i}" + "x" * 9000 for i in range(30)]
    failed = [tried(2000 + i, "searched", None, reason=one) for i, one in enumerate(reasons)]
    manifest = manifest_of(make(trials=[*trials, *fixed, *failed]))
    pictures = pictures_of(manifest)
    page = render_page(manifest, pictures=pictures)
    assert len(page) < 600_000
    text = Outline(page).text
    assert text.count("drawn by lot5.0") + text.count("classes5.0") == MAX_TRIALS
    assert all(f"{1000 + i}{rule}" in text for i, rule in enumerate(list(RULES)[:4]))
    assert f"Shown are {MAX_TRIALS} of 1,035" in text
    assert text.count("1 without a score: raised Error") == MAX_REASONS
    assert "and 25 other reasons" in text
    assert "x" * MAX_LETTERS not in text
    assert len(manifest.solution["stats"]["trials"]) == 1035
    assert f"{MAX_DOTS} of 1,005 trials" in pictures[0].caption


def test_the_command_shows_it_from_the_manifest_alone(tmp_path: Path) -> None:
    """With both pictures."""
    manifest_of(make()).write(tmp_path / "kept.manifest.json")
    call("report", tmp_path / "kept.manifest.json")
    page = (tmp_path / "kept.manifest.html").read_text()
    assert "Ahead of random by 2.1 points" in page
    assert page.count("data:image/svg+xml;base64,") == 2


def test_a_manifest_with_another_verdict_than_its_numbers_is_refused() -> None:
    """No page says what no training says.

    Mutation: the verdict believed: fails.
    """
    manifest = manifest_of(make(confirmation=[beside((-0.01, 0.02))]))
    with pytest.raises(FileFormatError, match=r"damaged .*select again with the same study"):
        render_page(manifest)


def test_a_selection_with_anything_anywhere_is_shown_or_refused(tmp_path: Path) -> None:
    """Values of every type at every place of its record: only subsetsel's own errors."""
    path = tmp_path / "kept.manifest.json"
    trials = [tried(0, "random", 0.8), tried(1, "searched", 0.9)]
    manifest_of(make(trials=trials, confirmation=[beside((0.1, 0.2))])).write(path)
    good = json.loads(path.read_text())
    values: list[Any] = [None, True, -1, 1.5, 1e308, float("nan"), 10**400, "", "x", "1"]
    values += [["a", "b"], [], [1], [None], [{}], {}, {"a": 1}]
    num_shown = 0
    places = list(places_in(good["solution"]["stats"]))
    for place in places:
        for value in values:
            stats = with_value_at(good["solution"]["stats"], place, value)
            path.write_text(json.dumps(good | {"solution": good["solution"] | {"stats": stats}}))
            with contextlib.suppress(SubsetselError):
                assert "<h1>" in render_page(Manifest.read(path))
                num_shown += 1
    # Texts may be any text, and counts any count.
    assert 0.1 < num_shown / (len(places) * len(values)) < 0.9


# --- pictures -----------------------------------------------------------------------------------


def pictures(**more: Any) -> list[Picture]:
    """The pictures of the page."""
    return pictures_of(manifest_of(make(**more)))


def test_a_panel_is_drawn_of_each_part_that_varies() -> None:
    """Scores share their axis; nobody cut the easy end, so there is no panel of it."""
    shown = pictures()[0]
    labels = [axes.get_xlabel() for axes in shown.figure.axes]
    assert labels == ["hard end left out (%)", "evenness of strata", "class balance"]
    assert len({axes.get_ylim() for axes in shown.figure.axes}) == 1
    assert shown.is_wide
    assert "5 trials" in shown.caption


def test_draw_and_joint_differ_in_shape_and_what_came_back_has_a_ring() -> None:
    """Colour alone tells not everybody."""
    axes = pictures()[0].figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    assert lines["drawn by lot"].get_marker() != lines["jointly in strata of classes"].get_marker()
    ring = lines["came back"].get_xydata()
    assert np.allclose(np.asarray(ring), [[10.0, 0.84]])
    assert lines["came back"].get_markerfacecolor() == "none"


def test_random_is_a_line_with_the_band_of_its_fresh_seeds() -> None:
    """Where trials were trained as long as they; else random's own trial is the line.

    Mutation: every trial taken for a whole training: fails.
    """
    (axes, *_), caption = pictures()[0].figure.axes, pictures()[0].caption
    (line,) = (line for line in axes.lines if line.get_label() == "random")
    assert np.allclose(np.asarray(line.get_ydata()), np.mean(RANDOM))
    assert axes.patches[0].get_extents().height > 0
    assert "the band its range on fresh seeds" in caption
    cheap = pictures(search_budget=0.25)[0]
    (line,) = (line for line in cheap.figure.axes[0].lines if line.get_label() == "random")
    assert np.allclose(np.asarray(line.get_ydata()), 0.80)
    assert "fresh seeds" not in cheap.caption
    assert (
        cheap.figure.axes[0].get_ylabel() == "score on held-out examples\nafter 25% of a training"
    )


def test_a_training_that_came_to_nothing_does_not_flatten_the_others() -> None:
    """It lies at the lower edge, as a triangle."""
    trials = [*stats_of()["trials"], tried(5, "strata", 0.1)]
    axes = pictures(trials=trials)[0].figure.axes[0]
    assert axes.get_ylim()[0] > 0.7
    assert "below" in axes.get_legend_handles_labels()[1]
    near = pictures(trials=[*trials[:-1], tried(5, "strata", 0.72)])[0].figure.axes[0]
    assert "below" not in near.get_legend_handles_labels()[1]
    assert "below" not in pictures()[0].figure.axes[0].get_legend_handles_labels()[1]


def test_several_difficulties_have_a_panel_of_their_own() -> None:
    """Random and balanced classes have none: no difficulty plays a part in them."""
    trials = [*stats_of()["trials"], tried(5, "strata", 0.7, score="margin")]
    trials.append(tried(6, "class-balanced", 0.9, score="no part"))
    first, *_, axes = pictures(trials=trials)[0].figure.axes
    assert axes.get_xlabel() == "difficulty"
    assert axes.get_ylim() == first.get_ylim()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["el2n", "margin"]
    num_dots = sum(len(np.asarray(line.get_xdata())) for line in axes.lines[1:])
    assert num_dots == 5  # four of them, and the ring


def test_the_confirmation_is_drawn_pair_by_pair_in_points() -> None:
    """With the line of random, and the interval of each rule."""
    shown = pictures()[1]
    (axes,) = shown.figure.axes
    assert axes.get_xlabel() == "ahead of random (points)"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["strata\ntrial 2", "searched\ntrial 4"]
    bars = [line for line in axes.lines if line.get_linewidth() == 2.5]
    assert np.allclose([np.asarray(bar.get_xdata()) for bar in bars], [[-0.4, 0.6], [1.5, 2.7]])
    assert "searched, trial 4 came back" in shown.caption
    assert "Random came back" in pictures(**BEHIND)[-1].caption
    bits = pictures(**BITS)[-1].figure.axes[0]
    assert bits.get_xlabel() == "ahead of random"


def test_a_selection_of_one_trial_has_no_picture_of_trials() -> None:
    """Nothing varies."""
    assert pictures(**NOTHING) == []
    one = pictures(**{**RANDOM_BACK, "confirmation": [], "trials": [tried(0, "random", 0.8)]})
    assert one == []


# --- a real one ---------------------------------------------------------------------------------


def made_task(**more: Any) -> Solution:
    """Keep 20 of 200 where a fifth is mislabelled; a training is the share of good ones kept."""
    generator = np.random.default_rng(0)
    is_bad = np.arange(200) % 5 == 0
    labels = generator.integers(0, 2, 200)

    def train(kept: Any, held_out: Any, seed: int) -> float:
        noise = np.random.default_rng(seed).normal(scale=0.02)
        return float(0.9 - 0.5 * is_bad[kept].mean() + noise)

    return select_for_training(**{
        "train": train,
        "difficulty": 10.0 * is_bad + generator.random(200),
        "labels": labels,
        "num_kept": 20,
        "num_trials": 10,
        **more,
    })


def test_a_real_selection_is_shown_as_it_was_recorded() -> None:
    """What a run records is what text and page read."""
    solution = made_task()
    found = Selected.of_record(vars(solution))
    assert found is not None
    assert found.is_confirmed
    assert found.winner.difference == pytest.approx(solution.stats["confirmation"][0]["difference"])
    assert found.verdict in str(solution)
    page = page_of(solution)
    assert found.verdict in page.text
    assert len(page.sources) == 2


def test_random_and_an_interruption_are_shown_as_they_were_recorded() -> None:
    """Neither is called ahead of random."""
    noise = made_task(train=lambda kept, held_out, seed: np.random.default_rng(seed).random())
    assert "Nothing was found that is ahead of random" in page_of(noise).text
    num_left = iter(range(6))

    def interrupted(kept: Any, held_out: Any, seed: int) -> float:
        if next(num_left, None) is None:
            raise KeyboardInterrupt
        return -float(np.mean(kept))

    page = page_of(made_task(train=interrupted))
    assert "Nothing is confirmed: interrupted." in page.text
    assert "Beside random" not in page.text


def test_a_damaged_selection_is_made_whole_from_its_study(tmp_path: Path) -> None:
    """The cure that the refusal names: nothing is trained again."""
    file = tmp_path / "study.jsonl"
    manifest = manifest_of(made_task(study=file))
    damaged = replace(manifest, solution=with_value_at(manifest.solution, ("stats", "trials"), 3))
    with pytest.raises(FileFormatError, match="select again with the same study"):
        render_page(damaged)

    def train(kept: Any, held_out: Any, seed: int) -> float:
        pytest.fail("all trainings are in the study")

    again = manifest_of(made_task(study=file, train=train))
    assert again.kept == manifest.kept
    assert "Ahead of random" in render_page(again)

"""From a score to a solution: quotas, ties, the norm, the file."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel import OptionError, Problem, ProblemError, Solution, scores
from subsetsel.report.manifest import Manifest
from subsetsel.report.page import render_page

_UP = scores.Score("up", np.arange(10.0), "highest")
_DOWN = scores.Score("down", np.arange(10.0), "lowest")


def test_each_score_keeps_its_own_end() -> None:
    """The highest of one, the lowest of the other."""
    assert scores.select(_UP, num_kept=3).kept.tolist() == [7, 8, 9]
    assert scores.select(_DOWN, num_kept=3).kept.tolist() == [0, 1, 2]


def test_the_amount_is_said_in_one_of_three_words() -> None:
    """What is pruned as a count or a share, or what is left."""
    for question in ({"size": 7}, {"fraction": 0.7}, {"num_kept": 3}):
        assert _UP.select(**question).size == 7


def test_ties_are_drawn_by_the_seed() -> None:
    """Equal values in the order of the data set would keep one end of a sorted one."""
    flat = scores.Score("flat", np.zeros(1000), "highest")
    first, again, other = (scores.select(flat, num_kept=500, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.kept, again.kept)
    assert not np.array_equal(first.kept, other.kept)
    assert 200 < np.count_nonzero(first.kept < 500) < 300


def test_equal_kept_takes_as_many_of_each_class() -> None:
    """The count of one class is not used for all: a small one is kept whole, others share."""
    labels = np.repeat([0, 1, 2], [60, 37, 3])
    score = scores.random(100, seed=1)
    kept = scores.select(score, num_kept=23, labels=labels, balanced=True).kept
    assert np.bincount(labels[kept]).tolist() == [10, 10, 3]


def test_proportional_takes_the_same_share_of_each_class() -> None:
    """Also of the small one."""
    labels = np.repeat(["a", "b"], [80, 20])
    score = scores.random(100, seed=1)
    kept = scores.select(score, num_kept=50, labels=labels, balanced="proportional").kept
    assert np.unique(labels[kept], return_counts=True)[1].tolist() == [40, 10]


def test_balance_keeps_the_best_of_each_class() -> None:
    """Within a class the score decides."""
    sorted_by_class = np.repeat([0, 1], 5)
    for labels, kept in (([0, 1] * 5, [6, 7, 8, 9]), (sorted_by_class, [3, 4, 8, 9])):
        solution = scores.select(_UP, num_kept=4, labels=labels, balanced=True)
        assert solution.kept.tolist() == kept


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_feasible_choice_has_a_better_sum(data: st.DataObject) -> None:
    """Against enumeration, with any quotas and fixed examples; infeasible only where none is."""
    n = data.draw(st.integers(1, 7))
    draw = data.draw
    values = np.array(draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n)), dtype=float)
    groups = np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    fixed = np.array(draw(st.lists(st.sampled_from("pkfff"), min_size=n, max_size=n)))
    limits = {}
    for label in np.unique(groups)[draw(st.integers(0, 1)) :].tolist():
        low = draw(st.integers(0, 2))
        limits[label] = (low, low + draw(st.integers(0, 2)))
    size = draw(st.integers(0, n))
    solution = scores.select(
        scores.Score("any", values, "highest"),
        size=size,
        groups=groups,
        group_limits=limits,
        must_prune=fixed == "p",
        must_keep=fixed == "k",
    )
    masks = np.array(list(itertools.product([False, True], repeat=n)))

    def are_feasible(masks: Any) -> Any:
        are = (
            (masks.sum(1) == size) & masks[:, fixed == "p"].all(1) & ~masks[:, fixed == "k"].any(1)
        )
        for label, (low, high) in limits.items():
            counts = masks[:, groups == label].sum(1)
            are &= (low <= counts) & (counts <= high)
        return are

    feasible = masks[are_feasible(masks)]
    assert solution.status == ("feasible" if len(feasible) else "infeasible")
    if len(feasible):
        assert values[solution.kept].sum() == (~feasible @ values).max()
        assert are_feasible(solution.mask[None]).all()


def test_quotas_that_cannot_be_met_are_no_error() -> None:
    """As from a solver: status infeasible, nothing pruned, and a sentence that says what breaks."""
    solution = scores.select(_UP, size=3, groups=[0] * 10, group_limits={0: (5, 5)})
    assert (solution.status, solution.size) == ("infeasible", 0)
    assert "5 are pruned, not 3" in solution.message


def test_the_norm_is_that_of_the_rows_given() -> None:
    """S is for information: the choice is the same with it."""
    S = np.random.default_rng(0).normal(size=(10, 3))
    solution = scores.select(_UP, size=4, S=S)
    assert solution.norm == pytest.approx(np.linalg.norm(S[:4].sum(axis=0)))
    assert scores.select(_UP, size=4, S=Problem(S, epsilon=1.0)).norm == solution.norm
    assert solution.predicted_kept == pytest.approx(solution.norm * 10 / 6)


def test_without_rows_the_norm_is_unknown_and_said_to_be() -> None:
    """No number stands where none was computed."""
    solution = scores.select(_UP, size=4)
    assert np.isnan(solution.norm)
    assert np.isnan(solution.predicted_kept)
    assert "norm    unknown" in str(solution)
    assert "bound" not in str(solution)
    assert (solution.solver, solution.target_size) == ("score:up", 4)


def test_a_choice_is_saved_and_loaded(tmp_path: Path) -> None:
    """With the settings of its score, as JSON that any reader takes."""
    score = scores.el2n(np.full((2, 6, 2), 0.5), np.zeros(6, dtype=int))
    solution = scores.select(score, num_kept=2, seed=3)
    solution.save(tmp_path / "choice.npz")
    again = Solution.load(tmp_path / "choice.npz")
    np.testing.assert_array_equal(again.kept, solution.kept)
    assert np.isnan(again.norm)
    assert again.stats == {"score": "el2n", "keeps": "highest", "num_runs": 2}
    with np.load(tmp_path / "choice.npz") as data:
        assert json.loads(str(data["about"]), parse_constant=pytest.fail)["norm"] is None


def test_a_choice_has_a_manifest_and_a_page(tmp_path: Path) -> None:
    """The record of a score is written and read like that of a solver."""
    solution = scores.select(_UP, num_kept=4)
    names = np.array([f"image-{i}" for i in range(10)])
    manifest = Manifest.of(solution, command="select", settings={}, inputs={}, ids=names)
    manifest.write(tmp_path / "manifest.json")
    again = Manifest.read(tmp_path / "manifest.json")
    assert again.kept == ["image-6", "image-7", "image-8", "image-9"]
    assert again.solution["norm"] is None
    assert "Chosen by a score" in render_page(again)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({}, "exactly one of size, fraction and num_kept; got none"),
        ({"size": 1, "num_kept": 1}, "size and num_kept"),
        ({"num_kept": 11}, "between 0 and n = 10"),
        ({"size": 1, "labels": [0, 1], "balanced": True}, "labels must hold one class"),
        ({"size": 1, "S": np.eye(3)}, "S has 3 rows, the score has 10"),
        ({"size": 1, "groups": [0] * 10}, "belong together"),
        ({"size": 1, "must_prune": [10]}, "must_prune"),
    ],
)
def test_bad_questions_are_refused(question: dict[str, Any], words: str) -> None:
    """In the words of the argument that is wrong."""
    with pytest.raises(ProblemError, match=words):
        scores.select(_UP, **question)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"balanced": True}, "needs labels"),
        ({"balanced": "equal", "labels": [0] * 10}, "'equal_kept' or 'proportional'"),
        ({"balanced": True, "labels": [0] * 10, "groups": [0] * 10}, "either balanced"),
    ],
)
def test_bad_options_are_refused(question: dict[str, Any], words: str) -> None:
    """Balance is one word, and one way of saying it."""
    with pytest.raises(OptionError, match=words):
        scores.select(_UP, size=1, **question)


def test_only_a_score_can_be_selected_by() -> None:
    """A bare array does not say which end is kept."""
    with pytest.raises(OptionError, match="ndarray"):
        scores.select(np.arange(3.0), size=1)  # type: ignore[arg-type]

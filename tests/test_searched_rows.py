"""The rows that `prune` searches: in the loss where only the loss or the accuracy is limited."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from head_oracle import blobs

import subsetsel
from subsetsel.influence import fit_head, influence_rows
from subsetsel.problem import searched_rows
from subsetsel.problem.searched_rows import SearchedRows
from subsetsel.support.clock import NO_CLOCK

X, Y = blobs()
L2 = 1e-2
VALIDATION = blobs(60, seed=0)


def problem_of(**options: Any) -> Any:
    """A problem whose own rows are in parameters."""
    return subsetsel.Problem.from_head(fit_head(X, Y, l2=L2, **options), size=30, dtype=np.float64)


def test_in_the_loss_the_rows_are_not_those_of_the_problem() -> None:
    """They are those of the metric; the norms of the problem stay changes of parameters."""
    problem = problem_of()
    searched = SearchedRows(problem, "loss")
    searched.go_back()
    expected = influence_rows(problem.head, metric="loss", dtype=np.float64).dense()
    np.testing.assert_array_equal(searched.rows.dense(), expected)
    assert problem.rows.metric == "parameter"


@pytest.mark.parametrize("metric", ["parameter", "loss"])
def test_around_a_set_what_is_searched_is_what_the_refit_did(metric: Any) -> None:
    """There the expansion is exact, in either metric, and Eq. 2 is not."""
    problem, mask = problem_of(), np.arange(90) < 50
    theta = problem.head.refit(~mask).theta
    searched = SearchedRows(problem, metric)
    searched.expand(mask, theta, 50, NO_CLOCK)
    move = searched.move(mask, theta)
    assert move.searched == pytest.approx(move.refitted, rel=1e-9)
    assert move.first_order < 0.95 * move.refitted
    searched.go_back()
    assert searched.move(mask, theta).searched == pytest.approx(move.first_order, rel=1e-9)


def test_what_is_kept_may_weigh_next_to_nothing() -> None:
    """The prediction is over the kept weight, which no difference of sums loses.

    Mutation: the kept share is 1 minus the pruned one: fails.
    """
    weights = np.where(np.arange(90) < 50, 1.0, 1e-18)
    problem, mask = problem_of(sample_weight=weights), np.arange(90) < 50
    searched = SearchedRows(problem, "parameter")
    share = weights[50:].sum() / weights.sum()
    assert searched.predict(mask) == pytest.approx(problem.norm(mask) / share, rel=1e-9)


@pytest.mark.parametrize(("most", "is_kept"), [(10**9, True), (1, False)])
def test_three_arrays_are_held_only_where_they_fit(
    monkeypatch: pytest.MonkeyPatch, most: int, is_kept: bool
) -> None:
    """Else the rows of Eq. 2 go for an expansion, and are solved for again."""
    problem, mask = problem_of(), np.arange(90) < 50
    searched = SearchedRows(problem, "loss")
    searched.go_back()
    before = searched.rows
    monkeypatch.setattr(searched_rows, "most_held", lambda: most)
    searched.expand(mask, problem.head.refit(~mask).theta, 50, NO_CLOCK)
    searched.go_back()
    assert (searched.rows is before) == is_kept
    np.testing.assert_array_equal(searched.rows.dense(), before.dense())


@pytest.mark.parametrize(
    ("limits", "options", "metric"),
    [
        ({"max_loss_gap": 0.01}, {}, "loss"),
        ({"max_accuracy_drop": 0.02}, {}, "loss"),
        ({"max_loss_gap": 0.01, "epsilon": 0.5}, {}, "parameter"),
        ({"max_loss_gap": 0.01}, {"inverse": "cg"}, "parameter"),
    ],
)
def test_the_loss_is_searched_where_it_alone_is_limited(
    limits: dict[str, Any], options: dict[str, Any], metric: str
) -> None:
    """Also of a problem that brings its rows; without a factor the parameters are."""
    _, check = subsetsel.prune(problem_of(**options), validation=VALIDATION, **limits)
    assert check.searched_metric == metric
    assert check.predicted_searched is not None

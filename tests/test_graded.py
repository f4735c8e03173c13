"""The relaxation by a graded sample: as good as the one that reads all rows, and always a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from enumeration import best
from hypothesis import given, settings
from hypothesis import strategies as st
from in_shards import cut_evenly, in_shards
from numpy.typing import NDArray
from relaxed import relax
from strategies import max_size_problems

from subsetsel.bounds import graded, point
from subsetsel.bounds.graded import graded_relaxation
from subsetsel.bounds.sample import chances_of, nearest
from subsetsel.errors import ProblemError
from subsetsel.problem.problem import Problem

Array = NDArray[Any]


def made(seed: int, n: int = 3000, d: int = 6) -> Array:
    """Rows of uneven lengths that share a direction."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) + 0.3) * rng.lognormal(0.0, 1.0, size=(n, 1))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a step bring 300 rows, so that it has to choose."""
    monkeypatch.setattr(point, "most_rows", lambda _: 300)
    return 300


QUESTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fixed": {"must_prune": np.arange(0, 40), "must_keep": np.arange(100, 400)},
    "offset": {"offset": np.full(6, 30.0)},
    "groups": {
        "groups": np.arange(3000) % 3,
        "group_limits": {0: (100, 400), 1: (700, 1000), 2: (0, 1000)},
    },
    "constraint": {"constraints": [(np.linspace(0.0, 1.0, 3000), 300.0, 400.0)]},
}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", QUESTIONS)
def test_agrees_with_the_relaxation_of_all_rows(name: str) -> None:
    """Bound and value are those of the relaxation that reads every row again and again."""
    S = made(1)
    problem = Problem(S, epsilon=0.2 * float(np.linalg.norm(S.sum(axis=0))), **QUESTIONS[name])
    found, whole = graded_relaxation(problem), relax(problem)
    # With linear constraints the other may end early.
    assert found.bound <= whole.bound * (1 + 2e-5)
    assert len(found.records) > 1
    if not len(problem.constraints):
        assert found.bound - found.value <= 2e-5 * found.bound
        weights = found.weights
        assert np.linalg.norm(problem.sum(weights)) <= problem.radius(0) * (1 + 1e-2)
        assert problem.linear_violations(weights > 0.5) == []


@settings(max_examples=40, deadline=None)
@given(problem=max_size_problems(normalization="full"), num=st.integers(1, 4))
def test_no_subset_is_larger_than_the_bound(problem: Problem, num: int) -> None:
    """Whatever is drawn, the bound holds for the enumerated optimum."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point, "most_rows", lambda _: num)
        patch.setattr(graded, "_MOST_STEPS", 4)
        found = graded_relaxation(problem)
    assert found.bound >= best(problem)


@pytest.mark.parametrize("cuts", [cut_evenly(3000, 7), [0, 1, 1, 2900], [2999]])
def test_shards_do_not_change_what_is_drawn(few: int, cuts: list[int]) -> None:
    """Uneven shards, shards of one row and empty ones give the weights of one piece."""
    S = made(2)
    epsilon = 0.1 * float(np.linalg.norm(S.sum(axis=0)))
    one = graded_relaxation(Problem(S, epsilon=epsilon))
    cut = graded_relaxation(Problem(in_shards(S, cuts), epsilon=epsilon))
    assert [row["num_rows"] for row in cut.records] == [row["num_rows"] for row in one.records]
    assert np.array_equal(cut.weights > 0.5, one.weights > 0.5)
    assert cut.bound == pytest.approx(one.bound, rel=2e-6)
    assert max(row["num_rows"] for row in cut.records) < 1.5 * few


def test_a_step_takes_three_rounds(few: int) -> None:
    """A sum, a few rows and a product: the rounds do not grow with the number of shards."""
    S = made(3)
    counts = []
    for num in (2, 30):
        rows = in_shards(S, cut_evenly(len(S), num))
        found = graded_relaxation(Problem(rows, epsilon=50.0))
        counts.append(rows.shards.num_rounds)
        assert counts[-1] <= 3 * len(found.records) + 10
    assert counts[0] == counts[1]
    assert few


@pytest.mark.usefixtures("few")
def test_goes_on_after_an_interruption() -> None:
    """From the state after any step the rest is the same, bit for bit."""
    problem = Problem(made(4), epsilon=60.0)
    whole = graded_relaxation(problem)

    class Kept(dict[str, Any]):
        def put(self, key: str, arrays: Any) -> None:
            self[key] = arrays
            if len(arrays["records"]) == 2 and not self.get("is_again"):
                self["is_again"] = True
                raise RuntimeError("killed")

    kept = Kept()
    with pytest.raises(RuntimeError, match="killed"):
        graded_relaxation(problem, steps=kept)
    again = graded_relaxation(problem, steps=kept)
    assert again.bound == whole.bound
    assert np.array_equal(again.weights, whole.weights)
    assert np.array_equal(again.dual.u, whole.dual.u)


@pytest.mark.usefixtures("few")
def test_a_cap_limits_bound_and_value() -> None:
    """The cap is no part of the relaxation; it lowers what is claimed."""
    problem = Problem(made(5), epsilon=60.0, max_size=500)
    found = graded_relaxation(problem)
    assert (found.bound, found.value) == (500.0, 500.0)


@pytest.mark.usefixtures("few")
def test_without_time_there_is_a_bound() -> None:
    """Where the time is up at once, no step is begun, and what is given holds."""
    problem = Problem(made(6), epsilon=60.0)
    found = graded_relaxation(problem, time_limit=0.0)
    assert found.records == []
    assert found.value <= relax(problem).bound * (1 + 1e-9) <= found.bound * (1 + 2e-9)


@pytest.mark.usefixtures("few")
def test_who_follows_may_end_it() -> None:
    """After the second look the search ends with the bound that was told last."""
    told: list[float] = []

    def follow(bound: float) -> bool:
        told.append(bound)
        return len(told) == 2

    found = graded_relaxation(Problem(made(7), epsilon=60.0), follow=follow)
    assert len(found.records) == 1
    assert found.bound == told[-1]


def test_too_many_columns_are_refused_by_name() -> None:
    """The message says how many there may be, and what to do."""
    with pytest.raises(ProblemError, match=r"d = 20,001.*at most 20,000.*size="):
        graded_relaxation(Problem(np.ones((1, 20_001), np.float32), epsilon=1.0))


@given(
    grades=st.lists(st.floats(0.0, 1e6), min_size=2, max_size=30).map(np.array),
    num=st.integers(1, 20),
)
def test_chances_add_up(grades: Array, num: int) -> None:
    """Chances are at most 1, grow with the grades, and as many rows are drawn as are wanted."""
    chances = chances_of(grades, num)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert (np.diff(chances[np.argsort(grades, kind="stable")]) >= 0).all()
    assert chances.sum() == pytest.approx(min(num, np.count_nonzero(grades)), rel=1e-6)


def test_chances_of_grades_that_are_next_to_nothing() -> None:
    """Their sum could not be divided by: each of three has two thirds of a chance.

    Mutation: grades are taken as they are: a division by 0.
    """
    np.testing.assert_allclose(chances_of(np.full(3, 5e-324), 2), 2 / 3)


def test_the_nearest_are_given_in_order() -> None:
    """Infinite distances are left out, and the others sorted by index."""
    assert nearest(np.array([3.0, np.inf, 1.0, 2.0]), 2).tolist() == [2, 3]
    assert nearest(np.array([3.0, np.inf, 1.0]), 5).tolist() == [0, 2]

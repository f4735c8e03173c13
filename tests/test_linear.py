"""The linear side: cheapest weights and subsets that respect everything but the norm."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel import Problem
from subsetsel.problem.linear import find_mask, minimize_linear
from subsetsel.testing import feasible_subsets

_S = np.zeros((8, 1))
_LABELS = [0, 0, 0, 1, 1, 1, 1, 1]

_QUESTIONS: dict[str, dict[str, Any]] = {
    "free": {"epsilon": 1.0},
    "cap": {"epsilon": 1.0, "max_size": 3},
    "size": {"size": 3},
    "size, fixed": {"size": 4, "must_prune": [0, 5], "must_keep": [1]},
    "fixed": {"epsilon": 1.0, "must_prune": [0, 5], "must_keep": [1]},
    "groups": {"epsilon": 1.0, "groups": _LABELS, "group_limits": {0: (1, 2), 1: (0, 3)}},
    "equal groups": {"size": 4, "groups": _LABELS, "group_limits": {0: (1, 1), 1: (3, 3)}},
    "cut": {"size": 3, "constraints": [(np.array([1.0, 2, 3, 4, 5, 6, 7, 8]), 10, 12)]},
    "everything at once": {
        "epsilon": 1.0,
        "max_size": 5,
        "must_prune": [2],
        "must_keep": [7],
        "constraints": [(np.array([1.0, -1, 1, -1, 1, -1, 1, -1]), 0, 1)],
    },
}
_IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "too many forced": {"size": 1, "must_prune": [0, 5]},
    "too many kept": {"size": 7, "must_keep": [0, 5]},
    "cap below the forced": {"epsilon": 1.0, "max_size": 1, "must_prune": [0, 5]},
    "groups": {"size": 1, "groups": _LABELS, "group_limits": {0: (1, 1), 1: (1, 1)}},
    "cut": {"epsilon": 1.0, "constraints": [(np.ones(8), 9, 10)]},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", _QUESTIONS)
def test_minimum_is_below_every_subset(name: str, seed: int) -> None:
    """The value is a lower bound on the cost of every subset; the weights obey the limits."""
    problem = Problem(_S, **_QUESTIONS[name])
    cost = np.random.default_rng(seed).normal(size=8)
    weights, value = minimize_linear(problem, cost)
    masks, _ = feasible_subsets(problem)
    assert weights is not None
    assert value <= (masks @ cost).min()
    assert cost @ weights == pytest.approx(value, abs=1e-6)
    assert ((weights >= problem.must_prune) & (weights <= ~problem.must_keep)).all()
    activity = problem.constraints.activity(weights)
    assert (activity >= problem.constraints.lower - 1e-6).all()
    assert (activity <= problem.constraints.upper + 1e-6).all()


@pytest.mark.parametrize("name", ["free", "cap", "size", "size, fixed", "fixed"])
def test_minimum_is_exact_without_constraints(name: str) -> None:
    """Where a sort answers, the value is the cost of the best subset."""
    problem = Problem(_S, **_QUESTIONS[name])
    cost = np.random.default_rng(9).normal(size=8)
    masks, _ = feasible_subsets(problem)
    assert minimize_linear(problem, cost)[1] == pytest.approx((masks @ cost).min(), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_minimum_under_quotas_is_that_of_enumeration(data: st.DataObject) -> None:
    """Quotas of disjoint groups, fixed examples and a size: the cheapest subset, by sorts alone.

    Mutation: what a group must give is taken as what it may give: another minimum.
    """
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=8, max_size=8)))
    limits = {}
    for label in np.unique(labels)[:3]:
        high = data.draw(st.integers(0, int((labels == label).sum())))
        limits[int(label)] = (data.draw(st.integers(0, high)), high)
    fate = np.array(data.draw(st.lists(st.sampled_from("fffpk"), min_size=8, max_size=8)))
    size = data.draw(st.none() | st.integers(0, 8))
    problem = Problem(
        _S,
        groups=labels,
        group_limits=limits,
        must_prune=fate == "p",
        must_keep=fate == "k",
        **({"epsilon": 1.0} if size is None else {"size": size}),
    )
    cost = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=8, max_size=8)), dtype=float)
    weights, value = minimize_linear(problem, cost)
    masks, _ = feasible_subsets(problem)
    if not len(masks):
        assert (weights, value) == (None, np.inf)
        return
    assert weights is not None
    assert cost @ weights == (masks @ cost).min() == pytest.approx(value, abs=1e-9)
    assert (masks == (weights > 0.5)).all(axis=1).any()


@pytest.mark.parametrize("name", _IMPOSSIBLE)
def test_nothing_to_minimize(name: str) -> None:
    """Where no weights exist the value is inf and nobody is chosen."""
    problem = Problem(_S, **_IMPOSSIBLE[name])
    assert minimize_linear(problem, np.ones(8)) == (None, np.inf)
    assert find_mask(problem) is None
    assert find_mask(problem, wanted=np.ones(8, dtype=np.bool_)) is None


@pytest.mark.parametrize("is_wanted", [False, True])
@pytest.mark.parametrize("name", _QUESTIONS)
def test_found_subset_respects_everything(name: str, is_wanted: bool) -> None:
    """What is found is feasible but for the norm (which is 0 here)."""
    problem = Problem(_S, **_QUESTIONS[name])
    mask = find_mask(problem, wanted=np.arange(8) % 2 == 0 if is_wanted else None)
    assert mask is not None
    assert mask.dtype == np.bool_
    assert problem.is_feasible(mask)


@pytest.mark.parametrize("name", _QUESTIONS)
def test_feasible_wish_is_granted(name: str) -> None:
    """A wanted subset that respects everything comes back unchanged."""
    problem = Problem(_S, **_QUESTIONS[name])
    masks, _ = feasible_subsets(problem)
    for wanted in masks[:: max(1, len(masks) // 5)]:
        np.testing.assert_array_equal(find_mask(problem, wanted=wanted), wanted)


@pytest.mark.parametrize("name", _QUESTIONS)
def test_repair_changes_as_little_as_possible(name: str) -> None:
    """A wish that cannot be granted is changed in about as few places as enough."""
    problem = Problem(_S, **_QUESTIONS[name])
    masks, _ = feasible_subsets(problem)
    for code in (0, 85, 170, 255):
        wanted = (code >> np.arange(8)) & 1 == 1
        mask = find_mask(problem, wanted=wanted)
        assert mask is not None
        fewest = int((masks != wanted).sum(axis=1).min())
        # Ties between examples are broken by up to half a place each.
        assert (mask != wanted).sum() <= 3 * fewest


@pytest.mark.parametrize("name", ["free", "cap", "fixed", "groups", "everything at once"])
def test_fewest_without_a_wish(name: str) -> None:
    """For Eq. 3, as few as possible are pruned."""
    problem = Problem(_S, **_QUESTIONS[name])
    mask = find_mask(problem)
    assert mask is not None
    assert mask.sum() == feasible_subsets(problem)[0].sum(axis=1).min()


def test_seed_decides_ties() -> None:
    """For Eq. 4 another seed gives another start, the same seed the same."""
    problem = Problem(_S, size=4)
    starts = [find_mask(problem, seed=seed) for seed in (0, 0, 1, 2, 3)]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert len({tuple(start) for start in starts if start is not None}) > 1


_C = np.array([
    5000000.73726267,
    6000000.13344918,
    8000000.75159408,
    5000000.62377956,
    3000000.6886087,
    5000000.39957262,
])
_COST = np.array([1.05101359, 0.46953423, -0.26404151, 0.89200952, 0.43527823, 0.10514099])


@pytest.mark.parametrize("factor", [1e-6, 1.0, 10.0, 1e4])
def test_large_coefficients_are_no_proof(factor: float) -> None:
    """A subset that meets an equality of large numbers is found, not called impossible."""
    c = factor * _C
    value = float(c[[0, 4]].sum())
    problem = Problem(
        np.ones((6, 1)), epsilon=9.0, constraints=[(c, -np.inf, value), (c, value, np.inf)]
    )
    mask = np.zeros(6, dtype=np.bool_)
    mask[[0, 4]] = True
    assert problem.is_feasible(mask)
    _, minimum = minimize_linear(problem, _COST)
    assert minimum <= _COST @ mask
    assert find_mask(problem) is not None


@pytest.mark.parametrize("fate", ["must_keep", "must_prune"])
def test_the_large_coefficient_of_a_fixed_example_excludes_nothing(fate: str) -> None:
    """Where only the others are to be chosen, their coefficients set the scale.

    Mutation: rows are scaled by the coefficients of fixed examples, too.
    """
    c = np.ones(300)
    c[0] = 2e9
    shift = 2e9 if fate == "must_prune" else 0.0
    limits: dict[str, Any] = {fate: [0], "constraints": [(c, shift + 240, shift + 260)]}
    problem = Problem(np.zeros((300, 1)), epsilon=1.0, **limits)
    mask = find_mask(problem)
    assert mask is not None
    assert problem.is_feasible(mask)


def test_coefficients_that_highs_drops_exclude_nothing() -> None:
    """Beside 2e9, ones are too small for HiGHS, whose "infeasible" then proves nothing.

    Mutation: limits are not widened by what is dropped.
    """
    c = np.ones(5000)
    c[0] = 2e9
    problem = Problem(np.zeros((5000, 1)), epsilon=1.0, constraints=[(c, 4000, 4020)])
    assert problem.is_feasible((np.arange(5000) > 0) & (np.arange(5000) <= 4010))
    assert find_mask(problem) is not None
    assert minimize_linear(problem, np.ones(5000))[1] <= 4000


def test_the_minimum_over_many_is_below_the_exact_one() -> None:
    """The allowance for rounding covers the sum of two million costs.

    Mutation: the costs are summed by a dot product of the BLAS.
    """
    n, cost = 2_000_000, 1 / 3
    problem = Problem(np.zeros((n, 1), dtype=np.float32), size=n - 1)
    _, value = minimize_linear(problem, np.full(n, cost))
    assert Fraction(value) <= Fraction(cost) * (n - 1)


def test_equations_that_are_off_by_rounding_do_not_stop_the_search() -> None:
    """Where the presolve of HiGHS gives up on sums of thirds, HiGHS decides without it."""
    thirds = [(np.array([3.0, 0, 0, 0, 3, 0]), 6, 6), (np.array([1.0, 1.5, -1, 1.5, 0, 0]), 2, 2)]
    assert find_mask(Problem(np.zeros((6, 1)), epsilon=1.0, constraints=thirds)) is None

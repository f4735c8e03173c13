"""Proven bounds: U(u) on the size, and the lower bound on the norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relaxed import relax

from subsetsel import Problem
from subsetsel.bounds.dual import evaluate_dual, lower_bound_on_norm
from subsetsel.testing import enumerate_optimum

_S = np.random.default_rng(1).normal(size=(12, 3)) + 0.5


def _by_hand(S: Any, epsilon: float, u: Any) -> float:
    return float(epsilon * np.linalg.norm(u) + np.maximum(0, 1 - S @ u).sum())


def test_formula() -> None:
    """At its best scaling the bound is epsilon ||u|| + sum max(0, 1 - s_i . u)."""
    u = np.array([0.3, -0.1, 0.4])
    dual = evaluate_dual(Problem(_S, epsilon=1.0), u)
    assert dual.bound == pytest.approx(_by_hand(_S, 1.0, dual.u), rel=1e-8)
    np.testing.assert_allclose(dual.reduced_costs, 1 - _S @ dual.u, rtol=1e-12)


def test_scaling_is_the_best() -> None:
    """No other multiple of u gives a smaller bound."""
    u = np.array([0.3, -0.1, 0.4])
    dual = evaluate_dual(Problem(_S, epsilon=1.0), u)
    for t in np.geomspace(1e-3, 1e3, 2001):
        assert dual.bound <= _by_hand(_S, 1.0, t * u) * (1 + 1e-8)


@pytest.mark.parametrize("factor", [1e-300, 1e-150, 1e-6, 1e6, 1e150])
def test_length_of_u_does_not_matter(factor: float) -> None:
    """Only the direction of u counts, even where its square leaves the range of float64."""
    u = np.array([0.3, -0.1, 0.4])
    here = evaluate_dual(Problem(_S, epsilon=1.0), u).bound
    there = evaluate_dual(Problem(_S, epsilon=1.0), factor * u).bound
    assert there == pytest.approx(here, rel=1e-9)


def test_zero_u_bounds_by_n() -> None:
    """No direction, no news: everything might go."""
    assert evaluate_dual(Problem(_S, epsilon=1.0), np.zeros(3)).bound == 12


def test_bound_counts_fixed_examples() -> None:
    """Who must stay does not count; who must go counts in full."""
    problem = Problem(_S, epsilon=50.0, must_keep=[0, 1], must_prune=[2])
    assert evaluate_dual(problem, np.zeros(3)).bound == pytest.approx(10, rel=1e-9)


def test_bound_is_at_most_max_size() -> None:
    """The cap is a bound too."""
    assert evaluate_dual(Problem(_S, epsilon=50.0, max_size=4), np.zeros(3)).bound == 4


def test_multipliers_of_missing_limits_are_dropped() -> None:
    """A multiplier that would meet an infinite limit is set to 0, not multiplied."""
    constraints = [(np.ones(12), -np.inf, 3.0), (np.ones(12), 1.0, np.inf)]
    problem = Problem(_S, epsilon=50.0, constraints=constraints)
    dual = evaluate_dual(problem, np.zeros(3), np.array([-1.0, 1.0]))
    assert dual.bound == pytest.approx(12, rel=1e-9)
    np.testing.assert_array_equal(dual.y, [0, 0])


@pytest.mark.parametrize("tiny", [1e-160, 1e-204, 1e-300])
def test_a_tiny_u_beside_a_dropped_multiplier_has_a_length(tiny: float) -> None:
    """Its squares vanish; with a length of 0 the bound would leave epsilon out and be too low.

    Mutation: with multipliers dropped after the scaling, and the plain norm, the bound is 1; both
    examples can be pruned.
    """
    problem = Problem(
        np.array([[0.0, 0.0], [-1.0, 0.0]]), epsilon=1.0, constraints=[(np.ones(2), 0, None)]
    )
    dual = evaluate_dual(problem, np.array([-tiny, 0.0]), np.array([1.0]))
    assert dual.bound == pytest.approx(2.0)


@pytest.mark.parametrize("tiny", [1e-60, 1e-246])
def test_prices_below_rounding_are_not_scaled_up(tiny: float) -> None:
    """What rounding outweighs proves nothing: u and y are 0, and the bound is n there.

    Mutation: with the scale that ignores rounding, u has 60 decades and more.
    """
    S = np.array([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    problem = Problem(S, epsilon=0.0, constraints=[(np.ones(3), None, 1)])
    dual = evaluate_dual(problem, np.array([0.0, 1.0]), np.array([tiny]))
    assert not dual.u.any()
    assert not dual.y.any()
    assert dual.bound == pytest.approx(3.0)


def test_linear_constraint_gives_the_bound() -> None:
    """With u = 0 and y = 1 a cap written as a constraint is the bound."""
    problem = Problem(_S, epsilon=50.0, constraints=[(np.ones(12), -np.inf, 3.0)])
    dual = evaluate_dual(problem, np.zeros(3), np.array([1.0]))
    assert dual.bound == pytest.approx(3, rel=1e-6)
    assert dual.bound >= 3


def test_multipliers_are_not_changed() -> None:
    """The caller's y stays as it was."""
    problem = Problem(_S, epsilon=1.0, constraints=[(np.ones(12), -np.inf, 3.0)])
    y = np.array([-2.0])
    evaluate_dual(problem, np.ones(3), y)
    assert y[0] == -2.0


def test_bound_covers_the_tolerance_of_the_norm() -> None:
    """A subset that counts as feasible by rounding alone is not cut off by the bound."""
    problem = Problem(np.array([[1 + 5e-10]]), epsilon=1.0)
    assert problem.is_feasible(np.array([True]))
    assert evaluate_dual(problem, np.array([1.0])).bound >= 1


def test_bound_covers_the_tolerance_of_a_constraint() -> None:
    """The same for a linear limit that is met up to rounding."""
    problem = Problem(
        np.zeros((3, 1)), epsilon=1.0, constraints=[(np.full(3, 1 + 1e-10), -np.inf, 3.0)]
    )
    assert problem.is_feasible(np.ones(3, dtype=np.bool_))
    assert evaluate_dual(problem, np.zeros(1), np.array([1.0])).bound >= 3


def test_bound_covers_cancelling_limits() -> None:
    """Large limits that cancel lose digits; what is lost is added."""
    c = np.array([4.1e12, 3.3e12, 8.7e12, 2.9e12])
    mask = np.array([True, False, True, True])
    value = float(c @ mask)
    for ratio in np.linspace(0.1, 9.7, 97):
        problem = Problem(
            np.full((4, 1), 0.1),
            epsilon=0.3 * (1 + 1e-12),
            constraints=[(c, -np.inf, value), (c, value, np.inf)],
        )
        assert problem.is_feasible(mask)
        dual = evaluate_dual(problem, np.array([3.0]), np.array([ratio, -ratio]))
        assert np.floor(dual.bound) >= 3


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.5, 4.0])
def test_relaxation_bounds_the_optimum(epsilon: float) -> None:
    """The relaxed optimum is above the integer one, and near it."""
    problem = Problem(_S, epsilon=epsilon)
    best = enumerate_optimum(problem)
    assert best is not None
    bound = relax(problem).bound
    assert best.size <= np.floor(bound)
    assert bound <= best.size + problem.d + 1


def test_feasible_set_of_an_infeasible_problem_is_bounded_by_zero() -> None:
    """Where the dual is unbounded the bound is 0, not negative."""
    problem = Problem(np.full((3, 1), 5.0), epsilon=1.0, must_prune=[0, 1])
    assert evaluate_dual(problem, np.array([1.0])).bound >= 0.0


# --- the norm from below ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 8, 12])
def test_norm_from_below(size: int) -> None:
    """With a common drift the bound is positive, and never above the optimum."""
    problem = Problem(np.abs(_S) + 0.5, size=size)
    best = enumerate_optimum(problem)
    assert best is not None
    bound = lower_bound_on_norm(problem)
    assert 0.5 * best.norm < bound <= best.norm * (1 + 1e-12)


def test_norm_from_below_is_zero_without_drift() -> None:
    """Centred rows: the relaxation reaches 0, so 0 it is."""
    assert lower_bound_on_norm(Problem(_S - _S.mean(axis=0), size=6)) == pytest.approx(0, abs=1e-9)


def test_norm_of_the_impossible_is_infinite() -> None:
    """Where the linear limits exclude everything, every norm is excluded."""
    assert lower_bound_on_norm(Problem(_S, size=12, must_keep=[0])) == np.inf
    limits = [(np.ones(12), 0, 3)]
    assert lower_bound_on_norm(Problem(_S, size=5, constraints=limits)) == np.inf


def test_norm_from_below_with_constraints() -> None:
    """Linear limits raise the bound; it stays below the optimum."""
    S = np.abs(_S) + 0.5
    labels = [0] * 6 + [1] * 6
    problem = Problem(S, size=5, groups=labels, group_limits={0: (3, 3), 1: (2, 2)})
    best = enumerate_optimum(problem)
    assert best is not None
    bound = lower_bound_on_norm(problem)
    assert 0.5 * best.norm < bound <= best.norm


def test_at_least_stops_early() -> None:
    """A threshold that is passed at once needs no further steps, and the value stays proven."""
    problem = Problem(np.abs(_S) + 0.5, size=6)
    best = enumerate_optimum(problem)
    assert best is not None
    assert 0.1 < lower_bound_on_norm(problem, num_steps=50, at_least=0.1) <= best.norm

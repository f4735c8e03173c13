"""Eq. 4 where the rows' sum is far from zero: the relaxed minimum, and what is built on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import min_norm_problems
from subsetsel.solvers import _start
from subsetsel.solvers._anneal_options import AnnealOptions
from subsetsel.solvers._margin import Margin
from subsetsel.solvers._start import Start

import subsetsel
from subsetsel.bounds.dual import is_drifting, norm_along
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.testing import feasible_subsets


def drifting(n: int, d: int, drift: float = 2.0, seed: int = 0) -> Any:
    """Uneven rows that share a direction, which no choice of 40 % of them cancels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.lognormal(0.0, 0.5, size=(n, 1)) + drift


def relaxed(problem: subsetsel.Problem, limits: Limits | None = None) -> tuple[Start, Any, Margin]:
    """Starts of a problem, the weights at the relaxed minimum, and its margin."""
    start = Start(problem, AnnealOptions(), Run(problem, limits or Limits()))
    margin = start.relax(np.random.default_rng(0))
    return start, None if start._relaxed is None else start._relaxed[0], margin


@pytest.mark.parametrize(("drift", "expected"), [(2.0, True), (0.0, False)])
def test_drift_is_told_from_chance(drift: float, expected: bool) -> None:
    """A shared direction counts, the sum of independent rows does not."""
    assert is_drifting(subsetsel.Problem(drifting(2000, 8, drift), size=800)) is expected


@settings(deadline=None, max_examples=60)
@given(problem=min_norm_problems(), seed=st.integers(0, 10_000))
def test_no_direction_bounds_above_the_optimum(problem: subsetsel.Problem, seed: int) -> None:
    """Whatever the direction, the least norm along it holds for every subset."""
    masks, norms = feasible_subsets(problem)
    bound = norm_along(problem, np.random.default_rng(seed).normal(size=problem.d))
    if len(masks):
        assert bound <= norms.min()


@pytest.mark.parametrize("u", [np.zeros(3), np.full(3, np.inf), np.full(3, np.nan)])
def test_a_direction_that_is_none_bounds_nothing(u: Any) -> None:
    """Zero, infinite and undefined directions prove a norm of at least 0."""
    assert norm_along(subsetsel.Problem(drifting(20, 3), size=5), u) == 0.0


def test_relaxed_weights_reach_the_relaxed_minimum() -> None:
    """Their norm and the bound along it enclose the optimum of the relaxation closely."""
    problem = subsetsel.Problem(drifting(2000, 8), size=800)
    _, weights, margin = relaxed(problem)
    total = weights @ np.asarray(problem.rows.dense())
    assert weights.sum() == pytest.approx(800, abs=0.1)
    assert margin.total == pytest.approx(total, rel=1e-9)
    assert norm_along(problem, total) == pytest.approx(np.linalg.norm(total), rel=1e-3)


def test_prices_tell_who_is_decided() -> None:
    """Weights at 0 would rise the energy, weights at 1 lower it, those between are at rest."""
    problem = subsetsel.Problem(drifting(2000, 8), size=800)
    _, weights, margin = relaxed(problem)
    assert margin.total is not None
    slopes = 2.0 * np.asarray(problem.rows.dense()) @ margin.total - margin.prices
    np.testing.assert_allclose(np.abs(slopes), margin.costs)
    typical = float(margin.costs.mean())
    between = (weights > 0.01) & (weights < 0.99)
    assert margin.costs[between].max() < 0.05 * typical
    assert slopes[weights == 0].min() > -0.05 * typical
    assert slopes[weights == 1].max() < 0.05 * typical


def test_no_subset_has_less_than_the_least_energy() -> None:
    """Of the size that is asked for, whether near the relaxed minimum or drawn at random."""
    problem = subsetsel.Problem(drifting(500, 8), size=200)
    start, weights, margin = relaxed(problem)
    rng = np.random.default_rng(1)
    masks = [rng.permutation(500) < 200 for _ in range(20)]
    masks.append(start._with_size(weights > 0.5))
    energies = [margin.energy(problem.norm(mask) ** 2, mask) for mask in masks]
    assert margin.total is not None
    # The sweeps end where they gain less than a share of 1e-4 of the norm.
    rounding = 2e-4 * float(margin.total @ margin.total)
    assert min(energies) >= margin.least - rounding
    # The one that follows the weights is far nearer to it than all others.
    assert energies[-1] - margin.least < 0.01 * (min(energies[:-1]) - margin.least)


@pytest.mark.parametrize("is_limited", [False, True])
def test_fixed_examples_and_groups_are_part_of_the_relaxed_minimum(is_limited: bool) -> None:
    """Its weights respect them, and what lies along their sum bounds every subset."""
    limits: Any = {"groups": np.arange(600) % 2, "group_limits": {0: (160, 200)}}
    problem = subsetsel.Problem(
        drifting(600, 8),
        size=240,
        must_prune=[0, 1],
        must_keep=[2, 3],
        **limits if is_limited else {},
    )
    _, weights, margin = relaxed(problem)
    assert weights[[0, 1, 2, 3]].tolist() == [1, 1, 0, 0]
    assert weights.sum() == pytest.approx(240, abs=0.1)
    if is_limited:
        assert 159.9 <= weights[::2].sum() <= 200.1
        # Smaller rows of odd numbers would be pruned without it: it has a price.
        prices = margin.prices[::2].mean(), margin.prices[1::2].mean()
        assert prices[0] > prices[1]
    solution = subsetsel.solve(problem, seed=0)
    assert margin.total is not None
    assert solution.norm >= norm_along(problem, margin.total)


@given(excess=st.floats(1e-3, 1e4), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_temperature_holds_the_energy_of_the_start(excess: float, seed: int) -> None:
    """Half a temperature a dimension and the flips it pays for make up what is above the least."""
    problem = subsetsel.Problem(np.ones((300, 7)), size=100, must_keep=[0])
    costs = np.random.default_rng(seed).exponential(5.0, size=300)
    temperature = Margin(np.zeros(300), costs, 10.0).temperature(problem, excess)
    flips = costs[1:] / (1 + np.exp(np.minimum(costs[1:] / temperature, 700.0)))
    assert 0.5 * 7 * temperature + flips.sum() == pytest.approx(excess, rel=1e-6)


def test_a_start_at_the_least_norm_is_not_heated() -> None:
    """Nothing is to be won above it, and less than nothing neither."""
    problem = subsetsel.Problem(np.ones((5, 7)), size=2)
    for excess in (0.0, -1.0):
        assert Margin(np.zeros(5), np.ones(5), 0.0).temperature(problem, excess) == 0.0


def test_few_rows_have_few_dimensions() -> None:
    """Five examples move in five dimensions at most."""
    problem = subsetsel.Problem(np.ones((5, 70)), size=2)
    assert Margin.without(problem).temperature(problem, 10.0) == pytest.approx(4.0)


def test_drifting_rows_end_near_the_proven_least_norm() -> None:
    """Within a hundredth of a percent of it, where equal weights leave a fifth more."""
    S = drifting(1000, 8)
    solution = subsetsel.solve(S, size=400, seed=0)
    assert solution.bound is not None
    assert solution.bound <= solution.norm <= 1.0001 * solution.bound
    assert 0.4 * np.linalg.norm(S.sum(axis=0)) > 1.2 * solution.norm


def test_drifting_rows_are_bounded_within_a_time_limit() -> None:
    """A search that fills its time has set some aside for the bound."""
    solution = subsetsel.solve(drifting(1000, 8), size=400, seed=0, time_limit=0.3)
    assert solution.bound is not None
    assert solution.norm <= 1.0001 * solution.bound


def test_rows_that_cancel_after_all_are_led_to_zero() -> None:
    """A drift that large rows can make up for leaves no bound, and a norm far below a row's."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(1000, 4)) * rng.lognormal(0.0, 1.0, size=(1000, 1)) + 0.3
    problem = subsetsel.Problem(S, size=400)
    assert is_drifting(problem)
    solution = subsetsel.solve(problem, seed=0)
    assert solution.norm < 0.1 * float(np.sqrt(np.median(problem.rows.squared_norms)))


def test_rows_that_cancel_after_all_have_no_margin() -> None:
    """There the relaxed minimum is 0 and says nothing of anyone."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(1000, 4)) * rng.lognormal(0.0, 1.0, size=(1000, 1)) + 0.3
    start, weights, margin = relaxed(subsetsel.Problem(S, size=400))
    assert weights is None
    assert margin.total is None
    assert not margin.costs.any()
    assert start.run.num_iterations > 0


def test_start_goes_by_the_slopes_where_there_is_no_time_to_settle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a few sweeps say of the relaxed minimum is near it, and keeps what must be kept."""
    problem = subsetsel.Problem(drifting(3000, 8), size=1200, must_keep=[0, 1], must_prune=[2])
    start, _, margin = relaxed(problem, Limits(max_iterations=4 * 3000))
    monkeypatch.setattr(_start, "settle", lambda *_, **__: None)
    begun = start.whole(margin, np.random.default_rng(0), np.inf)
    assert begun is not None
    mask = begun.mask
    assert margin.total is not None
    assert problem.is_feasible(mask)
    assert problem.norm(mask) <= 1.02 * norm_along(problem, margin.total)


def test_too_few_iterations_for_a_sweep_give_no_margin() -> None:
    """Slopes at equal weights would lead far past the minimum; rows that cancel then start none."""
    problem = subsetsel.Problem(drifting(3000, 8), size=1200)
    start, weights, margin = relaxed(problem, Limits(max_iterations=7499))
    assert weights is None
    assert margin.total is None
    assert start.whole(margin, np.random.default_rng(0), 7499) is None
    assert start.run.num_iterations == 0
    _, weights, _ = relaxed(problem, Limits(max_iterations=7500))
    assert weights is not None


def test_the_relaxed_minimum_leaves_most_of_the_iterations() -> None:
    """It takes its share of them at most, and a sweep more."""
    problem = subsetsel.Problem(drifting(3000, 8), size=1200)
    start, _, _ = relaxed(problem, Limits(max_iterations=20_000))
    assert start.run.num_iterations <= 0.4 * 20_000 + 3000


def test_drifting_rows_keep_their_groups() -> None:
    """Limits on groups hold, and the norm is near that without them."""
    S, groups = drifting(600, 8), np.arange(600) % 2
    limits = {0: (120, 120), 1: (120, 120)}
    solution = subsetsel.solve(S, size=240, groups=groups, group_limits=limits, seed=0)
    assert np.count_nonzero(solution.mask & (groups == 0)) == 120
    assert solution.norm < 1.2 * subsetsel.solve(S, size=240, seed=0).norm


def test_several_workers_find_the_same_on_drifting_rows() -> None:
    """The same seed and number of workers give the same subset."""
    S = drifting(600, 8)
    first, second = (subsetsel.solve(S, size=240, seed=3, num_workers=2) for _ in range(2))
    assert (first.mask == second.mask).all()

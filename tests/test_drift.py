"""Eq. 4 where the rows' sum is far from zero: `_settled.Margin`, and what is built on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import min_norm_problems
from subsetsel.solvers._continuation import Weights, relax_weights, springs_of
from subsetsel.solvers._settled import Margin, settled_start

import subsetsel
from subsetsel.bounds.dual import is_drifting, norm_along
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.testing import feasible_subsets


def drifting(n: int, d: int, drift: float = 2.0, seed: int = 0) -> Any:
    """Uneven rows that share a direction, which no choice of 40 % of them cancels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.lognormal(0.0, 0.5, size=(n, 1)) + drift


def relaxed(problem: subsetsel.Problem) -> tuple[Weights, Any]:
    """Weights at the relaxed minimum, and their slopes."""
    S: Any = problem.rows.dense()
    values = np.full(problem.n, (problem.size or 0) / problem.n)
    norms = problem.rows.squared_norms
    springs = springs_of(problem, values, float(np.median(norms)))
    weights = Weights(S, norms, values, values @ S, np.arange(problem.n), springs)
    run, rng = Run(problem, Limits()), np.random.default_rng(0)
    return weights, relax_weights(weights, run, rng, share=1.0, quota=None)[0]


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
    weights, _ = relaxed(problem)
    total = weights.values @ np.asarray(problem.rows.dense())
    assert weights.values.sum() == pytest.approx(800, abs=0.1)
    assert norm_along(problem, total) == pytest.approx(np.linalg.norm(total), rel=1e-3)


def test_slopes_tell_who_is_decided() -> None:
    """Weights at 0 would rise the norm, weights at 1 lower it, those between are at rest."""
    weights, slopes = relaxed(subsetsel.Problem(drifting(2000, 8), size=800))
    typical = float(np.abs(slopes).mean())
    between = (weights.values > 0.01) & (weights.values < 0.99)
    assert np.abs(slopes[between]).max() < 0.05 * typical
    assert slopes[weights.values == 0].min() > -0.05 * typical
    assert slopes[weights.values == 1].max() < 0.05 * typical


@given(norm=st.floats(11.0, 100.0), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_temperature_holds_the_energy_of_the_start(norm: float, seed: int) -> None:
    """Half a temperature a dimension and the flips it pays for make up what is above the least."""
    costs = np.random.default_rng(seed).exponential(5.0, size=300)
    margin = Margin(np.zeros(7), 10.0, costs, 7)
    temperature = margin.temperature(norm)
    flips = costs / (1 + np.exp(costs / temperature))
    assert 0.5 * 7 * temperature + flips.sum() == pytest.approx(norm**2 - 100.0, rel=1e-6)


def test_a_start_at_the_least_norm_is_not_heated() -> None:
    """Nothing is to be won above it."""
    assert Margin(np.zeros(7), 10.0, np.ones(5), 7).temperature(10.0) == 0.0


def test_core_holds_the_cheapest_flips() -> None:
    """Who is left out costs more than everyone who is in, and a thousand are always in."""
    costs = np.random.default_rng(0).exponential(1.0, size=5000)
    free = np.arange(0, 5000, 2)
    core = Margin(np.zeros(3), 1.0, costs, 3).core(free, 1e-6)
    left_out = np.setdiff1d(free, core)
    assert 1000 <= core.size <= 1001
    assert costs[core].max() <= costs[left_out].min()


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


def test_start_goes_by_the_slopes_where_there_is_no_time_to_settle() -> None:
    """What one sweep says of the relaxed minimum is near it, and keeps what must be kept."""
    problem = subsetsel.Problem(drifting(3000, 8), size=1200, must_keep=[0, 1], must_prune=[2])
    run, rng = Run(problem, Limits()), np.random.default_rng(0)
    start = settled_start(problem, run, rng, quota=4 * 3000)
    assert start is not None
    mask, margin = start
    assert margin is not None
    assert problem.is_feasible(mask)
    assert problem.norm(mask) <= 1.02 * norm_along(problem, margin.total)


def test_too_few_iterations_for_a_sweep_give_no_start() -> None:
    """Slopes at equal weights would lead far past the minimum."""
    problem = subsetsel.Problem(drifting(3000, 8), size=1200)
    run, rng = Run(problem, Limits()), np.random.default_rng(0)
    assert settled_start(problem, run, rng, quota=4 * 3000 - 1) is None


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

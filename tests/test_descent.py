"""The one coordinate descent: `subsetsel.bounds.descent` and its kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel.bounds import descent as descent_module
from subsetsel.bounds._descent_kernels import multiplier, sweep
from subsetsel.bounds.descent import Descent
from subsetsel.problem.constraints import Constraints


def never() -> bool:
    """No clock is over."""
    return False


def descent_of(S: Any, values: Any, limits: Any = (), **options: Any) -> Descent:
    """Give weights of all rows, under limits (coefficients, lower, upper) with penalties of 1."""
    built = Constraints.build(len(S), list(limits))
    options = {"penalties": np.ones(len(built))} | options
    norms = np.einsum("ij,ij->i", S, S, dtype=np.float64)
    return Descent(norms, values, values @ S.astype(np.float64), built.columns(values), **options)


def objective(S: Any, weights: Descent, limits: Any, values: Any) -> float:
    """What a sweep lowers, computed from nothing but the values; D only where it is finite."""
    total, unit = values @ S, weights.unit
    out = 0.5 * float(total @ total) - weights.lam * float(values.sum())
    finite = np.where(np.isinf(weights.diagonal), 0.0, weights.diagonal)
    out += 0.5 * float((finite * values * (1 - values)).sum())
    each = zip(limits, unit * weights.multipliers, unit * weights.penalties, strict=True)
    for (coefficients, lower, upper), y, rho in each:
        activity = float(coefficients @ values)
        above, below = (
            max(0.0, y + rho * (activity - upper)),
            min(0.0, y + rho * (activity - lower)),
        )
        out += (above**2 + below**2) / (2.0 * rho)
    return out


LAMS = st.one_of(st.just(0.0), st.floats(1e-3, 3.0))
SHARES = st.one_of(st.floats(0.0, 0.99), st.floats(1.0, 1.5), st.just(np.inf))


@given(seed=st.integers(0, 10_000), share=SHARES, lam=LAMS, is_steered=st.booleans())
@settings(deadline=None, max_examples=80)
def test_sweep_minimizes_each_weight(seed: int, share: float, lam: float, is_steered: bool) -> None:
    """No other value of the weight just moved has a lower objective.

    With a diagonal without end only 0 and 1 are compared.
    """
    rng = np.random.default_rng(seed)
    S, values = rng.normal(size=(6, 3)), rng.random(6)
    limits = [(np.ones(6), 2.0, 2.0), (rng.integers(-2, 3, 6).astype(float), 0.5, 0.5)]
    radius = 1.0 if is_steered and lam > 0 else None
    weights = descent_of(S, values, limits, penalties=rng.uniform(0.1, 4.0, 2), lam=lam,
                         radius=radius)  # fmt: skip
    weights.multipliers[:] = rng.normal(size=2)
    i = int(rng.integers(6))
    stiffness = weights.unit * weights.penalties
    curvature = S[i] @ S[i] + sum(
        r * c[i] ** 2 for r, (c, *_) in zip(stiffness, limits, strict=True)
    )
    weights.diagonal[:] = share * curvature
    weights.sweep(S, np.arange(6), np.array([i]), never)
    found = objective(S, weights, limits, values)
    grid = np.linspace(0.0, 1.0, 51) if np.isfinite(share) else np.array([0.0, 1.0])
    assert np.isfinite(share) or values[i] in grid
    for other in grid:
        tried = values.copy()
        tried[i] = other
        assert found <= objective(S, weights, limits, tried) + 1e-9


@given(seed=st.integers(0, 10_000), share=SHARES)
@settings(deadline=None, max_examples=60)
def test_a_limit_that_is_broken_never_makes_a_move_worse(seed: int, share: float) -> None:
    """A one-sided limit has its full curvature where it pushes, so that no step overshoots."""
    rng = np.random.default_rng(seed)
    S, values, coefficients = rng.normal(size=(6, 3)), rng.uniform(0.1, 0.9, 6), rng.random(6)
    limits = [(coefficients, -np.inf, 0.5 * float(coefficients @ values))]
    weights = descent_of(S, values, limits, penalties=rng.uniform(0.1, 9.0, 1), lam=1.0)
    i = int(rng.integers(6))
    weights.diagonal[:] = share * (S[i] @ S[i] + weights.penalties[0] * coefficients[i] ** 2)
    # A diagonal without end costs at the start what no other value does.
    before = objective(S, weights, limits, values) if np.isfinite(share) else np.inf
    weights.sweep(S, np.arange(6), np.array([i]), never)
    assert objective(S, weights, limits, values) <= before + 1e-9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sweep_keeps_its_sums(dtype: Any) -> None:
    """After sweeps the sum of rows and the left-hand sides belong to the weights."""
    rng = np.random.default_rng(0)
    S = (rng.normal(size=(40, 5)) * rng.lognormal(0, 1.5, (40, 1))).astype(dtype)
    relative, values = rng.random(40), np.full(40, 0.4)
    weights = descent_of(S, values, [(np.ones(40), 15, 15), (relative, 0, 3)], lam=0.3)
    weights.diagonal[::3] = 2.0
    for _ in range(5):
        weights.sweep(S, np.arange(40), rng.permutation(40), never)
    np.testing.assert_allclose(weights.total, values @ S.astype(np.float64), atol=1e-11)
    np.testing.assert_allclose(weights.columns.activity, [values.sum(), values @ relative])


def test_sweep_counts_the_weights_that_move() -> None:
    """A weight that stays where it is does not count."""
    S = np.random.default_rng(1).normal(size=(50, 4))
    values = np.random.default_rng(2).random(50)
    before, weights = values.copy(), descent_of(S, values, lam=0.5)
    moved = weights.sweep(S, np.arange(50), np.arange(50), never)
    assert moved == np.count_nonzero(values != before)
    # Far beyond the margin everyone ends at 1, and once there stays.
    weights.lam = 1e6
    weights.sweep(S, np.arange(50), np.arange(50), never)
    assert weights.sweep(S, np.arange(50), np.arange(50), never) == 0


def test_some_rows_move_as_they_do_within_all() -> None:
    """``items`` says who the rows given are; the others' weights stay."""
    rng = np.random.default_rng(3)
    S, some = rng.normal(size=(30, 4)), np.array([7, 2, 19, 28, 11])
    found = []
    for rows, items, order in ((S, np.arange(30), some), (S[some], some, np.arange(5))):
        values = np.full(30, 0.3)
        weights = descent_of(S, values, [(np.ones(30), 9, 9)], lam=0.2)
        weights.sweep(rows, items, order, never)
        found.append(values)
    np.testing.assert_array_equal(found[0], found[1])
    assert (np.delete(found[0], some) == 0.3).all()
    assert (found[0][some] != 0.3).all()


def test_compiled_sweep_equals_python() -> None:
    """The kernel moves the weights as its Python form does, in all its branches."""
    rng = np.random.default_rng(1)
    S = rng.normal(size=(60, 4)) * rng.lognormal(0.0, 1.0, (60, 1))
    limits = [(np.ones(60), 20, 20), (rng.normal(size=60), -np.inf, 1.0), (np.ones(60), 10, 25)]
    diagonal = (S**2).sum(axis=1) * rng.choice([0.0, 0.5, 1.5, np.inf], 60)
    found, ones = [], np.ones(60)
    for kernel in (sweep, getattr(sweep, "py_func", sweep)):
        values = np.full(60, 0.3)
        weights = descent_of(S, values, limits)
        y, rho, columns = np.array([0.2, 0.0, -0.1]), np.array([0.5, 2.0, 1.0]), weights.columns
        moved = kernel(S, np.arange(60), np.arange(60), values, weights.total, 0.1,
                       weights.squared_norms, diagonal, ones, columns, y, rho)  # fmt: skip
        found.append((moved, values, weights.total, columns.activity))
    assert found[0][0] == found[1][0]
    for compiled, python in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_allclose(compiled, python, atol=1e-9)
    values = found[0][1]
    assert np.isin(values[np.isinf(diagonal)], [0.0, 1.0]).all()
    assert ((values > 0) & (values < 1)).any()


def test_a_sweep_ends_between_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is over lets the call in progress end, and no other one begin."""
    monkeypatch.setattr(descent_module, "_CALL_ENTRIES", 1)
    S, values = np.random.default_rng(4).normal(size=(600, 3)), np.full(600, 0.5)
    descent_of(S, values, lam=1e3).sweep(S, np.arange(600), np.arange(600), lambda: True)
    assert (values[:256] == 1.0).all()
    assert (values[256:] == 0.5).all()


@given(
    activity=st.floats(-10, 10),
    lower=st.floats(-5, 0),
    upper=st.floats(0, 5),
    y=st.floats(-5, 5),
    rho=st.floats(0.01, 10),
)
def test_multiplier_is_the_slope_of_the_augmented_lagrangian(
    activity: float, lower: float, upper: float, y: float, rho: float
) -> None:
    """It pushes back beyond either limit, and is 0 where neither holds."""
    found = multiplier(activity, lower, upper, y, rho)
    pushed = y + rho * activity
    expected = pushed - np.clip(pushed, rho * lower, rho * upper)
    assert found == pytest.approx(expected, abs=1e-9)


# --- steering ------------------------------------------------------------------------------------


@given(length=st.floats(1e-6, 1e6), radius=st.floats(1e-6, 1e6), share=st.floats(0.01, 1.0))
def test_steer_goes_towards_the_radius(length: float, radius: float, share: float) -> None:
    """Too short a sum raises lam, too long a one lowers it, by at most e^2 a step."""
    weights = descent_of(np.array([[length]]), np.ones(1), lam=1.0, radius=radius)
    weights.steer(share)
    step, miss = np.log(weights.lam), np.log(radius / length)
    assert step == pytest.approx(share * np.clip(miss, -2.0, 2.0), abs=1e-9)


def test_without_a_radius_lam_stays() -> None:
    """Under Eq. 4 nothing is steered."""
    weights = descent_of(np.ones((2, 1)), np.ones(2), lam=0.7)
    weights.steer()
    assert weights.lam == 0.7
    assert weights.unit == 1.0


def test_steps_shrink_where_they_overshoot() -> None:
    """Too long and too short in turn halves the step each time, down to a twentieth."""
    weights = descent_of(np.array([[1.0]]), np.ones(1), lam=1.0, radius=1.0)
    steps = []
    for number in range(8):
        weights.total[0], before = np.exp(0.5 * (-1.0) ** number), weights.lam
        weights.steer()
        steps.append(abs(float(np.log(weights.lam / before))))
    np.testing.assert_allclose(steps[:5], 0.5 * 0.5 ** np.arange(5.0))
    np.testing.assert_allclose(steps[5:], 0.5 * 0.05)


def test_lam_stays_within_its_limits() -> None:
    """Where no weights give the radius it neither grows nor shrinks without end."""
    for total, expected in ((0.0, 1e9), (1e100, 1e-9)):
        weights = descent_of(np.array([[1.0]]), np.ones(1), lam=1.0, radius=1.0)
        weights.total[0] = total
        for _ in range(100):
            weights.steer()
        assert weights.lam == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_sweeps_and_steps_end_on_the_ball(share: float) -> None:
    """With D = 0 weights and lam come to rest where the sum has the radius: the relaxation."""
    rng = np.random.default_rng(5)
    S, values = rng.normal(0.3, 1.0, size=(80, 4)), np.full(80, 0.5)
    radius = share * float(np.linalg.norm(S.sum(axis=0)))
    weights = descent_of(S, values, lam=1.0, radius=radius)
    for _ in range(300):
        weights.sweep(S, np.arange(80), rng.permutation(80), never)
        weights.steer()
    assert weights.length() == pytest.approx(radius, rel=1e-3)
    reduced = 1.0 - S @ (values @ S) / weights.lam
    assert reduced[values == 0].max() < 1e-2
    assert reduced[values == 1].min() > -1e-2
    assert np.abs(reduced[(values > 0) & (values < 1)]).max() < 1e-2


# --- multipliers ---------------------------------------------------------------------------------


def test_lifted_multipliers_make_the_limits_hold() -> None:
    """A penalty alone leaves a miss; its multiplier takes it away, and a slack limit has none."""
    rng = np.random.default_rng(6)
    S = rng.normal(1.0, 1.0, size=(60, 3))
    coefficients = rng.random(60)
    limits = [(np.ones(60), 20.0, 20.0), (coefficients, -np.inf, 100.0)]
    misses = []
    for lifts in (False, True):
        weights = descent_of(S, np.full(60, 20 / 60), limits, penalties=np.array([0.5, 0.5]))
        for _ in range(400):
            weights.sweep(S, np.arange(60), rng.permutation(60), never)
            if lifts:
                weights.lift()
        misses.append(abs(float(weights.columns.activity[0]) - 20.0))
    assert misses[0] > 1.0
    assert misses[1] < 1e-3
    assert weights.multipliers[0] < 0.0
    assert weights.multipliers[1] == 0.0


def test_multipliers_are_in_units_of_lam_where_there_is_a_radius() -> None:
    """What steers with a radius moves as it does in plain squared norms, times lam."""
    S = np.random.default_rng(7).normal(size=(20, 3))
    found = []
    for radius, unit in ((2.0, 1.0), (None, 4.0)):
        values = np.full(20, 0.4)
        weights = descent_of(S, values, [(np.ones(20), 8, 8)], penalties=np.full(1, 0.5 * unit),
                             lam=4.0, radius=radius)  # fmt: skip
        weights.multipliers[:] = 0.3 * unit
        weights.sweep(S, np.arange(20), np.arange(20), never)
        found.append(values)
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)

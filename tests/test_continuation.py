"""The continuation from weights to a subset: `subsetsel.solvers._continuation`."""

from __future__ import annotations

from itertools import chain, count, repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subsetsel.solvers._continuation import Aim, Weights, settle, springs_of
from subsetsel.solvers._continuation_kernels import Springs, sweep

import subsetsel
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run


def uneven(n: int, d: int, seed: int = 0) -> Any:
    """Rows whose norms spread over several orders of magnitude."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.lognormal(0.0, 1.5, size=(n, 1))


def weights_of(problem: subsetsel.Problem, values: Any, preserved: Any = None) -> Weights:
    """The weights of all examples of a problem."""
    S: Any = problem.rows.dense()
    norms = problem.rows.squared_norms
    springs = springs_of(problem, values, float(np.median(norms)), preserved=preserved)
    return Weights(S, norms, values, values @ S, np.arange(problem.n), springs)


def objective(S: Any, values: Any, concavity: Any, springs: Springs, lam: float) -> Any:
    """What a sweep lowers, computed from nothing but the weights."""
    total = values @ S
    columns, stiffness = springs
    matrix = np.zeros((len(columns.lower), len(S)))
    for i in range(len(S)):
        for entry in range(columns.starts[i], columns.starts[i + 1]):
            matrix[columns.members[entry], i] = columns.coefficients[entry]
    activity = matrix @ values
    excess = activity - np.clip(activity, columns.lower, columns.upper)
    curvature = (S**2).sum(axis=1) + (stiffness[:, None] * matrix**2).sum(axis=0)
    return (
        0.5 * total @ total
        - lam * values.sum()
        + 0.5 * (stiffness * excess**2).sum()
        + 0.5 * (concavity * curvature * values * (1 - values)).sum()
    )


@given(seed=st.integers(0, 10_000), most=st.floats(0.0, 1.5), lam=st.floats(0.0, 3.0))
@settings(deadline=None, max_examples=40)
def test_sweep_minimizes_each_weight(seed: int, most: float, lam: float) -> None:
    """No other value of the weight just moved has a lower objective."""
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(6, 3))
    problem = subsetsel.Problem(S, size=2, groups=[0, 0, 0, 1, 1, 1], group_limits={0: (1, 1)})
    values = rng.random(6)
    weights = weights_of(problem, values)
    concavity = np.full(6, most)
    i = int(rng.integers(6))
    sweep(S, np.array([i]), values, weights.total, weights.squared_norms, concavity,
          weights.springs, lam)  # fmt: skip
    found = objective(S, values, concavity, weights.springs, lam)
    for other in np.linspace(0.0, 1.0, 51):
        tried = values.copy()
        tried[i] = other
        assert found <= objective(S, tried, concavity, weights.springs, lam) + 1e-9


def test_sweep_keeps_its_sums() -> None:
    """After a sweep the sum of rows and the left-hand sides belong to the weights."""
    S = uneven(40, 5)
    problem = subsetsel.Problem(S, size=15)
    relative = (S**2).sum(axis=1)
    weights = weights_of(problem, np.full(40, 0.4), (relative, 0.1))
    args = (weights.squared_norms, np.full(40, 0.5), weights.springs, 0.3)
    sweep(S, np.arange(40), weights.values, weights.total, *args)
    np.testing.assert_allclose(weights.total, weights.values @ S, atol=1e-12)
    expected = [weights.values.sum(), weights.values @ relative]
    np.testing.assert_allclose(weights.springs.columns.activity, expected)


def test_compiled_sweep_equals_python() -> None:
    """The kernel moves the weights as its Python form does."""
    S = uneven(30, 4, seed=1)
    problem = subsetsel.Problem(S, size=10)
    python = getattr(sweep, "py_func", sweep)
    found = []
    for kernel in (sweep, python):
        weights = weights_of(problem, np.full(30, 0.3))
        args = (weights.squared_norms, np.full(30, 0.9), weights.springs, 0.1)
        kernel(S, np.arange(30), weights.values, weights.total, *args)
        found.append(weights.values)
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)


def test_settled_weights_keep_the_size() -> None:
    """The size is a spring: what is settled differs from it by a handful at most."""
    problem = subsetsel.Problem(uneven(400, 20), size=150)
    weights = weights_of(problem, np.full(400, 150 / 400))
    mask = settle(weights, Run.quiet(problem), np.random.default_rng(0), share=0.5)
    assert mask is not None
    assert abs(mask.sum() - 150) <= 5


def test_large_rows_leave_a_small_error() -> None:
    """Of uneven rows a settled subset is far better than one drawn at random."""
    S = uneven(600, 30, seed=2)
    problem = subsetsel.Problem(S, size=240)
    rng = np.random.default_rng(0)
    weights = weights_of(problem, np.full(600, 0.4))
    settled = settle(weights, Run.quiet(problem), rng, share=0.5)
    assert settled is not None
    drawn = [problem.norm(rng.permutation(600) < 240) for _ in range(5)]
    assert problem.norm(settled) < 0.25 * np.mean(drawn)


@pytest.mark.parametrize("seed", range(3, 8))
def test_aim_leads_to_the_ball(seed: int) -> None:
    """For Eq. 3 the settled subset fills the ball, and is hardly outside."""
    S = uneven(600, 10, seed=seed) + 0.1
    problem = subsetsel.Problem(S, epsilon=0.2 * float(np.linalg.norm(S.sum(axis=0))))
    run = Run.quiet(problem)
    relaxation = run.solve_relaxation()
    assert relaxation is not None
    assert problem.epsilon is not None
    weights = weights_of(problem, relaxation.weights.copy())
    lam = problem.epsilon / np.linalg.norm(relaxation.dual.u)
    aim = Aim(lam, problem.epsilon)
    mask = settle(weights, run, np.random.default_rng(0), share=0.5, num_stages=100, aim=aim)
    assert mask is not None
    assert 0.85 <= problem.norm(mask) / problem.epsilon <= 1.005
    assert mask.sum() >= relaxation.value - 15


def test_an_aim_that_rounding_misses_is_taken_again_lower() -> None:
    """In many dimensions the last rows to settle push the sum out of the ball; it ends inside."""
    S = uneven(1500, 300, seed=1)
    problem = subsetsel.Problem(S, epsilon=0.04 * float(np.linalg.norm(S.sum(axis=0))))
    relaxation = Run.quiet(problem).solve_relaxation()
    assert relaxation is not None
    assert problem.epsilon is not None
    aim = Aim(problem.epsilon / float(np.linalg.norm(relaxation.dual.u)), problem.epsilon)
    for seed in range(3):
        weights = weights_of(problem, relaxation.weights.copy())
        rng = np.random.default_rng(seed)
        mask = settle(weights, Run.quiet(problem), rng, share=0.5, num_stages=20, aim=aim)
        assert mask is not None
        assert problem.norm(mask) <= 1.005 * problem.epsilon
        assert weights.lam < aim.lam


def test_float32_sums_do_not_drift_on_the_way() -> None:
    """After many sweeps the sum that the ball is judged by is still that of the weights."""
    S = (uneven(1500, 40, seed=2) + 0.2).astype(np.float32)
    problem = subsetsel.Problem(S, epsilon=0.1 * float(np.linalg.norm(S.sum(axis=0))))
    relaxation = Run.quiet(problem).solve_relaxation()
    assert relaxation is not None
    assert problem.epsilon is not None
    springs = springs_of(problem, relaxation.weights, 1.0)
    values = relaxation.weights.copy()
    total = (values @ S).astype(np.float32)
    norms = problem.rows.squared_norms
    weights = Weights(S, norms, values, total, np.arange(problem.n), springs)
    aim = Aim(problem.epsilon / float(np.linalg.norm(relaxation.dual.u)), problem.epsilon)
    rng = np.random.default_rng(0)
    mask = settle(weights, Run.quiet(problem), rng, share=0.5, num_stages=400, aim=aim)
    assert mask is not None
    error = np.linalg.norm(weights.total - weights.values @ S.astype(np.float64))
    assert error <= 3e-6 * problem.epsilon


def test_large_rows_are_among_the_fewer_that_are_kept() -> None:
    """What is kept holds the share of squared norms that its first weights give it.

    Mutation: the mean error is 0.03; 0.10 without the spring on squared norms, 0.4 without a tilt.
    """
    errors = []
    for seed in range(6):
        S = uneven(3000, 20, seed=seed)
        S -= S.mean(axis=0)
        solution = subsetsel.solve(S, size=2400, max_iterations=100_000)
        norms = (S**2).sum(axis=1)
        norms /= np.median(norms)
        counted = np.minimum(norms, 20.0)
        # A fifth is kept, small rows rather than large ones by the power 0.3 (1 - 2 / 5).
        chances = np.clip(norms, 1 / 30, 30) ** -0.18
        expected = chances @ counted / chances.sum()
        errors.append((counted[~solution.mask].mean() - expected) / counted.mean())
    assert np.abs(errors).mean() < 0.06


def test_a_late_way_is_finished_in_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time for it is over, the weights are still led to 0 and 1, not left on the way.

    The smallest fiftieth need not be: the concave term is below their own curvature.
    """
    problem = subsetsel.Problem(uneven(400, 20), size=150)
    weights = weights_of(problem, np.full(400, 150 / 400))
    run = Run(problem, Limits(time_limit=600.0, bound=False))
    # The first sweep takes a moment, then the clock is beyond all shares.
    clock = chain([0.0, 1e-3], repeat(1e3))
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr("subsetsel.solvers._continuation.time", fake)
    mask = settle(weights, run, np.random.default_rng(0), share=0.5)
    assert mask is not None
    assert np.mean((weights.values > 0) & (weights.values < 1)) <= 0.02


def test_a_slow_first_sweep_does_not_set_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages are planned anew as they go: a first sweep that took long does not make them few.

    Mutation: with the steps that the first sweep suggests there are 15 stages.
    """
    problem = subsetsel.Problem(uneven(400, 20), size=150)
    weights = weights_of(problem, np.full(400, 150 / 400))
    run = Run(problem, Limits(time_limit=600.0, bound=False))
    clock = chain([0.0, 10.0], count(10.0, 0.5))
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr("subsetsel.solvers._continuation.time", fake)
    assert settle(weights, run, np.random.default_rng(0), share=0.5) is not None
    # Two looks at the clock a stage, half a second each: one second a stage.
    num_stages = next(clock) - 10.0
    assert num_stages > 200


def test_giants_need_not_be_pruned() -> None:
    """Rows that nothing cancels are kept: the norm ends below a typical row's."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(1500, 40)) * rng.lognormal(0.0, 2.0, size=(1500, 1))
    solution = subsetsel.solve(S, size=1200, max_iterations=400_000)
    lengths = np.sqrt((S**2).sum(axis=1))
    assert lengths.max() > 100 * np.median(lengths)
    assert solution.norm < np.median(lengths)


def test_no_time_gives_no_subset() -> None:
    """With a quota below a few sweeps there is no subset, rather than a bad one."""
    problem = subsetsel.Problem(uneven(100, 5), size=30)
    weights = weights_of(problem, np.full(100, 0.3))
    run = Run(problem, Limits(bound=False))
    assert settle(weights, run, np.random.default_rng(0), share=0.5, quota=200) is None


def test_springs_of_without_limits_is_empty() -> None:
    """An uncapped Eq. 3 without constraints has no springs."""
    problem = subsetsel.Problem(uneven(5, 2), epsilon=1.0)
    springs = springs_of(problem, np.zeros(5), 1.0)
    assert isinstance(springs, Springs)
    assert springs.columns.activity.size == 0


def test_start_at_random_does_not_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """``start="random"`` is plain annealing: only the usual start goes through the continuation."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("settled")

    S = uneven(50, 5)
    subsetsel.solve(S, size=20, max_iterations=500)
    monkeypatch.setattr("subsetsel.solvers._settled.settle", refuse)
    assert subsetsel.solve(S, size=20, max_iterations=500, start="random").size == 20
    with pytest.raises(RuntimeError, match="settled"):
        subsetsel.solve(S, size=20, max_iterations=500)

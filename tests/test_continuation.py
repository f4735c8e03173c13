"""The continuation from weights to a subset: `subsetsel.solvers._continuation`."""

from __future__ import annotations

from itertools import chain, count, repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subsetsel.solvers._continuation import settle

import subsetsel
from subsetsel.bounds.descent import Descent
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.problem.constraints import Constraints


def uneven(n: int, d: int, seed: int = 0) -> Any:
    """Rows whose norms spread over several orders of magnitude."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.lognormal(0.0, 1.5, size=(n, 1))


def weights_of(problem: subsetsel.Problem, values: Any, **options: Any) -> Descent:
    """Weights of all examples, with the size of Eq. 4 as a limit."""
    limits = problem.constraints
    if problem.size is not None:
        size = float(problem.size)
        limits = Constraints.build(problem.n, [(np.ones(problem.n), size, size)]).join(limits)
    norms = problem.rows.squared_norms
    return Descent(
        norms,
        values,
        problem.rows.sum(values),
        limits.columns(values),
        penalties=np.full(len(limits), float(np.median(norms))),
        **options,
    )


def settled(
    problem: subsetsel.Problem,
    weights: Descent,
    run: Run | None = None,
    *,
    items: Any = None,
    seed: int = 0,
    num_stages: int = 120,
    share: float = 0.5,
    moves: float = np.inf,
) -> Any:
    """Where the weights are led to."""
    items = np.arange(problem.n) if items is None else items
    rows, rng = problem.rows.search_matrix(), np.random.default_rng(seed)
    run = Run.quiet(problem) if run is None else run
    plan = {"num_stages": num_stages, "share": share, "moves": moves}
    return settle(weights, rows, items, run, rng, **plan)


def relaxed_weights(problem: subsetsel.Problem) -> tuple[Descent, float]:
    """Weights of Eq. 3 at the relaxed optimum, steered to epsilon; the relaxed size."""
    relaxation = Run.quiet(problem).solve_relaxation()
    assert relaxation is not None
    assert problem.epsilon is not None
    lam = problem.epsilon / float(np.linalg.norm(relaxation.dual.u))
    weights = weights_of(problem, relaxation.weights.copy(), lam=lam, radius=problem.epsilon)
    return weights, relaxation.value


@pytest.mark.parametrize("seed", range(3))
def test_settled_weights_keep_the_size(seed: int) -> None:
    """The size is a limit: what is settled differs from it by a handful at most."""
    problem = subsetsel.Problem(uneven(400, 20), size=150)
    mask = settled(problem, weights_of(problem, np.full(400, 150 / 400)), seed=seed)
    assert mask is not None
    assert abs(mask.sum() - 150) <= 5


def test_large_rows_leave_a_small_error() -> None:
    """Of uneven rows a settled subset is far better than one drawn at random."""
    problem = subsetsel.Problem(uneven(600, 30, seed=2), size=240)
    rng = np.random.default_rng(0)
    mask = settled(problem, weights_of(problem, np.full(600, 0.4)))
    assert mask is not None
    drawn = [problem.norm(rng.permutation(600) < 240) for _ in range(5)]
    assert problem.norm(mask) < 0.1 * np.mean(drawn)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), num=st.integers(1, 60))
def test_only_the_items_move(seed: int, num: int) -> None:
    """The weights of all others stay, and the sum is that of all weights."""
    rng = np.random.default_rng(seed)
    problem = subsetsel.Problem(uneven(60, 4, seed), size=25)
    items, values = np.sort(rng.choice(60, num, replace=False)), rng.random(60)
    before, weights = values.copy(), weights_of(problem, values)
    mask = settled(problem, weights, items=items, num_stages=10)
    others = np.setdiff1d(np.arange(60), items)
    assert mask is not None
    assert mask.shape == (60,)
    np.testing.assert_array_equal(values[others], before[others])
    np.testing.assert_allclose(weights.total, problem.rows.sum(values), atol=1e-9)
    is_whole = (values == 0) | (values == 1)
    np.testing.assert_array_equal(mask[is_whole], values[is_whole] == 1)


@pytest.mark.parametrize("seed", range(3, 8))
def test_a_radius_leads_to_the_ball(seed: int) -> None:
    """For Eq. 3 the settled subset fills the ball, and is hardly outside; a walk does the rest."""
    S = uneven(600, 10, seed=seed) + 0.1
    problem = subsetsel.Problem(S, epsilon=0.2 * float(np.linalg.norm(S.sum(axis=0))))
    weights, size = relaxed_weights(problem)
    mask = settled(problem, weights, num_stages=100)
    assert mask is not None
    assert problem.epsilon is not None
    assert 0.85 <= problem.norm(mask) / problem.epsilon <= 1.05
    assert mask.sum() >= size - 15


def test_a_radius_that_rounding_misses_is_taken_again_lower() -> None:
    """In many dimensions the last rows to settle push the sum out of the ball; it ends inside."""
    S = uneven(1500, 300, seed=1)
    problem = subsetsel.Problem(S, epsilon=0.04 * float(np.linalg.norm(S.sum(axis=0))))
    assert problem.epsilon is not None
    lowered = []
    for seed in range(3):
        weights, _ = relaxed_weights(problem)
        mask = settled(problem, weights, seed=seed, num_stages=20)
        assert mask is not None
        assert problem.norm(mask) <= 1.005 * problem.epsilon
        assert weights.radius is not None
        lowered.append(weights.radius < problem.epsilon)
    assert any(lowered)


def test_float32_sums_do_not_drift_on_the_way() -> None:
    """After many sweeps the sum that the ball is judged by is still that of the weights."""
    S = (uneven(1500, 40, seed=2) + 0.2).astype(np.float32)
    problem = subsetsel.Problem(S, epsilon=0.1 * float(np.linalg.norm(S.sum(axis=0))))
    weights, _ = relaxed_weights(problem)
    assert settled(problem, weights, num_stages=400) is not None
    assert problem.epsilon is not None
    error = np.linalg.norm(weights.total - weights.weights @ S.astype(np.float64))
    assert error <= 3e-6 * problem.epsilon


@pytest.mark.parametrize("size", [600, 2400])
def test_large_rows_stay_on_both_sides(size: int) -> None:
    """The side with fewer examples has small rows more often, by its tilt and no more.

    Without the limit on ranks the concave term sends most large rows to the other side.
    """
    errors = []
    for seed in range(4):
        S = uneven(3000, 20, seed=seed)
        S -= S.mean(axis=0)
        solution = subsetsel.solve(S, size=size, max_iterations=100_000)
        ranks = np.argsort(np.argsort((S**2).sum(axis=1))) / 2999
        fewer = solution.mask if size < 1500 else ~solution.mask
        # A fifth: chances fall by 0.7 (1 - 2 / 5) on either side of the median rank.
        tilt = 0.7 * (1 - 2 / 5)
        errors.append(ranks[fewer].mean() - (0.5 - tilt / 6))
    assert np.abs(errors).max() < 0.02


def test_a_late_way_is_finished_in_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time for it is over, the weights are still led to 0 and 1, not left on the way.

    The smallest fiftieth need not be: the concave term is below their own curvature.
    """
    problem = subsetsel.Problem(uneven(400, 20), size=150)
    weights = weights_of(problem, np.full(400, 150 / 400))
    run = Run(problem, Limits(time_limit=600.0, bound=False))
    # The first stage takes a moment, then the clock is beyond all shares.
    ticks = count(3)
    clock = chain([0.0, 1e-3], (1e3 + 0.0 * next(ticks) for _ in repeat(None)))
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr("subsetsel.solvers._continuation.time", fake)
    assert settled(problem, weights, run) is not None
    assert np.mean((weights.weights > 0) & (weights.weights < 1)) <= 0.02
    # Steps of a quarter after the first one.
    assert next(ticks) - 3 <= 6


def test_a_slow_first_sweep_does_not_set_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages are planned anew as they go: a first sweep that took long does not make them few.

    Mutation: if the pace of the first stage is kept, there are too few.
    """
    problem = subsetsel.Problem(uneven(400, 20), size=150)
    weights = weights_of(problem, np.full(400, 150 / 400))
    run = Run(problem, Limits(time_limit=600.0, bound=False))
    clock = chain([0.0, 10.0], count(11.0, 1.0))
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr("subsetsel.solvers._continuation.time", fake)
    assert settled(problem, weights, run) is not None
    # One look at the clock a stage, a second each: it ends about the 300 seconds it may take.
    num_stages = next(clock) - 11.0
    assert 200 < num_stages < 320


def test_stages_fill_the_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way does not take more than its share, however fast its stages get."""
    problem = subsetsel.Problem(uneven(400, 20), size=150)
    run = Run(problem, Limits(time_limit=100.0, bound=False))
    now = [0.0]

    def look() -> float:
        # Stages get faster, as fewer weights are open.
        now[0] += 0.5 if now[0] < 5.0 else 0.1
        return now[0]

    fake = SimpleNamespace(perf_counter=look)
    monkeypatch.setattr("subsetsel.solvers._continuation.time", fake)
    weights = weights_of(problem, np.full(400, 150 / 400))
    assert settled(problem, weights, run, share=0.3) is not None
    assert 20.0 < now[0] < 31.0


def test_giants_need_not_be_pruned() -> None:
    """Rows that nothing cancels are kept: the norm ends near a typical row's."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(1500, 40)) * rng.lognormal(0.0, 2.0, size=(1500, 1))
    solution = subsetsel.solve(S, size=1200, max_iterations=400_000)
    lengths = np.sqrt((S**2).sum(axis=1))
    assert lengths.max() > 100 * np.median(lengths)
    assert solution.norm < 2 * np.median(lengths)


def test_too_few_iterations_give_no_subset() -> None:
    """With a share below a few sweeps there is no subset, rather than a bad one."""
    problem = subsetsel.Problem(uneven(100, 5), size=30)
    for moves, is_enough in ((4799, False), (20_000, True)):
        run = Run(problem, Limits(bound=False))
        mask = settled(problem, weights_of(problem, np.full(100, 0.3)), run, moves=moves)
        assert (mask is not None) is is_enough
        assert is_enough or run.num_iterations == 0


def test_too_little_time_gives_no_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the first stage shows that fewer than six fit, it ends there."""
    problem = subsetsel.Problem(uneven(100, 5), size=30)
    for first, is_enough in ((60.0, False), (10.0, True)):
        run = Run(problem, Limits(bound=False, time_limit=600.0))
        clock = chain([0.0], count(first, first))
        fake = SimpleNamespace(perf_counter=lambda clock=clock: next(clock))
        monkeypatch.setattr("subsetsel.solvers._continuation.time", fake)
        mask = settled(problem, weights_of(problem, np.full(100, 0.3)), run)
        assert (mask is not None) is is_enough


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_iterations_stay_within_their_share(share: float) -> None:
    """A way plans its sweeps so that what follows has the rest."""
    problem = subsetsel.Problem(uneven(400, 20), size=150)
    run = Run(problem, Limits(bound=False))
    weights = weights_of(problem, np.full(400, 150 / 400))
    plan: dict[str, Any] = {"num_stages": 2000, "share": share, "moves": 60_000}
    assert settled(problem, weights, run, **plan) is not None
    assert weights.num_visits == run.num_iterations
    assert 0.5 * share * 60_000 < run.num_iterations <= 1.1 * share * 60_000


def test_rows_of_zeros_are_drawn_by_their_weights() -> None:
    """There is nothing to settle, and nothing to divide by."""
    problem = subsetsel.Problem(np.zeros((50, 3)), size=20)
    mask = settled(problem, weights_of(problem, np.full(50, 0.4)))
    assert mask is not None
    assert 0 < mask.sum() < 50


@pytest.mark.filterwarnings("error")
def test_without_a_ball_there_is_nothing_to_aim_at() -> None:
    """With epsilon = 0 the rows that cancel are found, and no logarithm is taken of 0."""
    S = np.repeat(np.eye(6), 4, axis=0) * np.tile([1.0, -1.0, 2.0, -2.0], 6)[:, None]
    solution = subsetsel.solve(np.vstack([S, np.full(6, 100.0)]), epsilon=0.0)
    assert solution.is_feasible
    assert solution.size == 24


def test_start_at_random_does_not_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """``start="random"`` is plain annealing: only the usual start goes through the continuation."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("settled")

    S = uneven(50, 5)
    subsetsel.solve(S, size=20, max_iterations=500)
    monkeypatch.setattr("subsetsel.solvers._start.settle", refuse)
    assert subsetsel.solve(S, size=20, max_iterations=500, start="random").size == 20
    with pytest.raises(RuntimeError, match="settled"):
        subsetsel.solve(S, size=20, max_iterations=500)

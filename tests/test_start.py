"""Where a search begins: `_start`, `_core` and `_best_moves` of `subsetsel.solvers`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subsetsel.solvers import _core, _start, anneal
from subsetsel.solvers._anneal_options import AnnealOptions
from subsetsel.solvers._best_moves import fill_up, insert_few
from subsetsel.solvers._core import draw_core, has_core
from subsetsel.solvers._margin import Margin
from subsetsel.solvers._start import Start
from subsetsel.solvers._walk import Walker

import subsetsel
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem


def start_of(problem: Problem, limits: Limits | None = None, **options: Any) -> Start:
    """Give the starts of a problem; its run is their ``run``."""
    return Start(problem, AnnealOptions(**options), Run(problem, limits or Limits(bound=False)))


def few(problem: Problem, relaxed_size: float = np.inf, **options: Any) -> Any:
    """Give the best choices, if they are few."""
    run = Run(problem, Limits(bound=False))
    return insert_few(problem, run, AnnealOptions(**options), relaxed_size)


def _herd(S: Any, count: int, total: Any, sign: float) -> tuple[list[float], Any]:
    """Norms after each of ``count`` best choices and who was chosen, as NumPy would have them."""
    norms, chosen = [], np.zeros(len(S), dtype=bool)
    for _ in range(count):
        after = np.linalg.norm(total + sign * S, axis=1)
        after[chosen] = np.inf
        best = int(np.argmin(after))
        chosen[best] = True
        total = total + sign * S[best]
        norms.append(float(after[best]))
    return norms, chosen


# --- few examples --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 20), is_kept=st.booleans())
def test_few_are_the_best_choices_one_by_one(seed: int, count: int, is_kept: bool) -> None:
    """Pruned from nothing or kept from all: what herding chooses, example by example."""
    S = np.random.default_rng(seed).normal(size=(400, 6)) + 0.1
    problem = Problem(S, size=400 - count if is_kept else count)
    found = few(problem)
    _, chosen = _herd(S, count, S.sum(axis=0) if is_kept else np.zeros(6), -1.0 if is_kept else 1.0)
    assert found is not None
    np.testing.assert_array_equal(~found if is_kept else found, chosen)


def test_a_small_ball_is_filled_by_best_choices() -> None:
    """Under Eq. 3 they end before the norm exceeds epsilon."""
    S = np.random.default_rng(5).normal(size=(800, 200))
    epsilon = 0.08 * float(np.linalg.norm(S.sum(axis=0)))
    norms, _ = _herd(S, 60, np.zeros(200), 1.0)
    expected = int(np.argmax(np.array(norms) > epsilon))
    problem = Problem(S, epsilon=epsilon)
    found = few(problem, 20.0)
    assert found is not None
    assert expected >= 5
    assert found.sum() == expected
    assert few(problem, 129.0) is None


@pytest.mark.parametrize("num_pruned", [12, 4988])
def test_a_dozen_of_many_is_no_worse_than_best_choices_one_by_one(num_pruned: int) -> None:
    """Few pruned from nothing, few kept from all: the default begins where herding ends."""
    S = np.random.default_rng(3).normal(size=(5000, 64)) + 0.02
    start, sign = (np.zeros(64), 1.0) if num_pruned == 12 else (S.sum(axis=0), -1.0)
    expected = _herd(S, 12, start, sign)[0][-1]
    assert subsetsel.solve(S, size=num_pruned).norm <= expected * (1 + 1e-9)


def test_a_small_epsilon_in_many_dimensions_gets_what_best_choices_get() -> None:
    """Where rounding the relaxation leaves hardly anything, a prefix of herding fits."""
    S = np.random.default_rng(5).normal(size=(800, 200))
    epsilon = 0.08 * float(np.linalg.norm(S.sum(axis=0)))
    expected = sum(norm <= epsilon for norm in _herd(S, 60, np.zeros(200), 1.0)[0])
    assert expected >= 5
    assert subsetsel.solve(S, epsilon=epsilon, max_iterations=3_000_000).size >= expected


def test_of_a_head_the_few_kept_are_not_chosen_by_norm_alone() -> None:
    """Rows that sum to zero: tiny ones as all that is kept would have no curvature."""
    rng = np.random.default_rng(7)
    S = rng.normal(size=(600, 20)) * np.repeat([1e-3, 1.0], 300)[:, None]
    S -= S.mean(axis=0)
    assert few(Problem(S, num_kept=12)) is None
    # Pruning as few is another matter: the smallest rows are then the right ones.
    found = few(Problem(S, size=12))
    assert found is not None
    assert np.flatnonzero(found).max() < 300


def test_few_keep_what_is_fixed() -> None:
    """Examples that must be pruned count, those that must be kept are never chosen."""
    S = np.random.default_rng(8).normal(size=(400, 5))
    for size in (15, 385):
        problem = Problem(S, size=size, must_prune=[0, 1], must_keep=np.arange(2, 12))
        found = few(problem)
        assert found is not None
        assert not problem.violations(found)


def test_few_leave_quotas_to_the_continuation() -> None:
    """Best choices know nothing of linear limits; what many examples get is not few."""
    S = np.random.default_rng(11).normal(size=(900, 30))
    groups = np.arange(900) % 3
    limits = {0: (4, 4), 1: (4, 4), 2: (4, 4)}
    assert few(Problem(S, size=12, groups=groups, group_limits=limits)) is None
    assert few(Problem(S, size=46)) is None
    assert few(Problem(S, size=46), few_share=0.06) is not None
    solution = subsetsel.solve(S, size=12, groups=groups, group_limits=limits)
    assert np.bincount(groups[solution.mask]).tolist() == [4, 4, 4]


def test_best_choices_leave_most_of_the_iterations_to_the_search() -> None:
    """With too few iterations for every choice there is no subset, and a fifth of them is gone."""
    S = np.random.default_rng(13).normal(size=(3000, 10))
    problem = Problem(S, size=150)
    run = Run(problem, Limits(max_iterations=100, bound=False))
    assert insert_few(problem, run, AnnealOptions(), np.inf) is None
    assert 0 < run.num_iterations <= 20


# --- Eq. 3 ---------------------------------------------------------------------------------------


def relaxed_start(S: Any, share: float, **options: Any) -> tuple[Start, Any, Margin]:
    """Starts of Eq. 3 with the relaxed optimum and its margin."""
    problem = Problem(S, epsilon=share * float(np.linalg.norm(S.sum(axis=0))), **options)
    start = start_of(problem)
    relaxation = start.run.solve_relaxation()
    assert relaxation is not None
    return start, relaxation, Margin.of_relaxation(problem, relaxation)


@pytest.mark.parametrize("groups", [None, np.arange(300) % 2])
def test_filling_up_leaves_nothing_that_fits(groups: Any) -> None:
    """It stays inside and within the limits, and nothing more can be pruned alone."""
    S = np.random.default_rng(1).normal(0.3, 1.0, size=(300, 4))
    limits = None if groups is None else {0: (0, 60)}
    start, _, _ = relaxed_start(S, 0.2, groups=groups, group_limits=limits)
    problem = start.problem
    fill_up(problem, start.run)
    found = start.run.mask
    assert found is not None
    assert not problem.violations(found)
    assert problem.epsilon is not None
    if groups is None:
        beside = S[found].sum(axis=0) + S[~found]
        assert (np.linalg.norm(beside, axis=1) > problem.epsilon).all()


def test_near_the_margin_is_settled_and_the_rest_is_as_the_margin_has_it() -> None:
    """Who is far on one side of it is not asked again; what is fixed stays."""
    S = np.random.default_rng(2).normal(0.3, 1.0, size=(6000, 4))
    start, relaxation, margin = relaxed_start(S, 0.2, must_prune=[1], must_keep=[2, 3])
    begun = start.near_margin(margin, relaxation, np.random.default_rng(0), np.inf)
    found = None if begun is None else begun.mask
    problem = start.problem
    assert found is not None
    assert found[1]
    assert not found[[2, 3]].any()
    costs = margin.costs.copy()
    costs[~problem.free] = np.inf
    far = np.argsort(costs)[1000:]
    far = far[problem.free[far]]
    np.testing.assert_array_equal(found[far], relaxation.dual.reduced_costs[far] > 0)
    assert problem.norm(found) <= 1.01 * (problem.epsilon or 0.0)
    assert found.sum() >= relaxation.value - 5


def test_near_the_margin_quotas_hold() -> None:
    """Where the weights miss a group's limit by a few, the subset is mended."""
    S = np.random.default_rng(3).normal(0.3, 1.0, size=(2000, 4))
    groups = np.arange(2000) % 4
    limits = {0: (50, 50), 1: (0, 100)}
    start, relaxation, margin = relaxed_start(S, 0.2, groups=groups, group_limits=limits)
    begun = start.near_margin(margin, relaxation, np.random.default_rng(0), np.inf)
    found = None if begun is None else begun.mask
    assert found is not None
    assert not start.problem.constraints.violations(found)


# --- Eq. 4 ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.integers(4, 196), is_limited=st.booleans())
def test_the_whole_is_led_to_the_size_asked_for(seed: int, size: int, is_limited: bool) -> None:
    """Whatever the size, fixed examples and groups: no linear limit is broken."""
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {"must_prune": [0, 1, 2], "must_keep": [197, 198, 199]}
    if is_limited:
        low = int(rng.integers(0, max(1, size // 3)))
        options |= {"groups": np.arange(200) % 3, "group_limits": {0: (min(low, 66), 67)}}
    S = rng.normal(size=(200, 4)) * rng.lognormal(0, 1, (200, 1)) + rng.choice([0.0, 2.0])
    start = start_of(Problem(S, size=size, **options), num_stages=10)
    margin = start.relax(rng)
    begun = start.whole(margin, rng, np.inf)
    assert begun is not None
    found = begun.mask
    assert not start.problem.violations(found)
    if not is_limited and 20 <= size <= 180:
        drawn = [start.problem.norm(rng.permutation(200) < size) for _ in range(20)]
        assert start.problem.norm(found) <= np.median(drawn)


def test_the_smallest_rows_make_up_the_size() -> None:
    """A handful too many or too few are flipped where it costs least."""
    S = np.arange(1.0, 21.0)[:, None]
    start = start_of(Problem(S, size=5, must_keep=[0]))
    more = start._with_size(np.arange(20) >= 18)
    np.testing.assert_array_equal(np.flatnonzero(more), [1, 2, 3, 18, 19])
    fewer = start._with_size(np.arange(20) >= 12)
    np.testing.assert_array_equal(np.flatnonzero(fewer), [15, 16, 17, 18, 19])


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_first_weights_are_tilted_to_small_rows_on_the_side_with_fewer(share: float) -> None:
    """Their mean is the size; without a tilt they say nothing of the norms."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(2000, 5)) * rng.lognormal(0, 1, (2000, 1))
    S -= S.mean(axis=0)
    ranks = np.argsort(np.argsort((S**2).sum(axis=1)))
    for tilt in (0.0, 1.0):
        start = start_of(Problem(S, size=round(share * 2000)), tilt=tilt)
        weights = start._weights(np.random.default_rng(0)).weights
        fewer = weights if share < 0.5 else 1.0 - weights
        assert fewer.sum() == pytest.approx(400, rel=0.01)
        slope = np.polyfit(ranks / 1999, fewer, 1)[0]
        assert slope == pytest.approx(-2 * 0.2 * tilt * 0.6, abs=0.01)


# --- a core --------------------------------------------------------------------------------------


@pytest.fixture
def small_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores of 240 examples, so that a problem of some thousands has one."""
    monkeypatch.setattr(_core, "_FEWEST", 240)
    monkeypatch.setattr(_core, "_CORE_ROWS", 48)


def uneven(n: int, d: int, seed: int = 0) -> Any:
    """Independent rows of different lengths."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.lognormal(0, 0.7, (n, 1))


@given(num=st.integers(2500, 5000), d=st.integers(1, 10), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_core_and_others_are_all(num: int, d: int, seed: int) -> None:
    """Half a core are the smallest rows, the other half lies below the median."""
    rng = np.random.default_rng(seed)
    by_norm = rng.permutation(2 * num)[:num].astype(np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_core, "_FEWEST", 240)
        core, others = draw_core(by_norm, d, rng)
    assert core.size == max(240, 48 * d)
    np.testing.assert_array_equal(np.sort(np.concatenate([core, others])), np.sort(by_norm))
    assert np.isin(by_norm[: core.size // 2], core).all()
    assert np.isin(core, by_norm[: num // 2]).all()


@pytest.mark.usefixtures("small_cores")
def test_who_has_a_core() -> None:
    """Many more rows than dimensions, which cancel and have no limits on groups."""
    S = uneven(2000, 5)
    assert has_core(Problem(S, size=900))
    assert not has_core(Problem(S[:900], size=300))
    assert not has_core(Problem(uneven(2000, 11), size=900))
    assert not has_core(Problem(S + 2.0, size=900))
    groups = np.arange(2000) % 2
    assert not has_core(Problem(S, size=900, groups=groups, group_limits={0: (400, 500)}))
    assert not has_core(Problem(S, size=900, must_keep=np.arange(1100)))


@pytest.mark.usefixtures("small_cores")
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), size=st.integers(60, 2900))
def test_outside_a_core_rows_are_balanced(seed: int, size: int) -> None:
    """All others are at 0 or 1 and leave a sum that the core can take; the size is right."""
    problem = Problem(uneven(3000, 5, seed), size=size, must_prune=[0, 1], must_keep=[2, 3])
    start = start_of(problem)
    core, weights = start._balanced(np.random.default_rng(seed))
    if core.size == start.free.size:
        assert weights.num_visits == 8 * (start.free.size - 240)
        return
    others = np.setdiff1d(np.arange(3000), core)
    assert np.isin(core, start.free).all()
    assert np.isin(weights.weights[others], [0.0, 1.0]).all()
    np.testing.assert_array_equal(weights.weights[[0, 1, 2, 3]], [1, 1, 0, 0])
    lengths = np.sqrt(problem.rows.squared_norms[core])
    assert weights.length() <= 0.2 * lengths.sum() / np.sqrt(5)
    np.testing.assert_allclose(weights.total, problem.rows.sum(weights.weights), atol=1e-8)
    assert abs(weights.weights.sum() - size) <= core.size


@pytest.mark.usefixtures("small_cores")
@pytest.mark.parametrize("size", [60, 1500, 2940])
def test_a_search_of_a_core_keeps_size_and_what_is_fixed(size: int) -> None:
    """Whether a core is enough or not, the answer is feasible and far below a row's length."""
    S = uneven(3000, 5, 1)
    problem = Problem(S, size=size, must_prune=[0, 1], must_keep=[2, 3])
    solution = subsetsel.solve(problem)
    assert solution.is_feasible
    assert solution.mask[[0, 1]].all()
    assert not solution.mask[[2, 3]].any()
    assert solution.norm < 0.5


@pytest.mark.usefixtures("small_cores")
def test_where_a_core_cannot_balance_all_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the sweeps were for nothing, and everyone is settled as without a core."""
    problem = Problem(uneven(3000, 5, 1), size=1500)
    monkeypatch.setattr(_start, "RESIDUAL", 0.0)
    start = start_of(problem, num_stages=10)
    rng = np.random.default_rng(0)
    begun = start.whole(start.relax(rng), rng, np.inf)
    assert begun is not None
    np.testing.assert_array_equal(begun.items, start.free)
    assert begun.num_visits > 8 * problem.n
    assert not problem.violations(begun.mask)


@pytest.mark.usefixtures("small_cores")
def test_a_core_is_as_good_as_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is near that without a core, and took far fewer iterations."""
    S, answers = uneven(6000, 5, 2), []
    answers.append(subsetsel.solve(S, size=2400, closing_share=0.0))
    monkeypatch.setattr(_start, "has_core", lambda _: False)
    answers.append(subsetsel.solve(S, size=2400, closing_share=0.0))
    assert answers[0].norm <= max(4.0 * answers[1].norm, 2e-3)
    assert answers[0].num_iterations < 0.8 * answers[1].num_iterations


@pytest.mark.slow
def test_a_large_core_is_nearly_as_good_as_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With cores of their usual size, 60,000 rows of 16 dimensions."""
    S, norms = uneven(60_000, 16, 3).astype(np.float32), []
    assert has_core(Problem(S, size=24_000))
    norms.append(subsetsel.solve(S, size=24_000, num_stages=40).norm)
    monkeypatch.setattr(_start, "has_core", lambda _: False)
    norms.append(subsetsel.solve(S, size=24_000, num_stages=40).norm)
    typical = float(np.sqrt((S.astype(np.float64) ** 2).sum()) * np.sqrt(0.24))
    assert norms[0] <= max(3.0 * norms[1], 1e-4 * typical)


@pytest.mark.usefixtures("small_cores")
def test_few_iterations_are_kept_with_a_core() -> None:
    """Balancing the others is no search that iterations need not pay for."""
    solution = subsetsel.solve(uneven(3000, 5, 1), size=1500, max_iterations=1000)
    assert solution.is_feasible
    assert solution.num_iterations <= 1300


@pytest.mark.usefixtures("small_cores")
def test_each_worker_walks_the_core_that_it_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the answer would depend on who is faster."""
    import threading

    problem = Problem(uneven(3000, 5, 1), size=1500)
    # What is warmed up must not wait for a second worker.
    subsetsel.solve(problem, num_stages=6, num_proposals=500)
    settled: dict[int, Any] = {}
    walked: dict[int, Any] = {}
    barrier = threading.Barrier(2, timeout=60)
    settle, walk = _start.settle, Walker.walk

    def settle_here(weights: Any, rows: Any, items: Any, *args: Any, **options: Any) -> Any:
        settled[threading.get_ident()] = items
        found = settle(weights, rows, items, *args, **options)
        barrier.wait()
        return found

    def walk_here(walker: Walker, mask: Any, core: Any, *args: Any) -> Any:
        walked[threading.get_ident()] = core
        return walk(walker, mask, core, *args)

    monkeypatch.setattr(_start, "settle", settle_here)
    monkeypatch.setattr(anneal.Walker, "walk", walk_here)
    subsetsel.solve(problem, num_workers=2, num_chains=2, num_stages=6, num_proposals=500)
    assert len(settled) == len(walked) == 2
    first, second = settled.values()
    assert (first != second).any()
    for thread, core in walked.items():
        np.testing.assert_array_equal(core, settled[thread])

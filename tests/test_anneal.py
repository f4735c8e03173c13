"""The annealer: kernels against brute force and their Python form, schedules, variants."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from subsetsel.solvers import _gram_kernels, _row_kernels, _shared_kernels
from subsetsel.solvers._chains import columns_of, gram_matrix, walk
from subsetsel.solvers._local_search import LocalSearch
from subsetsel.solvers._swap_search import close_by_exchanges

import subsetsel
from subsetsel import Problem
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run

_N, _D = 40, 4


def _rows(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0.2, 1.0, size=(_N, _D))


def _core(seed: int = 0) -> tuple[Any, Any, Any, Any, Any, Any]:
    rows = _rows(seed)
    chosen = np.arange(_N) % 3 == 0
    total = rows[chosen].sum(axis=0)
    state = np.array([total @ total, chosen.sum(), 5.0, 4.0, -1.0])
    problem = Problem(rows, epsilon=4.0)
    return rows, chosen, rows @ total, state, columns_of(problem, chosen), chosen.copy()


def _plain(function: Any) -> Any:
    """Give the Python form of a kernel; with NUMBA_DISABLE_JIT it is the kernel itself."""
    return getattr(function, "py_func", function)


def _run_core(function: Any, calls: list[int], seed: int = 1) -> tuple[Any, ...]:
    rows, chosen, products, state, columns, best = _core()
    rng = np.random.default_rng(seed)
    done = 0
    for count in calls:
        schedule = (1.0, 0.05, float(done), float(sum(calls)))
        function(rows @ rows.T, chosen, products, state, columns, rng, best, schedule, count)
        done += count
    return rows, chosen, products, state, best


def test_gram_flips_keep_their_books() -> None:
    """Products, squared norm and count equal what is recomputed from the chosen rows."""
    rows, chosen, products, state, _ = _run_core(_gram_kernels.gram_flips, [4096])
    total = rows[chosen].sum(axis=0)
    np.testing.assert_allclose(products, rows @ total, atol=1e-9)
    np.testing.assert_allclose(state[0], total @ total, atol=1e-9)
    assert state[1] == chosen.sum()


def test_gram_flips_remember_a_feasible_best() -> None:
    """The best subset has the size it claims and lies inside the ball."""
    rows, _, _, state, best = _run_core(_gram_kernels.gram_flips, [4096])
    assert state[4] == best.sum() > 0
    assert np.linalg.norm(rows[best].sum(axis=0)) <= 4.0 * (1 + 1e-12)


def test_gram_flips_walk_the_same_path_in_pieces() -> None:
    """Four calls of 512 proposals end where one of 2,048 does."""
    whole = _run_core(_gram_kernels.gram_flips, [2048])
    pieces = _run_core(_gram_kernels.gram_flips, [512] * 4)
    np.testing.assert_array_equal(whole[1], pieces[1])
    np.testing.assert_array_equal(whole[3], pieces[3])


def test_gram_flips_agree_with_their_python_form() -> None:
    """Compiled and plain Python walk the same path from the same seed."""
    compiled = _run_core(_gram_kernels.gram_flips, [768])
    plain = _run_core(_plain(_gram_kernels.gram_flips), [768])
    np.testing.assert_array_equal(compiled[1], plain[1])
    np.testing.assert_allclose(compiled[3], plain[3], rtol=1e-12)


def _run_rows(name: str, count: int = 4096) -> tuple[Any, ...]:
    rows = _rows(3).astype(np.float32)
    mask = np.arange(_N) % 2 == 0
    problem = Problem(rows, epsilon=4.0)
    total, columns = problem.rows.sum(mask), columns_of(problem, mask)
    norms = problem.rows.squared_norms
    order = np.argsort(norms, kind="stable")
    rng, schedule, best = np.random.default_rng(2), (1.0, 0.05, 0.0, float(count)), mask.copy()
    state = np.array([total @ total, mask.sum(), 5.0, 4.0, -1.0])
    if name == "row_swaps":
        _row_kernels.row_swaps(
            rows, mask, total, order, norms[order], np.inf, columns, rng, schedule, count
        )
    elif name == "row_flips":
        _row_kernels.row_flips(
            rows, mask, total, order, norms[order], state, columns, rng, best, schedule, count
        )
    else:
        _row_kernels.penalty_flips(
            rows, mask, total, order, state, columns, rng, best, schedule, count
        )
    return rows, mask, total, state, best


@pytest.mark.parametrize("name", ["row_swaps", "row_flips", "penalty_flips"])
def test_row_kernels_keep_the_sum(name: str) -> None:
    """The running sum equals the sum of the chosen rows."""
    rows, mask, total, *_ = _run_rows(name)
    np.testing.assert_allclose(total, rows[mask].astype(np.float64).sum(axis=0), atol=1e-6)


def test_row_swaps_keep_the_size() -> None:
    """Swaps never change how many are pruned."""
    _, mask, *_ = _run_rows("row_swaps")
    assert mask.sum() == _N // 2


@pytest.mark.parametrize("name", ["row_flips", "penalty_flips"])
def test_row_kernels_remember_a_feasible_best(name: str) -> None:
    """The best subset has the size it claims and lies inside the ball."""
    rows, _, _, state, best = _run_rows(name)
    assert state[4] == best.sum() > 0
    assert np.linalg.norm(rows[best].astype(np.float64).sum(axis=0)) <= 4.0 * (1 + 1e-6)


def test_moves_respect_limits() -> None:
    """A move that would leave the limits is not allowed, and asking changes nothing."""
    problem = Problem(
        _rows(), epsilon=4.0, groups=["a", "b"] * (_N // 2), group_limits={"a": (1, 2)}
    )
    mask = np.zeros(_N, bool)
    mask[[0, 2]] = True
    columns = columns_of(problem, mask)
    assert not _shared_kernels.is_allowed(columns, -1, 4)
    assert _shared_kernels.is_allowed(columns, 0, 4)
    assert _shared_kernels.is_allowed(columns, -1, 1)
    assert columns.activity[0] == 2.0


def test_schedule_is_shortened_to_a_quota() -> None:
    """A chain with a quota cools down all the way within it."""
    run = Run(Problem(_rows(), size=5), Limits())
    seen: list[float] = []

    def call(schedule: tuple[float, float, float, float], count: int) -> int:
        seen.append(schedule[3])
        return count

    walk(call, (1.0, 0.1), 10**9, run, quota=5000, entries=10, after=lambda _: False)
    assert set(seen) == {5000.0}
    assert run.num_iterations == 5000


def test_without_a_clock_speed_cuts_no_call() -> None:
    """Where a chain looks up does not depend on how long its calls take: same seed, same subset.

    Mutation: with calls cut by the pace measured, the slow chain looks up more often.
    """
    cuts: list[list[int]] = []
    for seconds in (0.0, 0.05):
        counts: list[int] = []

        def call(
            _: object, count: int, counts: list[int] = counts, seconds: float = seconds
        ) -> int:
            counts.append(count)
            time.sleep(seconds)
            return count

        run = Run(Problem(_rows(), size=5), Limits())
        walk(call, (1.0, 0.1), 300_000, run, entries=1000, after=lambda _: False)
        cuts.append(counts)
    assert cuts[0] == cuts[1]


def test_paper_variant_is_a_named_choice() -> None:
    """Uniform proposals from a random start give a feasible subset too."""
    sol = subsetsel.solve(_rows(), epsilon=4.0, start="random", num_proposals=20_000)
    assert sol.is_feasible
    assert sol.size > 0


def test_penalty_below_the_dual_norm_fails() -> None:
    """The naive fixed penalty leaves the ball and comes back with far less."""
    S = np.random.default_rng(5).normal(0.05, 0.01, size=(300, 3))
    good = subsetsel.solve(S, epsilon=1.0, start="random", num_proposals=50_000, bound=False)
    naive = subsetsel.solve(
        S, epsilon=1.0, start="random", num_proposals=50_000, penalty=1.0, bound=False
    )
    assert naive.size < good.size


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("start", "cold"),
        ("proposals", "all"),
        ("num_proposals", 0),
        ("num_chains", 0),
        ("core_size", 1),
        ("penalty", -1.0),
    ],
)
def test_bad_option_is_named(option: str, value: Any) -> None:
    """Each option out of its range is an error that names it."""
    with pytest.raises(subsetsel.OptionError, match=option):
        subsetsel.solve(_rows(), epsilon=1.0, **{option: value})


def test_uneven_rows_are_annealed_as_a_whole() -> None:
    """Where the core alone leaves a wide gap, annealing all rows closes most of it."""
    rng = np.random.default_rng(0)
    S = rng.normal(0.3, 1.0, size=(1500, 24)) * rng.lognormal(0, 1, size=(1500, 1))
    epsilon = 0.02 * float(np.linalg.norm(S.sum(axis=0)))
    sol = subsetsel.solve(S, epsilon=epsilon)
    assert sol.gap is not None
    assert sol.gap < 0.1


def test_rows_too_many_to_copy_are_settled_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a copy of the open rows were large beside S, the same subset comes from S itself."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(2000, 96)) * rng.lognormal(0, 1, size=(2000, 1))
    epsilon = 0.02 * float(np.linalg.norm(S.sum(axis=0)))
    copied = subsetsel.solve(S, epsilon=epsilon, num_chains=1)
    monkeypatch.setattr("subsetsel.solvers._core_starts._SETTLE_BYTES", 0)
    in_place = subsetsel.solve(S, epsilon=epsilon, num_chains=1)
    np.testing.assert_array_equal(in_place.pruned, copied.pruned)


# What a prototype found; with their bounds half of these gaps was open.
DIGITS = {0.01: 29, 0.1: 211, 1.0: 1009}


@pytest.fixture(scope="module")
def digits() -> Problem:
    """The influence matrix of the digits, computed once."""
    sklearn = pytest.importorskip("sklearn.datasets")
    X, y = sklearn.load_digits(return_X_y=True)
    return Problem.from_features(X / 16, y, l2=1e-3, formulation="paper", epsilon=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", DIGITS)
def test_digits_reach_the_published_sizes(digits: Problem, epsilon: float) -> None:
    """On digits the size is at least as good as the prototype's."""
    problem = digits.replace(epsilon=epsilon)
    assert (problem.n, problem.d) == (1797, 585)
    assert subsetsel.solve(problem, bound=False).size >= DIGITS[epsilon]


@pytest.mark.slow
def test_digits_are_bounded_within_two(digits: Problem) -> None:
    """Of 500 digits the relaxation alone lets 136 go; knowing W to be binary, 134."""
    problem = Problem(np.asarray(digits.rows.dense())[:500], epsilon=0.1)
    sol = subsetsel.solve(problem, bound="tight")
    assert sol.bound is not None
    assert sol.size >= 132
    assert sol.bound < 134.5


def test_a_gram_matrix_in_strips_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the strips, and also where the last one is short, each pair is there once."""
    rows = np.random.default_rng(0).normal(size=(23, 5))
    run = Run(Problem(rows, epsilon=1.0), Limits())
    whole = gram_matrix(rows, run)
    monkeypatch.setattr("subsetsel.solvers._chains._STRIP_WORK", 4 * rows.size)
    strips = gram_matrix(rows, run)
    assert strips is not None
    assert whole is not None
    np.testing.assert_allclose(strips, whole, rtol=1e-12, atol=1e-14)


def test_a_gram_matrix_is_given_up_once_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand columns take half a second, which a limit of two seconds does not have."""
    rows = np.random.default_rng(0).normal(size=(23, 5))
    run = Run(Problem(rows, epsilon=1.0), Limits(time_limit=1e-9))
    monkeypatch.setattr("subsetsel.solvers._chains._STRIP_WORK", 1)
    assert gram_matrix(rows, run) is None


def test_closing_exchanges_draw_pool_after_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a clock their patience grows from the usual; an endless one would stay in one pool."""
    asked = []

    def exchange(search: LocalSearch, goal: float = 0.0, patience: int = 0) -> bool:
        asked.append(patience)
        search.run.add_iterations(1)
        if len(asked) == 4:
            search.run.limit = "time"
        return False

    problem = Problem(np.random.default_rng(0).normal(size=(50, 4)), size=20)
    run = Run(problem, Limits(time_limit=60.0))
    run.submit(np.arange(50) < 20)
    monkeypatch.setattr(LocalSearch, "exchange", exchange)
    close_by_exchanges(problem, run)
    assert asked == [300, 600, 1200, 2400]

"""The annealer: its walk against brute force and its Python form, schedules, limits, variants."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subsetsel.solvers import _shared_kernels, _walk, _walk_kernels
from subsetsel.solvers._anneal_options import AnnealOptions
from subsetsel.solvers._local_search import LocalSearch
from subsetsel.solvers._margin import Margin
from subsetsel.solvers._walk import Cooling, Walker, cool, gram_matrix, is_uneven
from subsetsel.solvers._walk_kernels import BEST, COUNT, SQUARED, Ground
from subsetsel.solvers.anneal import _Search

import subsetsel
from subsetsel import Problem
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run

_N, _D = 40, 4
_EPSILON = 4.0


def _rows(seed: int = 0, n: int = _N, spread: float = 0.0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(0.2, 1.0, size=(n, _D)) * 10.0 ** rng.uniform(-spread, 0.0, (n, 1))


def _plain(function: Any) -> Any:
    """Give the Python form of a kernel; with NUMBA_DISABLE_JIT it is the kernel itself."""
    return getattr(function, "py_func", function)


class _Walked:
    """Where a walk from every third example ends, on a Gram matrix or on the rows."""

    def __init__(
        self,
        *,
        is_gram: bool,
        calls: Any = (4096,),
        rows: Any = None,
        flip_share: float = 0.5,
        reach: float = np.inf,
        lam: float = 5.0,
        ends: tuple[float, float] = (1.0, 0.05),
        function: Any = _walk_kernels.walk,
        groups: Any = None,
        seed: int = 1,
    ) -> None:
        self.rows = rows = _rows() if rows is None else rows
        n = len(rows)
        exact = rows.astype(np.float64)
        chosen = np.arange(n) % 3 == 0
        limits = (
            {} if groups is None else {"groups": groups, "group_limits": {0: (5, 9), 1: (2, 8)}}
        )
        self.problem = Problem(rows, epsilon=_EPSILON, **limits)
        total = exact[chosen].sum(axis=0)
        norms = (exact**2).sum(axis=1)
        by_norm = np.argsort(norms, kind="stable")
        columns = self.problem.constraints.columns(chosen, slack=0.5)
        matrix, sums = (exact @ exact.T, exact @ total) if is_gram else (rows, total)
        self.start = chosen.copy()
        self.ground = Ground(matrix, sums, is_gram, chosen, by_norm, norms[by_norm], columns)
        self.order, self.best = np.full(n, -1), chosen.copy()
        epsilon = _EPSILON if flip_share else np.inf
        self.state = np.array([total @ total, chosen.sum(), lam, epsilon, -1.0, lam])
        rng, done = np.random.default_rng(seed), 0.0
        for count in calls:
            schedule = (*ends, done, float(sum(calls)))
            function(self.ground, self.order, self.state, self.best, rng, schedule, flip_share,
                     reach, count)  # fmt: skip
            done += count

    @property
    def chosen(self) -> Any:
        return self.ground.chosen


GROUNDS = pytest.mark.parametrize("is_gram", [True, False], ids=["gram", "rows"])
FLIPS = pytest.mark.parametrize("flip_share", [0.0, 0.5, 1.0], ids=["swaps", "both", "flips"])


@GROUNDS
@FLIPS
def test_walk_keeps_its_books(is_gram: bool, flip_share: float) -> None:
    """Sums, squared norm and count equal what is recomputed from the chosen rows."""
    walked = _Walked(is_gram=is_gram, flip_share=flip_share)
    total = walked.rows[walked.chosen].sum(axis=0)
    expected = walked.rows @ total if is_gram else total
    np.testing.assert_allclose(walked.ground.sums, expected, atol=1e-9)
    np.testing.assert_allclose(walked.state[SQUARED], total @ total, atol=1e-9)
    assert walked.state[COUNT] == walked.chosen.sum()
    assert (walked.chosen != walked.start).any()


@GROUNDS
@FLIPS
def test_walk_lists_the_pruned_before_the_kept(is_gram: bool, flip_share: float) -> None:
    """Everyone is listed once, or a proposal would take who is pruned for kept."""
    walked = _Walked(is_gram=is_gram, flip_share=flip_share)
    np.testing.assert_array_equal(np.sort(walked.order), np.arange(_N))
    num_pruned = int(walked.state[COUNT])
    assert walked.chosen[walked.order[:num_pruned]].all()
    assert not walked.chosen[walked.order[num_pruned:]].any()


@GROUNDS
def test_walk_remembers_a_feasible_best(is_gram: bool) -> None:
    """The best subset has the size it claims and lies inside the ball."""
    walked = _Walked(is_gram=is_gram)
    assert walked.state[BEST] == walked.best.sum() > 0
    norm = np.linalg.norm(walked.rows[walked.best].sum(axis=0))
    assert norm <= _EPSILON * (1 + 1e-12)
    assert walked.state[BEST] >= walked.state[COUNT] or walked.state[SQUARED] > _EPSILON**2


@GROUNDS
def test_swaps_keep_the_size(is_gram: bool) -> None:
    """Without flips it never changes how many are pruned."""
    walked = _Walked(is_gram=is_gram, flip_share=0.0)
    assert walked.chosen.sum() == walked.start.sum() == walked.state[COUNT]


@GROUNDS
def test_a_cold_walk_lowers_the_energy(is_gram: bool) -> None:
    """Swaps at hardly any temperature end far below where they began."""
    walked = _Walked(is_gram=is_gram, flip_share=0.0, ends=(1e-9, 1e-12))
    before = float(np.linalg.norm(walked.rows[walked.start].sum(axis=0)))
    assert walked.state[SQUARED] < 0.01 * before**2


@GROUNDS
@given(seed=st.integers(0, 10_000), flip_share=st.sampled_from([0.0, 0.5, 1.0]))
@settings(deadline=None, max_examples=15)
def test_walk_agrees_with_its_python_form(is_gram: bool, seed: int, flip_share: float) -> None:
    """Compiled and plain Python walk the same path from the same seed."""
    options: Any = {"is_gram": is_gram, "flip_share": flip_share, "calls": [384], "reach": 3.0,
                    "rows": _rows(seed, 80, 2.0), "seed": seed}  # fmt: skip
    compiled = _Walked(**options)
    plain = _Walked(**options, function=_plain(_walk_kernels.walk))
    np.testing.assert_array_equal(compiled.chosen, plain.chosen)
    np.testing.assert_array_equal(compiled.order, plain.order)
    np.testing.assert_allclose(compiled.state, plain.state, rtol=1e-9, atol=1e-12)


@FLIPS
def test_gram_matrix_and_rows_walk_the_same_path(flip_share: float) -> None:
    """Where a change of the norm is read from makes no difference."""
    gram = _Walked(is_gram=True, flip_share=flip_share)
    rows = _Walked(is_gram=False, flip_share=flip_share)
    np.testing.assert_array_equal(gram.chosen, rows.chosen)
    np.testing.assert_array_equal(gram.best, rows.best)
    np.testing.assert_allclose(gram.state, rows.state, rtol=1e-9, atol=1e-9)


def test_single_precision_rows_are_added_in_double() -> None:
    """The running sum equals that of the chosen rows in float64."""
    walked = _Walked(is_gram=False, rows=_rows(3).astype(np.float32))
    total = walked.rows[walked.chosen].astype(np.float64).sum(axis=0)
    np.testing.assert_allclose(walked.ground.sums, total, atol=1e-11)


@GROUNDS
def test_a_call_goes_on_where_the_last_one_ended(is_gram: bool) -> None:
    """In calls of one stride a walk goes as in one, since the temperature and lam go on.

    Who may move is listed anew at the start of a call. Here the temperature falls so fast that it
    is in every stride anyway.
    """
    options: Any = {"is_gram": is_gram, "reach": 1.0, "lam": 1e-12, "ends": (1.0, 1e-6)}
    options["rows"] = _rows(5, 600, 4.0)
    whole = _Walked(**options, calls=[8 * 256])
    pieces = _Walked(**options, calls=[256] * 8)
    np.testing.assert_array_equal(whole.chosen, pieces.chosen)
    np.testing.assert_array_equal(whole.state, pieces.state)


@given(
    done=st.integers(0, 10_000),
    step=st.integers(0, 10_000),
    hot=st.floats(1e-12, 1e12),
    cools=st.floats(1e-9, 0.9),
)
def test_temperature_depends_on_the_proposals_made_alone(
    done: int, step: int, hot: float, cools: float
) -> None:
    """However they are cut into calls, it falls geometrically from hot to cold."""
    at = _shared_kernels.temperature_at
    found = at((hot, hot * cools, float(done), 20_000.0), step)
    assert found == pytest.approx(hot * cools ** ((done + step) / 20_000.0), rel=1e-9)


@GROUNDS
@FLIPS
def test_reach_limits_who_moves(is_gram: bool, flip_share: float) -> None:
    """Giants beyond the reach stay where they are, and move where nothing limits it."""
    rows = _rows(2, 120)
    rows[100:] *= 30.0
    options: Any = {
        "is_gram": is_gram,
        "rows": rows,
        "flip_share": flip_share,
        "ends": (40.0, 20.0),
    }
    limited, free = _Walked(**options, reach=2.0), _Walked(**options)
    np.testing.assert_array_equal(limited.chosen[100:], limited.start[100:])
    assert (limited.chosen[:100] != limited.start[:100]).any()
    assert (free.chosen[100:] != free.start[100:]).any()


def test_at_least_64_are_listed() -> None:
    """However cold it is, the smallest 64 may move, where there are so many."""
    for n, expected in ((120, 64), (30, 30)):
        walked = _Walked(is_gram=True, rows=_rows(2, n), calls=[])
        order = np.full(n, -1)
        num_pruned, num = _walk_kernels.part(walked.ground, order, 0.0)
        assert num == expected
        np.testing.assert_array_equal(np.sort(order[:num]), np.sort(walked.ground.by_norm[:num]))
        assert num_pruned == walked.chosen[order[:num]].sum()


@GROUNDS
@FLIPS
def test_walk_respects_linear_limits(is_gram: bool, flip_share: float) -> None:
    """Groups stay within their limits all the way, also in the best; their counts are right."""
    groups = np.arange(_N) % 2
    walked = _Walked(is_gram=is_gram, flip_share=flip_share, groups=groups)
    constraints = walked.problem.constraints
    assert not constraints.violations(walked.start)
    np.testing.assert_array_equal(
        walked.ground.columns.activity, constraints.activity(walked.chosen)
    )
    for mask in (walked.chosen, walked.best):
        assert not constraints.violations(mask)
    # Without limits the same walk breaks them, unless it keeps the size and so hardly moves groups.
    free = _Walked(is_gram=is_gram, flip_share=flip_share)
    assert flip_share == 0.0 or constraints.violations(free.best)


def test_moves_respect_limits() -> None:
    """A move that would leave the limits is not allowed, and asking changes nothing."""
    problem = Problem(
        _rows(), epsilon=4.0, groups=["a", "b"] * (_N // 2), group_limits={"a": (1, 2)}
    )
    mask = np.zeros(_N, bool)
    mask[[0, 2]] = True
    columns = problem.constraints.columns(mask, slack=0.5)
    assert not _shared_kernels.is_allowed(columns, -1, 4)
    assert _shared_kernels.is_allowed(columns, 0, 4)
    assert _shared_kernels.is_allowed(columns, -1, 1)
    assert columns.activity[0] == 2.0


@given(
    lam=st.floats(1e-6, 1e6),
    squared=st.floats(0.0, 1e12),
    epsilon=st.floats(0.0, 1e6),
)
def test_lam_follows_the_norm(lam: float, squared: float, epsilon: float) -> None:
    """Inside the ball an example becomes worth more, outside less, within a factor of 100.

    Mutation: with limits about the last lam instead of the first it runs away while it is warm.
    """
    found = _shared_kernels.follow_norm(lam, lam, squared, epsilon)
    assert (found >= lam) if squared <= epsilon**2 else (found <= lam)
    for _ in range(3):
        found = _shared_kernels.follow_norm(found, lam, squared, epsilon)
    assert 0.99e-2 * lam <= found <= 1.01e2 * lam


# --- a walk of a problem -------------------------------------------------------------------------


def _walker(problem: Problem, limits: Limits | None = None, **options: Any) -> Walker:
    return Walker(problem, AnnealOptions(**options), Run(problem, limits or Limits(bound=False)))


@pytest.mark.parametrize("proposals", ["norm", "plain"])
@pytest.mark.parametrize("question", [{"epsilon": 8.0}, {"size": 15}])
def test_only_the_core_moves(proposals: Any, question: Any) -> None:
    """Whatever it walks on, the others stay; the mask that was given is not touched."""
    problem = Problem(_rows(), **question)
    walker = _walker(problem, proposals=proposals)
    core, mask = np.arange(0, 30, 2), np.arange(_N) < 15
    assert walker.holds_gram(core) == (proposals == "norm")
    found = walker.walk(mask, core, 1.0, Cooling(1.0, 0.01, 5000), np.random.default_rng(0))
    assert found is not None
    assert (mask == (np.arange(_N) < 15)).all()
    others = np.setdiff1d(np.arange(_N), core)
    assert (found[others] == mask[others]).all()
    assert (found[core] != mask[core]).any()
    assert not problem.violations(found, norm=problem.norm(found)) or "epsilon" not in question


def test_a_walk_that_meets_no_subset_within_epsilon_gives_none() -> None:
    """What lies outside the ball is no answer of Eq. 3."""
    problem = Problem(np.full((20, 2), 5.0), epsilon=1.0)
    mask = np.ones(20, bool)
    found = _walker(problem).walk(
        mask, np.arange(5), 100.0, Cooling(1.0, 0.1, 500), np.random.default_rng(0)
    )
    assert found is None


def test_a_large_core_walks_on_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the memory for a Gram matrix the walk gives what it gives with one."""
    problem, mask = Problem(_rows(), size=13), np.arange(_N) % 3 == 0
    mask[39] = False
    cooling, found = Cooling(1.0, 0.01, 5000), []
    for most in (_N, _N - 1):
        monkeypatch.setattr(_walk, "_MOST_GRAM", most)
        walker = _walker(problem)
        assert walker.holds_gram(np.arange(_N)) == (most == _N)
        found.append(walker.walk(mask, np.arange(_N), 0.0, cooling, np.random.default_rng(0)))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("question", "target"), [({"epsilon": 4.0}, 12), ({"size": 15}, 1.0)])
def test_a_walk_ends_at_its_target(question: Any, target: float) -> None:
    """It looks up after each call, and goes no further than what was wanted."""
    problem = Problem(_rows(), **question)
    run = Run(problem, Limits(bound=False, target=target))
    walker = Walker(problem, AnnealOptions(), run)
    mask = np.arange(_N) < 15
    walker.walk(mask, np.arange(_N), 5.0, Cooling(1.0, 0.01, 10**7), np.random.default_rng(0))
    assert run.num_iterations < 10**6
    assert run.limit == "target" or run.should_stop()


def test_rows_of_one_length_are_not_uneven() -> None:
    """Zero rows say nothing about it."""
    assert not is_uneven(np.ones(50))
    assert not is_uneven(np.zeros(5))
    assert not is_uneven(np.array([0.0] * 30 + [1.0] * 30))
    assert is_uneven(np.geomspace(1.0, 1e3, 50))


def test_a_walk_that_the_clock_would_cut_off_is_shortened() -> None:
    """It still cools down to its end, within the seconds it may take."""
    run = Run(Problem(_rows(), size=5), Limits())
    seen: list[tuple[float, float, float, float]] = []

    def call(schedule: tuple[float, float, float, float], count: int) -> None:
        seen.append(schedule)
        time.sleep(count * 1e-6)

    cool(call, Cooling(1.0, 1e-3, 10**7, seconds=0.1), run, 1000, lambda: False)
    hot, cold, done, total = seen[-1]
    last = hot * (cold / hot) ** (done / total)
    # It began at 1, of which a hundredth of the planned proposals would have left 0.93.
    assert last < 0.1
    assert run.num_iterations < 10**6
    assert all(after[0] <= before[0] for before, after in pairwise(seen))


def test_without_a_clock_speed_cuts_no_call() -> None:
    """Where a chain looks up does not depend on how long its calls take: same seed, same subset.

    Mutation: with calls cut by the pace measured, the slow chain looks up more often.
    """
    cuts: list[list[int]] = []
    for seconds in (0.0, 0.05):
        counts: list[int] = []

        def call(
            _: object, count: int, counts: list[int] = counts, seconds: float = seconds
        ) -> None:
            counts.append(count)
            time.sleep(seconds)

        run = Run(Problem(_rows(), size=5), Limits())
        cool(call, Cooling(1.0, 0.1, 300_000), run, 1000, lambda: False)
        cuts.append(counts)
    assert cuts[0] == cuts[1]
    assert sum(cuts[0]) == 300_000


def test_a_gram_matrix_in_strips_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the strips, and also where the last one is short, each pair is there once."""
    rows = np.random.default_rng(0).normal(size=(23, 5))
    run = Run(Problem(rows, epsilon=1.0), Limits())
    whole = gram_matrix(rows, run)
    monkeypatch.setattr(_walk, "_STRIP_WORK", 4 * rows.size)
    strips = gram_matrix(rows, run)
    assert strips is not None
    assert whole is not None
    np.testing.assert_allclose(strips, whole, rtol=1e-12, atol=1e-14)


def test_a_gram_matrix_is_given_up_once_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand columns take half a second, which a limit of two seconds does not have."""
    rows = np.random.default_rng(0).normal(size=(23, 5))
    run = Run(Problem(rows, epsilon=1.0), Limits(time_limit=1e-9))
    monkeypatch.setattr(_walk, "_STRIP_WORK", 1)
    assert gram_matrix(rows, run) is None


# --- the margin ----------------------------------------------------------------------------------


def _search(problem: Problem, limits: Limits | None = None, **options: Any) -> _Search:
    run = Run(problem, limits or Limits(bound=False))
    mask = np.zeros(problem.n, bool)
    mask[: problem.size or 0] = True
    return _Search(problem, AnnealOptions(**options), run, mask)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.8))
def test_the_energy_of_the_relaxed_optimum_is_the_least(seed: int, share: float) -> None:
    """Weights at the margin have it, and no subset is below it by more than the bound's gap."""
    S = np.random.default_rng(seed).normal(0.3, 1.0, size=(60, 5))
    problem = Problem(S, epsilon=share * float(np.linalg.norm(S.sum(axis=0))))
    relaxation = Run(problem, Limits()).solve_relaxation()
    assert relaxation is not None
    assert problem.epsilon is not None
    margin = Margin.of_relaxation(problem, relaxation)
    weights, total = relaxation.weights, problem.rows.sum(relaxation.weights)
    squared = min(float(total @ total), problem.epsilon**2)
    at_weights = squared - float(margin.prices @ weights)
    scale = 2.0 * margin.lam
    assert at_weights == pytest.approx(margin.least, abs=0.2 * scale)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        mask = rng.random(60) < rng.random()
        total = S[mask].sum(axis=0)
        assert margin.energy(float(total @ total), mask) >= margin.least - 0.2 * scale


def test_where_nothing_is_known_the_energy_is_the_squared_norm() -> None:
    """No example is worth anything, and no flip costs anything beyond its row."""
    problem = Problem(_rows(), size=5)
    margin, mask = Margin.without(problem), np.arange(_N) < 5
    assert margin.least == 0.0
    assert margin.energy(7.0, mask) == 7.0
    # Half a temperature for each dimension.
    assert margin.temperature(problem, 7.0) == pytest.approx(2 * 7.0 / _D)


@given(seed=st.integers(0, 10_000), lam=st.floats(0.0, 10.0))
def test_flip_costs_are_differences_of_energy(seed: int, lam: float) -> None:
    """Each is what the energy grows by, computed from the subset with one example flipped."""
    rng = np.random.default_rng(seed)
    S, mask = rng.normal(size=(12, 3)), rng.random(12) < 0.5
    problem, prices = Problem(S, epsilon=1.0), 2.0 * lam * rng.random(12)
    margin = Margin(prices, np.zeros(12), 0.0, lam)

    def energy(subset: Any) -> float:
        total = S[subset].sum(axis=0)
        return float(margin.energy(float(total @ total), subset))

    found = margin.flip_costs(problem, mask, S[mask].sum(axis=0))
    for i in range(12):
        flipped = mask.copy()
        flipped[i] = not flipped[i]
        assert found[i] == pytest.approx(energy(flipped) - energy(mask), abs=1e-9)


def test_a_cold_core_holds_the_cheapest_flips() -> None:
    """Who is left out costs more than everyone who is in, and a thousand are always in."""
    S = np.random.default_rng(0).normal(0.3, 1.0, size=(5000, 3))
    problem = Problem(S, epsilon=50.0, must_keep=np.arange(1, 5000, 2))
    search = _search(problem)
    relaxation = search.run.solve_relaxation()
    assert relaxation is not None
    search.margin = Margin.of_relaxation(problem, relaxation)
    mask, rng = (relaxation.weights > 0.5) & problem.free, np.random.default_rng(0)
    core = search._core(mask, S[mask].sum(axis=0), 1e-9, rng)
    costs = search.margin.flip_costs(problem, mask, S[mask].sum(axis=0))
    left_out = np.setdiff1d(np.flatnonzero(problem.free), core)
    assert core.size == 1000
    assert problem.free[core].all()
    assert costs[core].max() <= costs[left_out].min() + 1e-6


def test_each_core_is_another_one_and_no_larger_than_told() -> None:
    """Noise lets costlier examples in; ``core_size`` is kept, and reach makes a core larger."""
    S = np.random.default_rng(0).normal(0.3, 1.0, size=(4000, 3))
    problem = Problem(S, epsilon=50.0)
    cores: list[Any] = []
    all_options: list[dict[str, Any]] = [
        {},
        {},
        {"core_size": 1500, "core_reach": 1e9},
        {"core_reach": 1e9},
    ]
    for options in all_options:
        search = _search(problem, **options)
        relaxation = search.run.solve_relaxation()
        assert relaxation is not None
        search.margin = Margin.of_relaxation(problem, relaxation)
        rng, mask = np.random.default_rng(len(cores)), relaxation.weights > 0.5
        hot = 0.1 * search.margin.lam
        cores.append(search._core(mask, S[mask].sum(axis=0), hot, rng))
    assert [core.size for core in cores[2:]] == [1500, 2000]
    assert np.intersect1d(cores[0], cores[1]).size < min(cores[0].size, cores[1].size)


# --- options and limits --------------------------------------------------------------------------

BAD = [
    ("start", "cold", "relax"),
    ("proposals", "all", "plain"),
    ("num_stages", 0, 1),
    ("num_stages", 7.5, 8),
    ("start_share", 1.5, 1.0),
    ("tilt", -0.1, 0.0),
    ("few_share", 2, 1),
    ("num_proposals", 0, 1),
    ("num_proposals", True, 1),
    ("num_chains", 0, 1),
    ("num_chains", "two", 2),
    ("core_size", 0, 1),
    ("heat", -1.0, 0.0),
    ("cold", float("nan"), 0.0),
    ("reach", "far", 0.0),
    ("core_reach", -1.0, 0.0),
    ("flip_share", 0.0, 0.01),
    ("closing_share", 1.1, 1.0),
    ("patience", 0, 1),
    ("patience", None, 1),
]


@pytest.mark.parametrize(("option", "bad", "good"), BAD)
@pytest.mark.parametrize("question", [{"epsilon": 1.0}, {"size": 12}])
def test_a_bad_option_is_named_and_its_cure_works(
    option: str, bad: Any, good: Any, question: Any
) -> None:
    """Each option out of its range is an error that names it and a value that is one."""
    with pytest.raises(subsetsel.OptionError, match=f"^{option} must be") as error:
        subsetsel.solve(_rows(), **question, **{option: bad})
    shown = repr(good) if isinstance(good, str) else f"{good:g}"
    assert shown in str(error.value) or option in {"num_stages", "num_chains"}
    solution = subsetsel.solve(_rows(), **question, **{option: good}, max_iterations=5000)
    assert solution.is_feasible


def test_every_option_has_a_range() -> None:
    """None is left out of the table above, so that none goes unchecked."""
    from dataclasses import fields

    assert {field.name for field in fields(AnnealOptions)} == {option for option, *_ in BAD}


@pytest.mark.parametrize("value", [np.int64(7), float("nan"), float("inf"), 2000.0])
def test_whole_numbers_are_told_from_others(value: Any) -> None:
    """What NumPy counts with is a whole number; what is not finite, or a float, is none."""
    options = {"core_size": value, "num_stages": value, "num_proposals": value}
    for name, number in options.items():
        if isinstance(value, np.integer):
            assert subsetsel.solve(_rows(), epsilon=1.0, **{name: number}).is_feasible
        else:
            with pytest.raises(subsetsel.OptionError, match=f"^{name} must be an integer"):
                subsetsel.solve(_rows(), epsilon=1.0, **{name: number})


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("max_iterations", [1, 30, 1000, 30_000])
@pytest.mark.parametrize("question", [{"epsilon": 5.0}, {"size": 700}, {"size": 20}])
def test_iterations_are_kept(question: Any, max_iterations: int, num_workers: int) -> None:
    """However few there are, the answer is feasible and took hardly more."""
    S = np.random.default_rng(1).normal(0.05, 1.0, size=(1500, 8))
    solution = subsetsel.solve(
        S, **question, max_iterations=max_iterations, num_workers=num_workers
    )
    assert solution.is_feasible
    assert solution.num_iterations <= max(1.3 * max_iterations, 10)


@pytest.mark.parametrize("limit", [None, 60_000])
@pytest.mark.parametrize("question", [{"epsilon": 5.0}, {"size": 240}])
def test_two_workers_find_the_same_subset_again(question: Any, limit: int | None) -> None:
    """The same seed and number of workers give the same subset, whoever is faster."""
    S = np.random.default_rng(2).normal(0.1, 1.0, size=(600, 8))
    options: Any = {"num_proposals": 20_000, "max_iterations": limit}
    first, second = (
        subsetsel.solve(S, **question, seed=3, num_workers=2, **options) for _ in range(2)
    )
    np.testing.assert_array_equal(first.mask, second.mask)


# --- variants ------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", [{"epsilon": 4.0}, {"size": 15}])
def test_paper_variant_is_a_named_choice(question: Any) -> None:
    """Uniform proposals from a random start give a feasible subset too, far better than chance."""
    S = _rows()
    sol = subsetsel.solve(
        S, **question, start="random", proposals="plain", num_proposals=20_000, bound=False
    )
    assert sol.is_feasible
    assert sol.size >= 15 if "epsilon" in question else sol.norm < 1.0


def test_paper_variant_closes_with_no_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    """All it does are the walks of the paper."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("exchanged")

    monkeypatch.setattr(LocalSearch, "exchange", refuse)
    assert subsetsel.solve(_rows(), size=15, start="random", proposals="plain").size == 15
    with pytest.raises(RuntimeError, match="exchanged"):
        subsetsel.solve(_rows(), size=15)


def test_a_guess_is_where_the_search_begins() -> None:
    """With a few exchanges the answer is near the guess, which no start of its own would be."""
    S = np.random.default_rng(4).normal(size=(400, 6))
    good = subsetsel.solve(S, size=160)
    near = subsetsel.solve(S, size=160, initial_guess=good, max_iterations=40)
    assert near.norm <= good.norm
    assert np.count_nonzero(near.mask != good.mask) <= 80


def test_uneven_rows_are_searched_beyond_the_core() -> None:
    """Where small rows decide, most of the gap between size and bound is closed."""
    rng = np.random.default_rng(0)
    S = rng.normal(0.3, 1.0, size=(1500, 24)) * rng.lognormal(0, 1, size=(1500, 1))
    epsilon = 0.02 * float(np.linalg.norm(S.sum(axis=0)))
    sol = subsetsel.solve(S, epsilon=epsilon)
    assert sol.gap is not None
    assert sol.gap < 0.1


def test_rows_too_many_to_copy_are_settled_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory for the rows near the margin is short, fewer are settled, and nearly as well."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(2000, 96)) * rng.lognormal(0, 1, size=(2000, 1))
    epsilon = 0.02 * float(np.linalg.norm(S.sum(axis=0)))
    whole = subsetsel.solve(S, epsilon=epsilon, num_chains=1)
    monkeypatch.setattr("subsetsel.solvers._start._COPY_BYTES", 400 * 96 * 8)
    part = subsetsel.solve(S, epsilon=epsilon, num_chains=1)
    assert part.is_feasible
    assert part.size >= 0.9 * whole.size


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


@pytest.mark.parametrize(
    ("limits", "asked", "expected"),
    [
        (Limits(time_limit=60.0), 4, [300, 600, 1200, 2400]),
        (Limits(), 1, [300]),
    ],
)
def test_closing_exchanges_draw_pool_after_pool(
    monkeypatch: pytest.MonkeyPatch, limits: Limits, asked: int, expected: list[int]
) -> None:
    """Under a clock their patience grows from the usual; an endless one would stay in one pool."""
    seen = []

    def exchange(search: LocalSearch, goal: float = 0.0, patience: int = 0) -> bool:
        seen.append(patience)
        search.run.add_iterations(1)
        if len(seen) == asked:
            search.run.limit = "time"
        return False

    search = _search(Problem(np.random.default_rng(0).normal(size=(50, 4)), size=20), limits)
    search.run.submit(search.first)
    monkeypatch.setattr(LocalSearch, "exchange", exchange)
    search._close()
    assert seen == expected
    assert search.run.num_iterations == asked


def test_closing_exchanges_only_improve() -> None:
    """What they end with is submitted, and no smaller sum is lost."""
    S = np.random.default_rng(0).normal(size=(200, 4))
    search = _search(Problem(S, size=80))
    search.run.submit(search.first)
    before = search.run.norm
    search._close()
    assert search.run.norm < 0.1 * before
    assert search.run.size == 80

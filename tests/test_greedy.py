"""Solver "greedy" and its local search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from enumeration import best, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from subsetsel.solvers import _greedy_kernels as kernels
from subsetsel.solvers import _local_search
from subsetsel.solvers._local_search import LocalSearch

import subsetsel
from subsetsel import Problem
from subsetsel.engine.options import Limits
from subsetsel.engine.run import Run
from subsetsel.errors import OptionError
from subsetsel.problem.linear import find_mask

# Random rows sometimes cancel as a whole; the enumerated optimum still says what is right.
pytestmark = pytest.mark.filterwarnings("ignore::subsetsel.errors.DegenerateProblemWarning")


def solve(problem: Problem, **options: Any) -> subsetsel.Solution:
    """Solve greedily, without a bound."""
    return subsetsel.solve(problem, solver="greedy", bound=False, **options)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0, 2.5]), st.sampled_from(["full", "kept"]))
def test_result_is_feasible_and_not_above_the_optimum(
    seed: int, epsilon: float, normalization: Any
) -> None:
    """Sizes stay between nothing and the enumerated optimum."""
    problem = Problem(tiny(seed), epsilon=epsilon, normalization=normalization, max_size=8)
    solution = solve(problem)
    assert problem.is_feasible(solution.mask)
    assert solution.size <= best(problem)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 9))
def test_no_single_exchange_improves_the_result(seed: int, size: int) -> None:
    """The end of a search of the form min_norm is a local optimum under exchanges."""
    problem = Problem(tiny(seed), size=size)
    solution = solve(problem, patience=0)
    for i in solution.pruned:
        for j in solution.kept:
            mask = solution.mask.copy()
            mask[i], mask[j] = False, True
            assert problem.norm(mask) >= solution.norm * (1 - 1e-9)


def test_patience_leaves_local_optima() -> None:
    """Over many instances the tabu phase is never worse, and somewhere better."""
    plain, patient = [], []
    for seed in range(20):
        problem = Problem(tiny(seed, n=14), size=7)
        plain.append(solve(problem, patience=0).norm)
        patient.append(solve(problem).norm)
    assert np.all(np.array(patient) <= np.array(plain) * (1 + 1e-9))
    assert sum(patient) < 0.95 * sum(plain)


@pytest.mark.parametrize("size", [3, 9])
def test_optimum_is_found_on_most_tiny_instances(size: int) -> None:
    """With patience, at least 8 of 10 enumerated optima are reached."""
    problems = [Problem(tiny(seed, n=12), size=size) for seed in range(10)]
    assert sum(solve(p).norm <= best(p) * (1 + 1e-9) for p in problems) >= 8


def constrained(form: dict[str, Any]) -> Problem:
    """Quotas, fixed examples and real coefficients at once."""
    rng = np.random.default_rng(0)
    n = 60
    return Problem(
        rng.normal(size=(n, 5)) + 0.2,
        groups=np.arange(n) % 3,
        group_limits={0: (4, 8), 1: (6, 6), 2: (None, 9)},
        must_prune=[0, 1],
        must_keep=[2, 3, 5],
        constraints=[(rng.random(n), 3.0, 12.0)],
        **form,
    )


@pytest.mark.parametrize("form", [{"epsilon": 6.0}, {"size": 20}])
def test_every_constraint_is_honoured(form: dict[str, Any]) -> None:
    """Groups, fixed examples and real coefficients hold in the result."""
    problem = constrained(form)
    solution = solve(problem)
    assert solution.status == "feasible"
    assert problem.violations(solution.mask) == []


def test_start_outside_the_ball_is_repaired() -> None:
    """Examples that must be pruned are compensated by others."""
    S = np.array([[3.0, 0.0], [-1.5, 0.0], [-1.4, 0.1], [0.0, 5.0]])
    solution = solve(Problem(S, epsilon=0.2, must_prune=[0]))
    assert solution.pruned.tolist() == [0, 1, 2]


@pytest.mark.parametrize("form", [{"epsilon": 8.0}, {"size": 120}])
@pytest.mark.parametrize("is_constrained", [False, True])
def test_pools_replace_the_shared_gram_matrix_for_many_examples(
    form: dict[str, Any], is_constrained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pooled search ends close to the one that sees all pairs."""
    rng = np.random.default_rng(3)
    extra: dict[str, Any] = {}
    if is_constrained:
        extra = {"groups": np.arange(300) % 2, "group_limits": {0: (50, 60), 1: (60, 70)}}
    problem = Problem((rng.normal(size=(300, 6)) + 0.1).astype(np.float32), **form, **extra)
    shared = solve(problem)
    monkeypatch.setattr(_local_search, "MAX_SHARED", 100)
    monkeypatch.setattr("subsetsel.solvers.greedy.MAX_SHARED", 100)
    monkeypatch.setattr(_local_search, "_POOL_SIZE", 64)
    pooled = solve(problem)
    assert pooled.status == shared.status == "feasible"
    if problem.size is None:
        assert pooled.size >= 0.95 * shared.size
    else:
        assert pooled.norm <= 0.2 * problem.norm(np.arange(300) < 120)


def test_the_same_call_gives_the_same_subset() -> None:
    """Nothing is left to chance."""
    problem = Problem(tiny(1, n=80, d=6), epsilon=3.0)
    first, second = solve(problem), solve(problem, seed=7)
    assert np.array_equal(first.mask, second.mask)


def test_initial_guess_is_never_made_worse() -> None:
    """The search starts from the guess."""
    problem = Problem(tiny(2, n=60, d=4), size=20)
    guess = solve(problem)
    assert solve(problem, initial_guess=guess, max_iterations=1).norm <= guess.norm


def test_max_iterations_counts_moves() -> None:
    """No more moves than allowed, and the limit is told."""
    solution = solve(Problem(tiny(0, n=60, d=4), epsilon=4.0), max_iterations=5)
    assert solution.num_iterations == 5
    assert solution.limit == "iterations"


def test_target_stops_the_search() -> None:
    """A size that is asked for is enough."""
    solution = solve(Problem(tiny(0, n=60, d=4), epsilon=4.0), target=3)
    assert solution.limit == "target"
    assert solution.size >= 3


def test_max_size_is_not_exceeded() -> None:
    """The cap stops insertion."""
    assert solve(Problem(tiny(0, n=60, d=4), epsilon=4.0, max_size=7)).size == 7


def test_kept_normalization_shrinks_the_ball() -> None:
    """The result holds in the smaller ball, and is not empty."""
    problem = Problem(tiny(0, n=60, d=2, shift=0.0), epsilon=1.0, normalization="kept")
    solution = solve(problem)
    assert solution.norm <= problem.radius(solution.size) * (1 + 1e-9)
    assert solution.size > 30


@pytest.mark.parametrize("patience", [-1, 1.5, True])
def test_bad_patience_is_refused(patience: object) -> None:
    """The message names the option and the value."""
    with pytest.raises(OptionError, match="patience"):
        solve(Problem(tiny(0), epsilon=1.0), patience=patience)


@pytest.fixture
def search() -> LocalSearch:
    """A search that has just begun."""
    problem = constrained({"epsilon": 6.0})
    mask = find_mask(problem)
    assert mask is not None
    return LocalSearch(problem, Run(problem, Limits()), mask)


def test_best_swap_is_the_best_of_all_pairs(search: LocalSearch) -> None:
    """The kernel agrees with brute force, constraints included."""
    drawn = search._shared
    assert drawn is not None
    chosen, gains = search.mask[drawn.items], search._gains(drawn)
    state = search._state()
    tabu = np.zeros(len(chosen), dtype=np.int64)
    enters, leaves, change = kernels.best_swap(drawn.pool, chosen, gains, state, tabu)
    found = []
    for i in np.flatnonzero(~chosen):
        for j in np.flatnonzero(chosen):
            mask = search.mask.copy()
            mask[drawn.items[i]], mask[drawn.items[j]] = True, False
            if not search.problem.constraints.violations(mask):
                found.append((search.problem.norm(mask) ** 2 - search.squared, int(i), int(j)))
    assert (enters, leaves) == min(found)[1:]
    assert change == pytest.approx(min(found)[0])


def test_flip_keeps_every_quantity_up_to_date(search: LocalSearch) -> None:
    """Norm, size, gains and left-hand sides equal a recomputation, compiled or not."""
    for flip in (kernels.flip, getattr(kernels.flip, "py_func", kernels.flip)):
        drawn = search._pool(1, 1)
        chosen, gains, state = search.mask[drawn.items], search._gains(drawn), search._state()
        for i in (4, 9, 4, 20):
            flip(drawn.pool, chosen, gains, state, i)
        mask = search.mask.copy()
        mask[drawn.items] = chosen
        total = search.problem.rows.sum(mask)
        np.testing.assert_allclose(gains, drawn.rows @ total, atol=1e-12)
        expected = search.problem.constraints.activity(mask)
        np.testing.assert_allclose(drawn.pool.columns.activity, expected)
        assert state[kernels.SQUARED] == pytest.approx(total @ total)
        assert state[kernels.SIZE] == mask.sum()

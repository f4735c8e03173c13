"""The form a solver does not know, through the form it knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel import Problem, solve
from subsetsel.engine.options import Limits
from subsetsel.engine.other_form import least_bound
from subsetsel.engine.run import Run
from subsetsel.problem.problem import FEASIBILITY
from subsetsel.testing import check_solution, enumerate_optimum

_S = np.random.default_rng(8).normal(size=(10, 2)) + 0.4
# The smallest norm grows with the size here, so bisection over sizes is exact.
_MONOTONE = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [8.0], [9.0]])


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 6.0, 12.0, 27.9, 28.0, 35.9])
@pytest.mark.parametrize("normalization", ["full", "kept"])
def test_largest_size_by_smallest_norms(
    min_norm_only: str, normalization: Any, epsilon: float
) -> None:
    """A solver of Eq. 4 alone finds the largest size where norms grow with it."""
    problem = Problem(_MONOTONE, epsilon=epsilon, normalization=normalization, must_keep=[8])
    best = enumerate_optimum(problem)
    assert best is not None
    solution = solve(problem, solver=min_norm_only)
    assert solution.size == best.size
    check_solution(problem, solution)


@pytest.mark.parametrize("size", range(11))
def test_smallest_norm_by_largest_sizes(max_size_only: str, size: int) -> None:
    """A solver of Eq. 3 alone finds the smallest norm of each size."""
    problem = Problem(_S, size=size)
    best = enumerate_optimum(problem)
    assert best is not None
    solution = solve(problem, solver=max_size_only)
    assert solution.norm == pytest.approx(best.norm, rel=1e-5, abs=1e-12)
    check_solution(problem, solution)


@pytest.mark.parametrize("epsilon", [3.0, 12.0, 30.0])
def test_kept_by_a_solver_of_full(max_size_only: str, epsilon: float) -> None:
    """A solver of Eq. 3 with "full" alone takes "kept" through both bridges."""
    problem = Problem(_MONOTONE, epsilon=epsilon, normalization="kept")
    best = enumerate_optimum(problem)
    assert best is not None
    solution = solve(problem, solver=max_size_only)
    assert solution.size == best.size
    check_solution(problem, solution)


@pytest.mark.parametrize(
    "question",
    [
        {"epsilon": 2.0, "must_prune": [3]},
        {"epsilon": 2.0, "must_keep": [0, 1]},
        {"epsilon": 2.0, "max_size": 3},
        {"epsilon": 3.0, "normalization": "kept", "max_size": 4},
        {"epsilon": 2.0, "groups": [0] * 5 + [1] * 5, "group_limits": {0: (1, 2)}},
        {"epsilon": 2.0, "constraints": [(np.arange(10.0), 5, 30)]},
    ],
)
def test_limits_hold_through_the_bridge(min_norm_only: str, question: dict[str, Any]) -> None:
    """Everything asked is honoured by the bridged result, and nothing false is claimed."""
    problem = Problem(_S, **question)
    solution = solve(problem, solver=min_norm_only)
    assert solution.is_feasible
    check_solution(problem, solution)


@pytest.mark.parametrize(
    "question",
    [
        {"size": 4, "must_prune": [3]},
        {"size": 4, "groups": [0] * 5 + [1] * 5, "group_limits": {0: (2, 2), 1: (2, 2)}},
        {"size": 4, "constraints": [(np.arange(10.0), 5, 20)]},
    ],
)
def test_limits_hold_the_other_way(max_size_only: str, question: dict[str, Any]) -> None:
    """Equalities and cuts hold for Eq. 4 through Eq. 3, and the optimum is found."""
    problem = Problem(_S, **question)
    best = enumerate_optimum(problem)
    assert best is not None
    solution = solve(problem, solver=max_size_only)
    assert solution.norm == pytest.approx(best.norm, rel=1e-5)
    check_solution(problem, solution)


@pytest.mark.parametrize("seed", range(5))
def test_size_fixed_by_groups(min_norm_only: str, seed: int) -> None:
    """Where quotas leave one size only, that size is solved, not just tried once."""
    S = np.random.default_rng(seed).normal(size=(8, 3))
    question: dict[str, Any] = {"groups": [0] * 4 + [1] * 4, "group_limits": {0: (1, 1), 1: (1, 1)}}
    best = enumerate_optimum(Problem(S, size=2, **question))
    assert best is not None
    epsilon = best.norm * 8 / 6 * 1.001
    problem = Problem(S, epsilon=epsilon, normalization="kept", **question)
    solution = solve(problem, solver=min_norm_only)
    # The bound of the relaxation, or the limits alone, may prove it.
    assert solution.status in {"feasible", "optimal"}
    assert solution.size == 2


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    share=st.floats(0.02, 1.5),
    shift=st.floats(0.0, 1.0),
    question=st.sampled_from([
        {},
        {"must_keep": [2]},
        {"must_prune": [0]},
        {"max_size": 4},
        {"groups": [0] * 5 + [1] * 4, "group_limits": {0: (0, 2)}},
    ]),
)
def test_bound_of_kept_is_never_below_the_optimum(
    seed: int, share: float, shift: float, question: dict[str, Any]
) -> None:
    """What the relaxation at the fitting radius proves holds for every subset.

    Mutation: with the full radius put in for the shrinking one it is too low or proves less.
    """
    S = np.random.default_rng(seed).normal(shift, 1.0, size=(9, 2))
    epsilon = share * float(np.linalg.norm(S.sum(axis=0)))
    problem = Problem(S, epsilon=epsilon, normalization="kept", **question)
    best = enumerate_optimum(problem)
    bound = least_bound(problem, Run(problem, Limits()))
    assert bound >= (0 if best is None else best.size)
    assert bound <= problem.max_size


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_bound_of_kept_covers_the_tolerance_of_the_norm(share: float) -> None:
    """Five of ten are accepted up to a rounding error above the limit, so the bound is not four.

    Mutation: without the tolerance in the length of u it is four.
    """
    problem = Problem(
        np.ones((10, 1)), epsilon=10 * (1 - share * FEASIBILITY), normalization="kept"
    )
    assert problem.is_feasible(np.arange(10) < 5)
    assert least_bound(problem, Run(problem, Limits())) >= 5


def test_a_small_problem_ends_before_its_time(min_norm_only: str) -> None:
    """Where more work finds nothing new, the search ends by itself, not at the limit of an hour."""
    rows = _S - _S.mean(axis=0)
    solution = solve(rows, epsilon=3.0, normalization="kept", solver=min_norm_only, time_limit=3600)
    assert solution.limit is None


def test_bisection_alone_claims_no_proof(min_norm_only: str) -> None:
    """Only the bound can make its result optimal; rows that sum to zero have none."""
    rows = _S - _S.mean(axis=0)
    problem = Problem(rows, epsilon=3.0, normalization="kept")
    solution = solve(problem, solver=min_norm_only)
    assert (solution.status, solution.bound) == ("feasible", None)


def test_kept_is_proved_where_the_bound_is_reached() -> None:
    """The size of rows that share a direction is proved."""
    S = np.random.default_rng(3).normal(1.0, 0.3, size=(300, 3))
    problem = Problem(S, epsilon=20.0, normalization="kept")
    solution = solve(problem, seed=0)
    assert (solution.status, solution.size) == ("optimal", solution.bound)
    check_solution(problem, solution)


def test_infeasible_through_the_bridge(min_norm_only: str, max_size_only: str) -> None:
    """Both bridges say infeasible where the limits contradict each other."""
    limits: dict[str, Any] = {"groups": [0] * 5 + [1] * 5, "group_limits": {0: (4, 5), 1: (4, 5)}}
    assert solve(_S, size=3, solver=max_size_only, **limits).status == "infeasible"
    assert solve(_S, epsilon=9.0, max_size=3, solver=min_norm_only, **limits).status == "infeasible"


def test_guess_is_a_floor(min_norm_only: str) -> None:
    """The bridge never returns less than a feasible guess, even when stopped at once."""
    problem = Problem(_S, epsilon=1.0)
    best = enumerate_optimum(problem)
    assert best is not None
    several: list[dict[str, Any]] = [{}, {"max_iterations": 1}, {"time_limit": 0}]
    for options in several:
        solution = solve(problem, solver=min_norm_only, initial_guess=best.mask, **options)
        assert solution.size == best.size


def test_iterations_are_those_of_the_probes(min_norm_only: str, max_size_only: str) -> None:
    """Work inside the bridge is counted, and its budget is shared by all probes."""
    asked: list[tuple[dict[str, Any], str]] = [
        ({"epsilon": 1.0}, min_norm_only),
        ({"size": 4}, max_size_only),
    ]
    for question, solver in asked:
        free = solve(_S, solver=solver, **question)
        assert free.num_iterations > 3
        assert solve(_S, solver=solver, max_iterations=3, **question).num_iterations <= 3


def test_callback_of_the_user_is_called_from_outside_only(min_norm_only: str) -> None:
    """Records are about the user's problem: sizes grow, and no probe's subset is shown."""
    sizes: list[int] = []
    problem = Problem(_S, epsilon=1.5)
    solve(problem, solver=min_norm_only, callback=lambda record: sizes.append(record.size or 0))
    assert sizes == sorted(sizes)


def test_tight_linear_limit_does_not_crash(max_size_only: str) -> None:
    """A limit that the integer program meets only within its own tolerance is no crash."""
    problem = Problem(_S, size=2, constraints=[(np.full(10, 0.5 + 1e-8), -np.inf, 1.0)])
    assert enumerate_optimum(problem) is None
    assert not solve(problem, solver=max_size_only).is_feasible


def test_a_probe_leaves_time_for_the_next() -> None:
    """Under a clock a probe of the bisection ends with its usual work, not with all the time."""
    problem = Problem(np.random.default_rng(0).normal(size=(30, 3)), size=10)
    outer = Run(problem, Limits(time_limit=60.0))
    assert outer.fills_time
    assert not Run(problem, Limits(), parent=outer).fills_time


def test_the_bound_itself_is_tried_first(min_norm_only: str) -> None:
    """Sizes below it may fail although it is reached, and bisection would end too early.

    Mutation: without that probe 10 of 13 are pruned.
    """
    S = np.repeat(np.eye(3), 4, axis=0) * np.tile([1.0, -1.0, 2.0, -2.0], 3)[:, None]
    solution = solve(np.vstack([S, np.full(3, 100.0)]), epsilon=0.0, solver=min_norm_only)
    assert (solution.size, solution.status) == (12, "optimal")

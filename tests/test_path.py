"""`path`: a trade-off curve, each point started from the one before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subsetsel import OptionError, Problem, ProblemError, path
from subsetsel.testing import check_solution, enumerate_optimum

_S = np.random.default_rng(5).normal(size=(10, 2)) + 0.4


def test_sizes(exact: str) -> None:
    """One solution per size, in the order given, each the best of its size."""
    problem = Problem(_S, size=1)
    solutions = list(path(problem, sizes=[2, 6, 4], solver=exact))
    assert [solution.size for solution in solutions] == [2, 6, 4]
    for solution in solutions:
        point = problem.replace(size=solution.size)
        best = enumerate_optimum(point)
        assert best is not None
        assert solution.norm == pytest.approx(best.norm)
        check_solution(point, solution)


def test_epsilons(exact: str) -> None:
    """One solution per epsilon; more is allowed, more is pruned."""
    solutions = list(path(_S, epsilons=[0.2, 0.8, 1.6], solver=exact))
    assert [solution.epsilon for solution in solutions] == [0.2, 0.8, 1.6]
    sizes = [solution.size for solution in solutions]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("key", "values"),
    [("epsilons", np.linspace(1, 3, 3)), ("epsilons", np.zeros(1)), ("sizes", np.arange(2, 4))],
)
def test_points_in_an_array(exact: str, key: str, values: Any) -> None:
    """Arrays are as good as lists, zero alone among them. Mutation: their truth value is asked."""
    solutions = list(path(_S, solver=exact, **{key: values}))
    assert [getattr(solution, key[:-1]) for solution in solutions] == values.tolist()


def test_bare_S_takes_the_limits_of_a_problem(exact: str) -> None:
    """Fixed examples, groups, caps and normalization hold along the whole curve."""
    kept = list(path(_S, sizes=[2, 3], solver=exact, normalization="kept", must_keep=[0]))
    assert all(solution.normalization == "kept" for solution in kept)
    assert not any(solution.mask[0] for solution in kept)
    groups: dict[str, Any] = {"groups": [0] * 5 + [1] * 5, "group_limits": {0: (1, 1)}}
    for solution in path(_S, sizes=[2, 3], solver=exact, **groups):
        assert solution.mask[:5].sum() == 1
    capped = list(path(_S, epsilons=[0.5, 2.0], solver=exact, max_size=3))
    assert max(solution.size for solution in capped) <= 3


def test_each_point_starts_from_the_one_before(
    registered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The solver is handed the last feasible solution as its guess."""
    import counting_solvers

    guesses: list[Any] = []
    solve = counting_solvers.CountingSolver.solve

    def spy(self: Any, problem: Any, options: Any, run: Any) -> Any:
        guesses.append(run.initial_mask())
        return solve(self, problem, options, run)

    monkeypatch.setattr(counting_solvers.CountingSolver, "solve", spy)
    solutions = list(path(_S, sizes=[2, 4, 6], solver=registered("spy")))
    assert guesses[0] is None
    np.testing.assert_array_equal(guesses[1], solutions[0].mask)
    np.testing.assert_array_equal(guesses[2], solutions[1].mask)


def test_first_guess_is_the_users(registered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An initial guess is where the curve starts."""
    import counting_solvers

    guesses: list[Any] = []
    solve = counting_solvers.CountingSolver.solve

    def spy(self: Any, problem: Any, options: Any, run: Any) -> Any:
        guesses.append(run.initial_mask())
        return solve(self, problem, options, run)

    monkeypatch.setattr(counting_solvers.CountingSolver, "solve", spy)
    first = np.arange(10) < 2
    list(path(_S, sizes=[2, 4], solver=registered("spy"), initial_guess=first))
    np.testing.assert_array_equal(guesses[0], first)


def test_infeasible_point_does_not_break_the_curve(exact: str) -> None:
    """A point without a solution is yielded as such; the next starts from the last that had one."""
    problem = Problem(np.abs(_S) + 1.0, epsilon=1.0, must_prune=[0, 1])
    solutions = list(path(problem, epsilons=[10.0, 0.01, 9.0], solver=exact))
    assert [solution.is_feasible for solution in solutions] == [True, False, True]


def test_options_reach_the_solver(exact: str) -> None:
    """Common and own options are those of `solve`."""
    solutions = list(path(_S, sizes=[2, 3], solver=exact, bound=False, seed=9, max_n=12))
    assert all(solution.bound is None and solution.seed == 9 for solution in solutions)


def test_points_are_solved_as_they_are_asked_for(exact: str) -> None:
    """Taking the first point does not solve the others."""
    records: list[Any] = []
    curve = path(_S, sizes=[2, 3, 4], solver=exact, callback=records.append)
    assert not records
    next(iter(curve))
    first = len(records)
    list(curve)
    assert len(records) > first > 0


def test_empty_curve(exact: str) -> None:
    """A curve without points is refused, naming the argument."""
    with pytest.raises(OptionError, match="sizes is empty"):
        path(_S, sizes=[], solver=exact)


@pytest.mark.parametrize("arguments", [{}, {"sizes": [1], "epsilons": [1.0]}])
def test_exactly_one_of_sizes_and_epsilons(exact: str, arguments: dict[str, Any]) -> None:
    """Neither or both is refused at the call, not at the first point."""
    with pytest.raises(OptionError, match="exactly one of sizes and epsilons"):
        path(_S, solver=exact, **arguments)


def test_bad_value_on_the_curve(exact: str) -> None:
    """A size beyond n is refused as in `Problem`."""
    with pytest.raises(ProblemError, match="n = 10"):
        list(path(_S, sizes=[2, 11], solver=exact))

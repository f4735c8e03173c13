"""`solve`: validate, dispatch, verify in float64, attach the bound, say what it is."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from subsetsel import (
    DegenerateProblemWarning,
    OptionError,
    Problem,
    ProblemError,
    Progress,
    SolverError,
    solve,
)
from subsetsel.testing import check_solution, enumerate_optimum

_S = np.random.default_rng(3).normal(size=(12, 3)) + 0.5


# --- what goes in -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        {"epsilon": 1.5},
        {"epsilon": 1.5, "max_size": 3},
        {"epsilon": 3.0, "normalization": "kept"},
        {"size": 4},
        {"fraction": 0.25},
        {"num_kept": 3},
        {"size": 4, "must_prune": [0], "must_keep": [1]},
        {"size": 4, "groups": [0] * 6 + [1] * 6, "group_limits": {0: (2, 2)}},
        {"size": 4, "constraints": [(np.arange(12.0), 0, 20)]},
    ],
)
def test_bare_S_takes_the_arguments_of_problem(exact: str, question: dict[str, Any]) -> None:
    """A matrix with a question is solved like the problem made of both."""
    direct = solve(_S, solver=exact, **question)
    made = solve(Problem(_S, **question), solver=exact)
    np.testing.assert_array_equal(direct.mask, made.mask)
    check_solution(Problem(_S, **question), direct)


@pytest.mark.parametrize(
    "question",
    [{"epsilon": 1.0}, {"size": 2}, {"normalization": "full"}, {"max_size": 3}, {"must_keep": [0]}],
)
def test_problem_has_its_own_question(exact: str, question: dict[str, Any]) -> None:
    """A question beside a Problem is refused by name."""
    with pytest.raises(ProblemError, match=rf"{next(iter(question))} cannot be given beside"):
        solve(Problem(_S, size=3), solver=exact, **question)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({}, "exactly one of"),
        ({"epsilon": 1.0, "size": 2}, "epsilon and size"),
        ({"epsilon": np.nan}, "nan"),
        ({"size": 13}, "n = 12"),
        ({"rel_epsilon": 0.1}, "Problem.from_features"),
    ],
)
def test_bad_question(exact: str, question: dict[str, Any], words: str) -> None:
    """Nothing asked, two things asked, or nonsense: refused as in `Problem`."""
    with pytest.raises(ProblemError, match=words):
        solve(_S, solver=exact, **question)


def test_bad_option_comes_before_the_search(registered: Any) -> None:
    """Options are checked before a solver is called."""
    name = registered("broken", "BrokenSolver")
    with pytest.raises(OptionError, match="time_limit"):
        solve(_S, size=3, solver=name, time_limit=-1)


# --- what comes out -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        {"epsilon": 1.5},
        {"epsilon": 3.0, "normalization": "kept"},
        {"size": 5},
        {"size": 5, "normalization": "kept"},
        {"epsilon": 0.0},
    ],
)
def test_optimum_is_called_optimal(exact: str, question: dict[str, Any]) -> None:
    """An exact solver's result is the enumerated optimum and says so."""
    problem = Problem(_S, **question)
    best = enumerate_optimum(problem)
    assert best is not None
    solution = solve(problem, solver=exact)
    assert solution.status == "optimal"
    assert solution.size == best.size
    assert solution.norm == pytest.approx(best.norm)
    check_solution(problem, solution)


def test_solution_remembers_the_question(exact: str) -> None:
    """epsilon, size, normalization, solver and seed are in the answer."""
    solution = solve(_S, epsilon=3.0, normalization="kept", solver=exact, seed=4)
    assert (solution.epsilon, solution.target_size) == (3.0, None)
    assert (solution.normalization, solution.solver, solution.seed) == ("kept", exact, 4)
    assert solve(_S, size=5, solver=exact).target_size == 5


def test_times_are_seconds(exact: str) -> None:
    """Times are set and not negative."""
    solution = solve(_S, size=5, solver=exact)
    assert solution.solve_time > 0
    assert solution.compile_time >= 0
    assert solution.num_iterations > 0


def test_feasible_without_proof(registered: Any) -> None:
    """A heuristic's result is feasible, not optimal."""
    name = registered("lax", "DeafSolver")
    assert solve(_S, size=5, solver=name).status == "feasible"


def test_reaching_the_bound_is_a_proof(registered: Any) -> None:
    """Whoever reaches the proven bound is optimal, though the solver proved nothing."""
    name = registered("lax", "DeafSolver")
    S = np.array([[1.0], [1.0], [1.0]])
    solution = solve(S, epsilon=0.5, solver=name)
    assert (solution.size, solution.status, solution.gap) == (0, "optimal", 0.0)


def test_zero_norm_is_a_proof(registered: Any) -> None:
    """No norm is below 0."""
    name = registered("lax", "DeafSolver")
    solution = solve(np.zeros((4, 2)), size=2, solver=name)
    assert (solution.norm, solution.status, solution.bound) == (0.0, "optimal", 0.0)


def test_nothing_found_is_unknown(registered: Any) -> None:
    """No subset and no proof: unknown, nothing pruned, norm 0, and a word about it."""
    solution = solve(_S, size=5, solver=registered("idle", "IdleSolver"))
    assert (solution.status, solution.size, solution.norm) == ("unknown", 0, 0.0)
    assert "no feasible subset was found" in solution.message


@pytest.mark.parametrize(
    "question",
    [
        {"epsilon": 0.1, "must_prune": [0, 1, 2, 3, 4, 5]},
        {"size": 2, "must_prune": [0, 1, 2]},
        {"size": 11, "must_keep": [0, 1]},
        {"size": 2, "groups": [0] * 6 + [1] * 6, "group_limits": {0: (2, 6), 1: (1, 6)}},
        {"epsilon": 0.0, "constraints": [(np.ones(12), 1, 12)], "max_size": 1},
    ],
    ids=["norm", "too many forced", "too few free", "groups", "norm and constraint"],
)
@pytest.mark.parametrize("cls", ["CountingSolver", "IdleSolver"])
def test_infeasible_is_proved(registered: Any, cls: str, question: dict[str, Any]) -> None:
    """What nothing satisfies is "infeasible", also where the solver itself proves nothing."""
    S = np.abs(_S) + 1.0
    assert enumerate_optimum(Problem(S, **question)) is None
    solution = solve(S, solver=registered("some", cls), **question)
    assert (solution.status, solution.size, solution.bound) == ("infeasible", 0, None)
    assert "proved" in solution.message


def test_infeasible_by_integrality_alone_is_not_claimed_without_proof(registered: Any) -> None:
    """Where the relaxation is feasible, a solver that found nothing leaves it unknown."""
    problem = Problem(np.array([[2.0], [-3.0]]), epsilon=0.5, constraints=[([1, 1], 1, 2)])
    assert enumerate_optimum(problem) is None
    assert solve(problem, solver=registered("idle", "IdleSolver")).status == "unknown"


def test_unknown_limit_is_an_error_of_the_solver(registered: Any) -> None:
    """A limit that does not exist is not passed on."""
    with pytest.raises(SolverError, match="boredom"):
        solve(_S, size=5, solver=registered("broken", "BrokenSolver"))


# --- answers that need no search ----------------------------------------------------------------


@pytest.mark.parametrize("cls", ["CountingSolver", "BrokenSolver"])
@pytest.mark.parametrize(
    ("question", "pruned"),
    [
        ({"size": 0}, []),
        ({"size": 12}, list(range(12))),
        ({"size": 2, "must_prune": [3, 5]}, [3, 5]),
        ({"size": 10, "must_keep": [3, 5]}, [i for i in range(12) if i not in {3, 5}]),
    ],
)
def test_no_choice_no_search(
    registered: Any, cls: str, question: dict[str, Any], pruned: list[int]
) -> None:
    """With nothing to choose the answer is there, optimal, without a solver."""
    solution = solve(_S, solver=registered("some", cls), **question)
    assert solution.status == "optimal"
    np.testing.assert_array_equal(solution.pruned, pruned)
    assert solution.bound == pytest.approx(solution.norm)


def test_no_choice_that_breaks_a_constraint(exact: str) -> None:
    """The only subset of that size, if it breaks a constraint, is not returned."""
    solution = solve(_S, size=12, constraints=[(np.ones(12), 0, 5)], solver=exact)
    assert solution.status == "infeasible"


def test_degenerate_warns_and_returns_everything(registered: Any) -> None:
    """||S^T 1|| <= epsilon: all come back, optimal, with a warning that says what to do."""
    name = registered("broken", "BrokenSolver")
    with pytest.warns(DegenerateProblemWarning) as caught:
        solution = solve(_S, epsilon=1e3, solver=name)
    assert (solution.size, solution.status) == (12, "optimal")
    for words in ("normalization='kept'", "max_size", "1000"):
        assert words in str(caught[0].message)
    assert "degenerate" in str(solution)


def test_warning_points_at_the_caller(exact: str) -> None:
    """The warning's line is the user's own."""
    with pytest.warns(DegenerateProblemWarning) as caught:
        solve(_S, epsilon=1e3, solver=exact)
    assert caught[0].filename == __file__


def test_degenerate_on_the_edge(exact: str) -> None:
    """||S^T 1|| equal to epsilon is degenerate; a thousandth less is not."""
    total = float(np.linalg.norm(_S.sum(axis=0)))
    with pytest.warns(DegenerateProblemWarning):
        assert solve(_S, epsilon=total, solver=exact).size == 12
    assert solve(_S, epsilon=total * 0.999, solver=exact).size < 12


def test_centred_rows_are_degenerate_at_any_epsilon(exact: str) -> None:
    """Rows that sum to zero (ridge included) are degenerate even at a tiny epsilon."""
    with pytest.warns(DegenerateProblemWarning):
        solution = solve(_S - _S.mean(axis=0), epsilon=1e-12, solver=exact)
    assert solution.size == 12


def test_degenerate_with_must_keep(exact: str) -> None:
    """All that may go go; who must stay stays."""
    with pytest.warns(DegenerateProblemWarning, match="all 11 examples that may be pruned"):
        solution = solve(_S, epsilon=1e3, must_keep=[4], solver=exact)
    np.testing.assert_array_equal(solution.kept, [4])


@pytest.mark.parametrize(
    "question",
    [
        {"normalization": "kept"},
        {"max_size": 5},
        {"groups": [0] * 12, "group_limits": {0: (0, 6)}},
    ],
)
def test_cures_of_degeneracy(exact: str, question: dict[str, Any]) -> None:
    """Each cure that the warning names ends it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert solve(_S, epsilon=1e3, solver=exact, **question).size < 12


def test_kept_keeps_one(exact: str) -> None:
    """However large epsilon is, normalization "kept" keeps an example."""
    assert len(solve(_S, epsilon=1e9, normalization="kept", solver=exact).kept) == 1


# --- limits and interruption --------------------------------------------------------------------


def test_optimal_has_no_limit(exact: str) -> None:
    """A proved optimum was not cut off by anything."""
    solution = solve(_S, epsilon=1.5, solver=exact, target=0)
    assert solution.limit == "target" or solution.status == "optimal"
    assert (solution.status == "optimal") == (solution.limit is None)


def test_interruption_before_any_subset(registered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before anything was found: unknown, interrupted, no exception."""
    name = registered("counting", normalizations=frozenset({"full", "kept"}))

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("counting_solvers.CountingSolver.solve", interrupt)
    solution = solve(_S, size=5, solver=name)
    assert (solution.status, solution.limit, solution.size) == ("unknown", "interrupted", 0)


def test_other_exceptions_of_a_callback_are_not_swallowed(exact: str) -> None:
    """A bug in a callback is shown."""

    def fail(record: Progress) -> None:
        raise RuntimeError("a bug in the callback")

    with pytest.raises(RuntimeError, match="a bug in the callback"):
        solve(_S, size=5, solver=exact, callback=fail)


# --- the bound ----------------------------------------------------------------------------------


def test_bound_of_eq3(registered: Any) -> None:
    """With normalization "full" every solution carries a proven bound, whoever found it."""
    problem = Problem(_S, epsilon=1.5)
    best = enumerate_optimum(problem)
    assert best is not None
    solution = solve(problem, solver=registered("lax", "DeafSolver"))
    assert solution.bound is not None
    assert best.size <= np.floor(solution.bound) < 12
    assert solution.gap == (np.floor(solution.bound) - solution.size) / np.floor(solution.bound)


def test_no_bound_with_kept(registered: Any) -> None:
    """With normalization "kept" nothing is proved, so nothing is claimed."""
    name = registered("lax", "DeafSolver", normalizations=frozenset({"full", "kept"}))
    solution = solve(_S, epsilon=3.0, normalization="kept", solver=name)
    assert (solution.bound, solution.gap) == (None, None)


def test_bound_of_eq4(registered: Any) -> None:
    """For Eq. 4 the bound is on the norm, from below; there is no gap."""
    problem = Problem(np.abs(_S) + 1.0, size=5)
    best = enumerate_optimum(problem)
    assert best is not None
    solution = solve(problem, solver=registered("lax", "DeafSolver"))
    assert solution.bound is not None
    assert 0 < solution.bound <= best.norm
    assert solution.gap is None


def test_bound_of_eq4_with_centred_rows_is_zero(registered: Any) -> None:
    """With S^T 1 = 0 no convex bound says anything, and 0 is reported."""
    S = _S - _S.mean(axis=0)
    solution = solve(S, size=5, solver=registered("lax", "DeafSolver"))
    assert solution.bound == pytest.approx(0.0, abs=1e-12)


def test_stopped_at_once_gives_the_smallest_rows() -> None:
    """Whoever stops at once still gets what the smallest rows allow, not the empty set."""
    S = np.random.default_rng(0).normal(size=(500, 4))
    solution = solve(S, epsilon=5.0, callback=lambda progress: True)
    assert solution.limit == "interrupted"
    assert solution.size >= 5
    assert solution.norm <= 5.0

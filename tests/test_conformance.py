"""The conformance suite over every registered solver, and over solvers that must fail it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subsetsel.engine.registry import available_solvers
from subsetsel.problem.problem import Problem
from subsetsel.problem.solution import Solution
from subsetsel.testing import CASES, Case, check_solution, check_solver, enumerate_optimum

_BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("solver", available_solvers())
def test_solver_conforms(solver: str, case: Case) -> None:
    """Every solver that can be loaded keeps the contract, or refuses by name."""
    case.check(solver)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("solver", ["min_norm_only", "max_size_only"])
def test_bridged_enumeration_conforms(
    min_norm_only: str, max_size_only: str, solver: str, case: Case
) -> None:
    """A solver that knows one form keeps the contract for the other through the bridge."""
    case.check(solver)


def test_counting_conforms(exact: str) -> None:
    """A solver in thirty lines passes in one call: the suite asks for nothing but the contract."""
    check_solver(exact)


@pytest.mark.parametrize(
    ("cls", "case"),
    [
        ("LyingSolver", "eq3_full"),
        ("LyingSolver", "eq4"),
        ("DeafSolver", "same_seed_same_subset"),
        ("IdleSolver", "eq4"),
        ("IdleSolver", "zero_rows_eq4"),
    ],
)
def test_case_catches(registered: Any, cls: str, case: str) -> None:
    """A solver that breaks the contract fails in the cases that ask for what it breaks."""
    name = registered("broken", cls, normalizations=frozenset({"full", "kept"}))
    with pytest.raises(AssertionError):
        _BY_NAME[case].check(name)


def test_check_solver_lists_what_failed(registered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures and crashes are listed case by case; cases that pass are not."""
    cases = [_BY_NAME[name] for name in ("eq4", "size_zero", "unknown_option_is_named")]
    monkeypatch.setattr("subsetsel.testing.CASES", cases)
    name = registered("broken", "BrokenSolver")
    with pytest.raises(AssertionError) as error:
        check_solver(name)
    assert "solver 'broken' fails 1 of 3 cases:" in str(error.value)
    assert "  eq4: SolverError: " in str(error.value)


def test_refusal_is_expected_of_a_limited_solver(registered: Any) -> None:
    """What a solver does not support, it must refuse; the suite checks the refusal."""
    name = registered("limited", supports=frozenset[str]())
    _BY_NAME["groups_equal_kept"].check(name)
    _BY_NAME["must_keep_eq4"].check(name)


def test_taking_what_is_not_supported_fails(registered: Any) -> None:
    """A case that asks for more than a solver supports fails if nothing is refused."""
    name = registered("limited", supports=frozenset[str]())
    lax = Case("lax", frozenset({"fixed"}), lambda solver: None)
    with pytest.raises(AssertionError, match=r"'limited' does not honour .*fixed"):
        lax.check(name)


_PROBLEM = Problem(np.arange(1.0, 7.0)[:, None], epsilon=6.5)


def _claim(pruned: list[int], **claims: Any) -> Solution:
    mask = np.zeros(6, dtype=np.bool_)
    mask[pruned] = True
    about = {"norm": _PROBLEM.norm(mask), "status": "feasible", "epsilon": 6.5, **claims}
    return Solution(mask=mask, **about)


@pytest.mark.parametrize(
    ("solution", "complaint"),
    [
        (_claim([0, 1], norm=2.9), "norm says 2.9"),
        (_claim([4, 5]), "breaks norm"),
        (_claim([0, 1], status="optimal"), "the optimum is 3"),
        (_claim([0, 1], bound=2.9), "below the optimum 3"),
        (_claim([0, 1, 2], bound=2.9), "below the size 3"),
        (_claim([], status="infeasible"), "a feasible subset exists"),
        (_claim([0], status="unknown"), "something is pruned"),
        (_claim([0], status="solved"), "unknown status"),
        (_claim([0], limit="boredom"), "unknown limit"),
        (_claim([0], epsilon=7.0), "epsilon is not the problem's"),
        (_claim([0], target_size=1), "target_size is not the problem's"),
        (_claim([0], normalization="kept"), "normalization is not the problem's"),
    ],
)
def test_check_solution_finds_a_false_claim(solution: Solution, complaint: str) -> None:
    """Each claim of a solution is checked on its own."""
    with pytest.raises(AssertionError, match=complaint):
        check_solution(_PROBLEM, solution)


def test_enumeration_breaks_ties_by_the_norm() -> None:
    """Of the largest subsets, the one with the smallest norm counts as the optimum."""
    best = enumerate_optimum(_PROBLEM)
    assert best is not None
    assert (best.size, best.norm) == (3, 6.0)


def test_enumeration_finds_infeasibility() -> None:
    """None is returned where no subset is feasible."""
    assert enumerate_optimum(Problem(np.ones((3, 1)), epsilon=0.5, must_prune=[0])) is None


def test_enumeration_refuses_large_problems() -> None:
    """Beyond 16 examples enumeration is refused, not begun."""
    with pytest.raises(ValueError, match="n <= 16, got n = 17"):
        enumerate_optimum(Problem(np.ones((17, 1)), epsilon=0.5))

"""Solver "exact": SCIP through MathOpt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from enumeration import best, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from subsetsel.solvers import _model

import subsetsel
from subsetsel import Problem
from subsetsel.errors import OptionError

# Random rows sometimes cancel as a whole; the enumerated optimum still says what is right.
pytestmark = pytest.mark.filterwarnings("ignore::subsetsel.errors.DegenerateProblemWarning")


@pytest.fixture(autouse=True)
def no_local_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found here is SCIP's own: the greedy hint is left out."""
    monkeypatch.setattr(_model, "search_around", lambda problem, run, start: None)


def solve(problem: Problem, **options: Any) -> subsetsel.Solution:
    """Solve with SCIP, without the core's bound."""
    return subsetsel.solve(problem, solver="exact", **{"bound": False, **options})


QUESTIONS: list[dict[str, Any]] = [
    {"epsilon": 0.0},
    {"epsilon": 1.0},
    {"epsilon": 2.5, "max_size": 4},
    {"epsilon": 1.0, "normalization": "kept"},
    {"size": 3},
    {"size": 4, "must_prune": [0], "must_keep": [1, 2]},
]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(QUESTIONS))
def test_enumerated_optimum_is_found_and_proved(seed: int, question: dict[str, Any]) -> None:
    """Both forms, both normalizations, fixed examples and a cap."""
    problem = Problem(tiny(seed, n=7), **question)
    solution = solve(problem)
    assert solution.status == "optimal"
    found = solution.size if problem.size is None else solution.norm
    assert found == pytest.approx(best(problem), rel=1e-9, abs=1e-12)


def test_linear_constraints_are_honoured_in_the_optimum() -> None:
    """Quotas and real coefficients, to the enumerated optimum."""
    problem = Problem(
        tiny(1, n=9),
        epsilon=2.5,
        groups=np.arange(9) % 2,
        group_limits={0: (1, 3), 1: (None, 2)},
        constraints=[(np.linspace(0, 1, 9), 0.3, 2.2)],
    )
    solution = solve(problem)
    assert solution.status == "optimal"
    assert solution.size == best(problem)


@pytest.mark.parametrize("epsilon", [1.0, 1.0 - 1e-7])
def test_tolerance_is_not_taken_for_feasibility(epsilon: float) -> None:
    """Rows whose sum exceeds epsilon by less than SCIP's tolerance are told apart in float64."""
    S = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 5.0]])
    solution = solve(Problem(S, epsilon=epsilon))
    assert solution.status == "optimal"
    assert solution.size == (2 if epsilon == 1.0 else 1)


def test_near_ties_are_all_looked_at() -> None:
    """Of norms that differ by less than the tolerance the smallest is returned."""
    S = np.diag(1.0 + 1e-8 * np.array([3.0, 1.0, 2.0, 0.0, 4.0]))
    solution = solve(Problem(S, size=2))
    assert solution.pruned.tolist() == [1, 3]


def test_infeasible_is_proved() -> None:
    """Two examples that must go and nothing that makes up for them."""
    assert solve(Problem(np.eye(4) * 3.0, epsilon=1.0, must_prune=[0, 1])).status == "infeasible"


def test_nodes_are_the_iterations() -> None:
    """A search cut off by its iterations says so and keeps its subset."""
    solution = solve(Problem(tiny(3, n=40, d=6), size=13), max_iterations=5)
    assert solution.limit == "iterations"
    assert solution.status == "feasible"


def test_initial_guess_is_never_made_worse() -> None:
    """The guess is the first incumbent."""
    problem = Problem(tiny(3, n=40, d=6), size=13)
    guess = subsetsel.solve(problem, solver="greedy", bound=False)
    assert solve(problem, initial_guess=guess, max_iterations=1).norm <= guess.norm


@pytest.mark.parametrize(
    ("shape", "reason"), [((1001, 2), "n = 1001"), ((300, 300), "rank of S is 300")]
)
def test_too_large_is_refused_with_the_reason(shape: tuple[int, int], reason: str) -> None:
    """The message names what is too large and another solver."""
    S = np.random.default_rng(0).normal(size=shape)
    with pytest.raises(OptionError, match=f"{reason}.*anneal"):
        solve(Problem(S, epsilon=1.0))


@pytest.mark.parametrize("max_nodes", [0, 2.5])
def test_bad_options_are_refused(max_nodes: object) -> None:
    """The message names the option."""
    with pytest.raises(OptionError, match="max_nodes"):
        solve(Problem(tiny(0), epsilon=1.0), max_nodes=max_nodes)

"""Sample weights in what a solution says, in its first subset, and in the reference oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_oracle import blobs

from subsetsel import Problem, ProblemError, Solution, prune, solve, verify
from subsetsel.engine.start import smallest_rows
from subsetsel.influence import fit_head
from subsetsel.testing import check_solution

X, Y = blobs()
WEIGHTS = np.random.default_rng(5).choice([1.0, 2.0, 7.0, 40.0], size=len(X))


def weighed(**question: Any) -> Problem:
    """The blobs with their weights."""
    return Problem.from_features(X, Y, l2=1e-2, sample_weight=WEIGHTS, **question)


@pytest.mark.parametrize("question", [{"rel_epsilon": 0.05}, {"size": 30}])
def test_the_prediction_of_a_solution_weighs(question: dict[str, Any], tmp_path: Path) -> None:
    """As verify's does, after it was read from a file too. Mutation: it counts."""
    problem = weighed(**question)
    solution = solve(problem, solver="greedy")
    predicted = verify(problem, solution).predicted_kept
    assert solution.predicted_kept == pytest.approx(predicted, rel=1e-9)
    solution.save(tmp_path / "s.npz")
    assert Solution.load(tmp_path / "s.npz").predicted_kept == pytest.approx(predicted, rel=1e-9)


def test_the_prediction_of_prune_weighs() -> None:
    """The solution and its check say the same."""
    solution, check = prune(
        X, Y, l2=1e-2, sample_weight=WEIGHTS, rel_epsilon=0.05, num_proposals=20_000
    )
    assert solution.predicted_kept == pytest.approx(check.predicted_kept, rel=1e-6)


def test_the_smallest_rows_are_allowed_by_weight() -> None:
    """The subset that a search falls back on satisfies the problem. Mutation: it counts."""
    for share in (0.01, 0.1, 1.0):
        problem = weighed(rel_epsilon=share)
        problem.constraints = Problem(problem.rows, size=0).constraints
        mask = smallest_rows(problem)
        assert mask.any()
        assert problem.norm(mask) <= problem.allowed(mask)


def test_the_oracle_weighs() -> None:
    """Ten examples of very different weights: what comes back is what enumeration allows."""
    weights = np.array([1.0, 1.0, 1.0, 30.0, 30.0, 2.0, 2.0, 9.0, 9.0, 1.0])
    X_small = np.random.default_rng(1).normal(size=(10, 2))
    head = fit_head(X_small, np.arange(10) % 2, l2=0.1, sample_weight=weights)
    problem = Problem.from_head(head, rel_epsilon=0.1, dtype=np.float64)
    check_solution(problem, solve(problem, solver="greedy"))


def test_an_infeasible_size_is_told_those_that_are_not() -> None:
    """The message of the solution names them, and they are solved."""
    S = np.random.default_rng(3).normal(size=(12, 2))
    solution = solve(S, size=12, must_keep=[0, 3], must_prune=[1, 2], solver="greedy")
    assert solution.status == "infeasible"
    assert "which allow 2 and at most 10 of n = 12" in solution.message
    for size in (2, 10):
        again = solve(S, size=size, must_keep=[0, 3], must_prune=[1, 2], solver="greedy")
        assert again.is_feasible


def test_a_guess_is_called_a_guess() -> None:
    """What is wrong is named as the user named it, and the cure works."""
    S = np.random.default_rng(3).normal(size=(12, 2))
    guess = [0, 1] * 6
    with pytest.raises(ProblemError, match=r"initial_guess must .*np.asarray\(initial_guess, dty"):
        solve(S, size=6, solver="greedy", initial_guess=guess)
    cured = np.asarray(guess, dtype=bool)
    assert solve(S, size=6, solver="greedy", initial_guess=cured).is_feasible

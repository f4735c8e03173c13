"""What is given to `prune` by another name or in another shape is told the way, before the work."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from head_oracle import blobs

import subsetsel
from subsetsel.errors import (
    DegenerateProblemWarning,
    FormulationWarning,
    OptionError,
    ProblemError,
)

L2 = 1e-2
X, Y = blobs()


def prune(**given: Any) -> tuple[subsetsel.Solution, subsetsel.Verification]:
    """Prune the blobs with little work per size."""
    return subsetsel.prune(X, Y, **({"l2": L2, "num_proposals": 20_000} | given))


@pytest.mark.parametrize("given", [{"size": 30}, {"fraction": 0.3}, {"num_kept": 60}])
def test_a_fixed_size_is_told_the_way(given: dict[str, Any]) -> None:
    """A size belongs to solve, and the call that the message names does it. Mutation: not told."""
    with pytest.raises(OptionError, match=r"prune has no argument.*solve\(problem\) and verify"):
        prune(rel_epsilon=0.05, **given)
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, **given)
    solution = subsetsel.solve(problem, solver="greedy")
    assert subsetsel.verify(problem, solution).num_pruned == problem.size
    limited, _ = prune(rel_epsilon=0.5, max_size=20)
    assert limited.size <= 20


@pytest.mark.parametrize(
    "given",
    [
        {"formulation": "paper"},
        {"ridge": "included"},
        {"normalization": "full"},
        {"metric": "parameter"},
        {"hessian": "all"},
        {"gap": 0.1},
        {"bound": True},
    ],
)
def test_other_arguments_of_solve_are_told_the_way(given: dict[str, Any]) -> None:
    """What prune chooses itself is not a missing option of a solver, and both cures work."""
    name = next(iter(given))
    with pytest.raises(
        OptionError, match=rf"prune has no argument '{name}'.*Leave it out"
    ) as error:
        prune(rel_epsilon=0.05, **given)
    assert "did you mean" not in str(error.value)
    of_a_problem = given if name not in {"gap", "bound"} else {"formulation": "paper"}
    with warnings.catch_warnings():
        # ridge and normalization by hand may mix two formulations.
        warnings.simplefilter("ignore", FormulationWarning)
        # The rows of a head with its ridge sum to zero.
        warnings.simplefilter("ignore", DegenerateProblemWarning)
        problem = subsetsel.Problem.from_features(X, Y, l2=L2, epsilon=0.05, **of_a_problem)
        of_solve = given if name in {"gap", "bound"} else {}
        assert subsetsel.solve(problem, solver="greedy", **of_solve).is_feasible


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("the head was fitted")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"test": (X, np.full(len(X), 7))}, r"in test = \(X, y\): y\[0\] is .*7"),
        ({"validation": (X, np.full(len(X), 7))}, r"in validation = \(X, y\): y\[0\]"),
        ({"test": (X[:, :1], Y)}, r"in test = \(X, y\): X has 1 features"),
        ({"test": (X[1:], Y)}, r"in test = \(X, y\): X has \d+ rows"),
        ({"test": X}, "test must be a pair"),
        ({"must_keep": [0, 0]}, "must_keep must hold each index once"),
        ({"must_prune": [len(X)]}, "must_prune must hold indices"),
        ({"groups": Y[1:], "group_limits": {0: (0, 1)}}, "groups must hold one label"),
        ({"constraints": [(np.ones(3), 0, 1)]}, "coefficients must have one number"),
        ({"rel_epsilon": -1.0}, "rel_epsilon must be"),
    ],
)
def test_what_can_be_checked_is_checked_before_the_head_is_fitted(
    given: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name that the user gave it. Mutation: the splits are checked after the fit."""
    monkeypatch.setattr("subsetsel.influence.fit_head", _never)
    with pytest.raises(ProblemError, match=words):
        prune(**({"rel_epsilon": 0.05} | given))


def test_a_guess_is_checked_before_the_head_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier answer of more examples, of another type, or masked."""
    monkeypatch.setattr("subsetsel.influence.fit_head", _never)
    with pytest.raises(OptionError, match="initial_guess must be"):
        prune(rel_epsilon=0.05, initial_guess=np.zeros(len(X) + 1, bool))
    with pytest.raises(OptionError, match="initial_guess must be"):
        prune(rel_epsilon=0.05, initial_guess=np.zeros(len(X), int))
    with pytest.raises(ProblemError, match="initial_guess is a masked array"):
        prune(rel_epsilon=0.05, initial_guess=np.ma.MaskedArray(np.zeros(len(X), bool)))


def test_limits_that_come_one_by_one_are_read_once() -> None:
    """Constraints from a generator hold, although they are checked before the head is fitted."""
    limit = (np.ones(len(X)), None, 5)
    one_by_one: Any = (limit for _ in range(1))
    solution, _ = prune(rel_epsilon=0.5, constraints=one_by_one)
    assert solution.size <= 5


def test_verify_names_its_own_arguments() -> None:
    """The subset is called solution there, and the test examples test."""
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, size=3)
    with pytest.raises(ProblemError, match="solution must be a Boolean array"):
        subsetsel.verify(problem, [1, 2])
    with pytest.raises(ProblemError, match=r"in test = \(X, y\): y\[0\]"):
        subsetsel.verify(problem, np.zeros(len(X), bool), test=(X, np.full(len(X), 7)))


def test_a_problem_to_the_letter_keeps_one_of_each_class() -> None:
    """Whatever a problem was made for, its refit needs every class.

    Mutation: `_ask_again` without `keep_one_of_each`: fails.
    """
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, epsilon=1e6, formulation="paper")
    num_constraints = len(problem.constraints)
    solution, _ = subsetsel.prune(problem, solver="greedy")
    assert sorted(Y[solution.kept]) == [0, 1, 2]
    assert (problem.normalization, len(problem.constraints)) == ("full", num_constraints)


@pytest.mark.parametrize("value", ["a tenth", -1.0, [0.1]])
def test_a_bad_rel_epsilon_beside_a_problem_is_named(value: Any) -> None:
    """By its own name, not by that of the epsilon which is made of it.

    Mutation: `_ask_again` multiplies what was given by the norm: fails.
    """
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, epsilon=0.2)
    with pytest.raises(ProblemError, match=r"^rel_epsilon must be"):
        subsetsel.prune(problem, rel_epsilon=value)

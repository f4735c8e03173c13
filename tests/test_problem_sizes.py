"""Which sizes the limits allow, and what is said of one that they do not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from subsetsel import Problem, solve
from subsetsel.problem.size_range import size_range, why_no_size

_S = np.random.default_rng(3).normal(size=(12, 2))
_GROUPS = [0] * 4 + [1] * 8


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (0, 12)),
        ({"must_prune": [1, 2], "must_keep": [0]}, (2, 11)),
        ({"groups": _GROUPS, "group_limits": {0: (1, 2), 1: (None, 3)}}, (1, 5)),
        ({"constraints": [(np.arange(12.0), 11, 20)]}, (1, 6)),
        ({"must_prune": [0], "groups": _GROUPS, "group_limits": {0: (0, 0)}}, None),
        ({"must_prune": [0, 1], "max_size": 1}, None),
    ],
)
def test_sizes_that_are_allowed(limits: dict[str, Any], expected: Any) -> None:
    """The fewest and the most, with both of them. Mutation: a minimum of inf is made a size."""
    assert size_range(Problem(_S, epsilon=1e9, **limits)) == expected


@pytest.mark.parametrize("size", [0, 1, 11, 12])
def test_a_size_that_is_not_allowed_is_told_those_that_are(size: int) -> None:
    """The sizes that the message names are solved. Mutation: they are not named."""
    limits: dict[str, Any] = {"must_prune": [1, 2], "must_keep": [0, 3]}
    problem = Problem(_S, size=size, **limits)
    assert solve(problem, solver="greedy").status == "infeasible"
    assert f"size = {size} satisfies the limits, which allow 2 and at most 10" in why_no_size(
        problem
    )
    for named in (2, 10):
        assert solve(Problem(_S, size=named, **limits), solver="greedy").is_feasible


def test_no_size_is_denied_that_is_allowed() -> None:
    """HiGHS stops within 1 % of the fewest, so that what it found is not said to be the fewest.

    Mutation: the message gives the sizes from that one to the most.
    """
    rng = np.random.default_rng(0)
    A = (rng.random((25, 400)) < 0.04) * rng.integers(1, 20, size=(25, 400)).astype(float)
    lower = np.floor(rng.uniform(0.5, 0.8, 25) * A.sum(axis=1)) + 0.5
    problem = Problem(
        np.ones((400, 1)),
        size=90,
        constraints=[(a, b, None) for a, b in zip(A, lower, strict=True)],
    )
    fewest = milp(
        np.ones(400),
        integrality=np.ones(400),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(A, lower),
    ).fun
    message = why_no_size(problem)
    assert "no subset of size = 90" in message
    claimed = re.search(r"allow (\d+) to", message)
    assert claimed is None or int(claimed[1]) <= round(fewest)


def test_one_of_each_class_is_kept_and_said() -> None:
    """A head needs every class, so that not all but one can go."""
    X, y = np.random.default_rng(0).normal(size=(12, 2)), np.arange(12) % 3
    assert "which allow 0 and at most 9" in why_no_size(
        Problem.from_features(X, y, l2=0.1, size=11)
    )
    largest = Problem.from_features(X, y, l2=0.1, size=9)
    assert solve(largest, solver="greedy").is_feasible


def test_a_size_that_leaves_a_class_without_examples_is_told_its_range_with_refits_too() -> None:
    """hessian="kept" says the same; the largest size that the message names is then pruned.

    Mutation: `why_no_size` that asks for a radius with hessian="kept": a ProblemError comes out.
    """
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 2)), np.arange(12) % 3
    how: dict[str, Any] = {"l2": 0.1, "hessian": "kept"}
    refused = solve(Problem.from_features(X, y, size=11, **how), max_iterations=100)
    assert refused.status == "infeasible"
    assert "which allow 0 and at most 9" in refused.message
    cured = solve(Problem.from_features(X, y, size=9, **how), max_iterations=100)
    assert cured.size == 9


def test_where_no_size_is_allowed_that_is_said() -> None:
    """Limits that contradict each other leave nothing to ask for."""
    limits: dict[str, Any] = {"must_prune": [0], "groups": _GROUPS, "group_limits": {0: (0, 0)}}
    assert "nor does one of any other size" in why_no_size(Problem(_S, size=3, **limits))


def test_of_epsilon_nothing_is_said() -> None:
    """Without a size there is none to name."""
    assert why_no_size(Problem(_S, epsilon=1.0)) == ""

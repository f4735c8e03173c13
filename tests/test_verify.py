"""Verification: the refit is exact, the error bar holds, the words say what was shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_oracle import AutogradHead, blobs, exact_minimizer
from hypothesis import example, given, settings
from hypothesis import strategies as st

import subsetsel
from subsetsel.errors import ProblemError
from subsetsel.problem.solution import Solution

L2 = 1e-2
X, Y = blobs()
PROBLEM = subsetsel.Problem.from_features(X, Y, l2=L2, size=30, dtype=np.float64)
MASK = np.isin(np.arange(90), np.random.default_rng(0).choice(90, size=30, replace=False))


def exact_change(problem: Any, features: Any, labels: Any, mask: Any) -> tuple[float, float]:
    """||theta_K - theta||_2 between the exact minimizers, and how well that is known."""
    head, kept = problem.head, ~mask
    size = head.num_classes
    full, full_error = exact_minimizer(features, labels, head.l2, size, head.theta)
    start = head.refit(kept).theta
    part, part_error = exact_minimizer(features[kept], labels[kept], head.l2, size, start)
    return float(np.linalg.norm((part - full).astype(np.float64))), full_error + part_error


_CASES = {
    "usual": (30, 3),
    "fewer examples than features": (6, 12),
    "one feature": (20, 1),
}


@st.composite
def situations(draw: st.DrawFn) -> tuple[Any, Any, Any, float]:
    """Features, labels, a subset and l2: few examples, separable, duplicates, a class leaving."""
    n, h = draw(st.sampled_from(sorted(_CASES.values())))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    labels = np.arange(n) % draw(st.integers(2, 3))
    features = rng.normal(size=(n, h))
    kind = draw(st.sampled_from(["noise", "separable", "duplicates", "large"]))
    if kind == "separable":
        features[:, 0] += 20.0 * labels
    elif kind == "duplicates":
        features = features[np.arange(n) // 3]
    elif kind == "large":
        features *= draw(st.sampled_from([1e-3, 1e3]))
    mask = rng.random(n) < draw(st.sampled_from([0.2, 0.5, 0.8]))
    if draw(st.booleans()):
        # All but one example of class 0 leave.
        mask |= labels == 0
        mask[0] = False
    mask[n - 1] = False
    return features, labels, mask, draw(st.sampled_from([1e-6, 1e-4, 1e-2, 1.0]))


@settings(deadline=None, max_examples=15)
@given(situations())
@example((np.zeros((4, 1)), np.array([0, 1, 0, 1]), np.array([True, False, False, False]), 1e-2))
def test_the_error_bar_holds(situation: tuple[Any, Any, Any, float]) -> None:
    """The change between minimizers found in extended precision is within change_error."""
    features, labels, mask, l2 = situation
    problem = subsetsel.Problem.from_features(features, labels, l2=l2, size=1)
    check = subsetsel.verify(problem, mask)
    change, slack = exact_change(problem, features, labels, mask)
    assert abs(change - check.change) <= check.change_error + slack


def test_the_error_bar_covers_a_head_that_is_not_quite_trained() -> None:
    """Parameters off the minimum by 1e-6 widen the bar by what their gradient allows."""
    head = PROBLEM.head
    assert head is not None
    moved = head.theta + 1e-6 * np.random.default_rng(1).normal(size=head.theta.shape)
    oracle = AutogradHead(X, Y, L2)
    gradient = torch.func.grad(oracle.objective)(torch.tensor(moved))
    rough = subsetsel.Problem.from_features(X, Y, l2=L2, size=30)
    rough.head = replace(head, theta=moved, gradient_norm=float(gradient.norm()))
    check = subsetsel.verify(rough, MASK)
    change, _ = exact_change(PROBLEM, X, Y, MASK)
    assert 1e-8 < abs(change - check.change) <= check.change_error < 1e-3


@pytest.mark.parametrize("l2", [1e-3, 1e-2, 1.0])
def test_the_error_bar_is_tight(l2: float) -> None:
    """On data of ordinary size it is far below any epsilon one would ask for."""
    problem = subsetsel.Problem.from_features(X, Y, l2=l2, size=30)
    assert 0 < subsetsel.verify(problem, MASK).change_error < 1e-9


def test_the_change_is_that_of_training_from_scratch() -> None:
    """Against a head trained on the kept examples alone."""
    check = subsetsel.verify(PROBLEM, MASK)
    scratch = subsetsel.Problem.from_features(X[~MASK], Y[~MASK], l2=L2, size=1).head
    assert scratch is not None
    assert PROBLEM.head is not None
    expected = np.linalg.norm(scratch.theta - PROBLEM.head.theta)
    assert check.change == pytest.approx(expected, abs=1e-11)


def test_predictions_are_what_they_are_called() -> None:
    """||W^T S||, the same times n / (n - m), and the length of a Newton step."""
    check = subsetsel.verify(PROBLEM, MASK)
    assert PROBLEM.head is not None
    oracle = AutogradHead(X, Y, L2)
    rows = oracle.influence(PROBLEM.head.theta, ridge="included")
    norm = np.linalg.norm(rows[MASK].sum(axis=0))
    assert check.predicted_full == pytest.approx(norm, rel=1e-9)
    assert check.predicted_kept == pytest.approx(norm * 90 / 60, rel=1e-9)
    newton = np.linalg.norm(PROBLEM.head.kept(~MASK).newton_step())
    assert check.predicted_newton == pytest.approx(newton, rel=1e-12)
    assert abs(check.predicted_newton - check.change) < abs(check.predicted_kept - check.change)


def test_pruning_nothing_changes_nothing() -> None:
    """The empty subset: no change, all of the curvature."""
    check = subsetsel.verify(PROBLEM, np.zeros(90, dtype=np.bool_))
    assert check.change <= check.change_error
    assert check.predicted_full == 0
    assert check.curvature == pytest.approx(1, abs=1e-9)


def test_the_objective_never_falls() -> None:
    """The head minimizes the full objective, so any other parameters are above it."""
    assert subsetsel.verify(PROBLEM, MASK).objective_gap > 0


@pytest.mark.parametrize("factor", [0.5, 0.999, 1.001, 2.0])
def test_verified_means_within_epsilon(factor: float) -> None:
    """Whether change + change_error <= epsilon, and nothing else, decides."""
    epsilon = factor * subsetsel.verify(PROBLEM, MASK).change
    check = subsetsel.verify(PROBLEM.replace(epsilon=epsilon), MASK)
    assert check.is_verified is (factor > 1)
    assert ("NOT verified" in str(check)) is (factor < 1)


def test_the_solutions_own_epsilon_counts_where_the_problem_has_none() -> None:
    """A solution of Eq. 3 keeps its epsilon when it is checked against a problem of Eq. 4."""
    solution = Solution(mask=MASK.copy(), norm=1.0, status="feasible", epsilon=1e-6)
    check = subsetsel.verify(PROBLEM, solution)
    assert check.epsilon == 1e-6
    assert check.is_verified is False


def test_without_epsilon_nothing_is_claimed() -> None:
    """A subset of a given size is measured, not judged."""
    check = subsetsel.verify(PROBLEM, MASK)
    assert check.is_verified is None
    assert "verified" not in str(check)


def test_an_epsilon_of_the_loss_metric_is_not_judged() -> None:
    """Its unit is not that of the change."""
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, metric="loss", epsilon=10.0)
    assert subsetsel.verify(problem, MASK).is_verified is None


def test_a_solution_of_the_loss_metric_brings_no_epsilon(tmp_path: Path) -> None:
    """Neither fresh nor read from a file is its epsilon taken for a change of parameters.

    Mutation: `epsilon_of` does not look at the metric: fails.
    """
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, metric="loss", epsilon=10.0)
    solution = subsetsel.solve(problem, max_iterations=500)
    solution.save(tmp_path / "loss.npz")
    for one in (solution, Solution.load(tmp_path / "loss.npz")):
        check = subsetsel.verify(PROBLEM, one)
        assert (check.epsilon, check.is_verified) == (None, None)


def test_test_examples_are_scored_by_both_heads() -> None:
    """Accuracy and loss of the refitted head beside those of the full one."""
    other, labels = blobs(n=60, seed=9)
    check = subsetsel.verify(PROBLEM, MASK, test=(other, labels))
    head = PROBLEM.head
    assert head is not None
    theta = head.refit(~MASK).theta
    assert check.accuracy == head.accuracy(theta, other, labels)
    assert check.full_accuracy == head.accuracy(head.theta, other, labels)
    gap = head.loss(theta, other, labels) - head.loss(head.theta, other, labels)
    assert check.loss_gap == pytest.approx(gap, abs=1e-15)
    assert "test" in str(check)


def test_classes_are_counted_under_their_names() -> None:
    """How many of each class there are, and how many of them are pruned."""
    names = np.array(["ant", "bee", "cat"])[Y]
    problem = subsetsel.Problem.from_features(X, names, l2=L2, size=30)
    check = subsetsel.verify(problem, MASK)
    assert check.class_sizes == {"ant": 30, "bee": 30, "cat": 30}
    assert check.class_pruned == {
        name: int((MASK & (names == name)).sum()) for name in ("ant", "bee", "cat")
    }
    assert sum(check.class_pruned.values()) == check.num_pruned == 30


def test_a_verification_is_plain_json() -> None:
    """to_dict holds nothing that json does not know, and loses nothing."""
    check = subsetsel.verify(PROBLEM, MASK, test=(X, Y))
    assert subsetsel.Verification(**json.loads(json.dumps(check.to_dict()))) == check


def test_the_scope_of_the_guarantee_is_said() -> None:
    """Whoever reads the summary learns that it speaks of the head alone."""
    check = subsetsel.verify(PROBLEM, MASK)
    assert "the head; not the retrained network" in str(check)
    assert check.scope in str(check)


def test_a_factored_problem_is_verified_alike() -> None:
    """How S is stored has no part in the check."""
    factored = subsetsel.Problem.from_features(X, Y, l2=L2, size=30, storage="factored")
    check, dense = subsetsel.verify(factored, MASK), subsetsel.verify(PROBLEM, MASK)
    assert check.change == dense.change
    assert check.predicted_full == pytest.approx(dense.predicted_full, rel=1e-10)


def test_a_problem_without_a_head_cannot_be_verified() -> None:
    """A bare S does not know what to refit; the message says which problem does."""
    with pytest.raises(ProblemError, match="from_features"):
        subsetsel.verify(subsetsel.Problem(np.ones((4, 2)), size=1), np.zeros(4, dtype=np.bool_))


@pytest.mark.parametrize(
    ("mask", "word"),
    [
        (np.ones(90, dtype=np.bool_), "all 90"),
        (np.zeros(89, dtype=np.bool_), "mask"),
        (np.arange(30), "mask"),
    ],
)
def test_a_bad_subset_is_refused(mask: Any, word: str) -> None:
    """Everything pruned, another length, or indices instead of a mask."""
    with pytest.raises(ProblemError, match=word):
        subsetsel.verify(PROBLEM, mask)


@pytest.mark.parametrize(
    ("test", "word"),
    [
        (X, "pair"),
        ((X, Y, Y), "pair"),
        ((X[:, :1], Y), "features"),
        ((X, Y + 7), "y"),
    ],
)
def test_bad_test_examples_are_refused(test: Any, word: str) -> None:
    """They must be a pair that fits the head; this is said before the refit."""
    with pytest.raises(ProblemError, match=word):
        subsetsel.verify(PROBLEM, MASK, test=test)

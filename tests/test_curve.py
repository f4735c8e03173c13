"""Points of the trade-off: measured, or taken from what a verified search recorded."""

from __future__ import annotations

from typing import Any

import numpy as np

from subsetsel import Problem, solve, verify
from subsetsel.guarantee.curve import measure_points
from subsetsel.problem.tradeoff import points_of_record


def step(m: int, change: float) -> dict[str, Any]:
    """A point of the curve as a verified search records it."""
    return {"m": m, "predicted_kept": 0.5, "change": change, "change_error": 0.1}


def test_of_two_subsets_of_one_size_the_better_is_drawn() -> None:
    """And the one that was chosen, whatever else was tried at its size."""
    curve = [step(2, 0.7), step(4, 0.9), step(2, 0.6), step(2, 0.8), step(0, 0.0)]
    check = {"num_pruned": 4, "predicted_kept": 0.8, "change": 0.95}
    points = points_of_record(curve, 10, check)
    assert [(p.share, p.change, p.is_chosen) for p in points] == [
        (0.2, 0.6, False),
        (0.4, 0.95, True),
    ]


def test_points_are_measured_with_random_subsets_beside_them() -> None:
    """The chosen subset is one of them, and its numbers are those of its check."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    problem = Problem.from_features(X, X[:, 0] > 0, l2=0.1, size=20)
    solution = solve(problem, solver="greedy")
    check = verify(problem, solution)
    points = measure_points(problem, solution, check, shares=(0.5,), num_random=2, solver="greedy")
    assert [point.share for point in points] == [20 / 60, 0.5]
    assert [point.is_chosen for point in points] == [True, False]
    assert points[0].change == check.change
    assert all(len(point.random) == 2 for point in points)
    assert min(points[0].random) > check.change

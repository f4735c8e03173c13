"""Numbers at the edge, for every solver: right answers or a clear refusal, never a wrong claim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import subsetsel
from subsetsel.bounds.relaxation import SHARP, Ascent
from subsetsel.errors import ProblemError
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import euclidean
from subsetsel.rows.dense import DenseRows

SOLVERS = subsetsel.available_solvers()
_BASE = np.random.default_rng(0).normal(size=(6, 2))

CASES: dict[str, Any] = {
    "as small as may be": _BASE * 1e-138,
    "as large as may be": _BASE * 1e139,
    "denormal float32": (_BASE * 1e-40).astype(np.float32),
    "denormals beside ones": np.vstack([_BASE[:3], _BASE[3:] * 5e-320]),
    "1e-300 beside 1e100": np.vstack([_BASE[:3] * 1e100, _BASE[3:] * 1e-300]),
    "more columns than rows": np.random.default_rng(1).normal(size=(4, 300)),
    "all rows the same": np.repeat(_BASE[:1], 6, axis=0),
    "pairs of rows": np.repeat(_BASE[:3], 2, axis=0),
    "all zero": np.zeros((6, 2)),
    "half zero": np.vstack([_BASE[:3], np.zeros((3, 2))]),
    "one example": _BASE[:1],
    "one example of zero": np.zeros((1, 1)),
}


def exact_norm(S: Any, mask: Any) -> float:
    """||W^T S|| in extended precision, whose exponents reach beyond those of any S."""
    total = S[mask].astype(np.longdouble).sum(axis=0)
    return float(np.sqrt((total * total).sum()))


@pytest.mark.filterwarnings("ignore::subsetsel.errors.DegenerateProblemWarning")
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", CASES)
def test_edge_numbers_are_solved_or_left_alone(name: str, solver: str) -> None:
    """Eq. 3 with a radius, with none, with normalization kept, and Eq. 4: every claim is true.

    Mutation: `euclidean` without its rescaling, as plain numpy.linalg.norm: fails for the denormals
    and for 1e-300 beside 1e100, whose norm would be 0.
    """
    S = CASES[name]
    radius = 1.5 * float(np.abs(S).max())
    questions: list[dict[str, Any]] = [
        {"epsilon": radius},
        {"epsilon": 0.0},
        {"epsilon": radius, "normalization": "kept"},
        {"size": len(S) // 2},
    ]
    for question in questions:
        # A search fills the time it is given; those that prove optimality need it, for odd numbers.
        limit: dict[str, Any] = {"max_iterations": 500}
        if solver in {"cpsat", "exact"}:
            limit = {"time_limit": 1}
        found = subsetsel.solve(S, solver=solver, **limit, **question)
        norm = exact_norm(S, found.mask)
        assert found.is_feasible
        assert found.norm == pytest.approx(norm, rel=1e-9, abs=1e-12 * float(np.abs(S).max()))
        if "epsilon" in question:
            is_kept = "normalization" in question
            share = (len(S) - found.size) / len(S) if is_kept else 1.0
            assert norm <= question["epsilon"] * share * (1 + 1e-8)
            assert found.bound is None or found.size <= found.bound


FIXED: list[tuple[Any, dict[str, Any]]] = [
    (np.eye(6, 3), {"epsilon": 7e271, "normalization": "kept"}),
    (
        np.array([[0.0, 3e-316, 8e-9], [4e-312, 0, 0], [0, 0, 0]]),
        {"epsilon": 0.0, "must_keep": [0]},
    ),
    (
        np.array([[5e-126, 2e-304, 8e-320], [0, 0, 7e-289], [0, 0, 0]]),
        {"epsilon": 5e-321, "must_keep": [0]},
    ),
    (
        np.array([[1.65257131e40], [1.65257131e40], [7.48741346e-231]]),
        {"epsilon": 7.666791604982132e38, "must_prune": [0]},
    ),
    (
        np.array([[1.0, 0.0], [-1.0, 1e-290], [0.5, 0.3]]),
        {"epsilon": 1e-300, "must_keep": [2]},
    ),
]


@pytest.mark.filterwarnings("ignore::subsetsel.errors.DegenerateProblemWarning")
@pytest.mark.parametrize("solver", ["anneal", "greedy"])
@pytest.mark.filterwarnings("ignore:.* encountered:RuntimeWarning")
@pytest.mark.parametrize("number", range(len(FIXED)))
def test_what_fuzzing_found_is_solved(number: int, solver: str) -> None:
    """A radius without a square; free rows of nothing beside a fixed one; 290 decades in one S.

    Mutation: `Problem` without its cap on epsilon fails.
    """
    S, question = FIXED[number]
    found = subsetsel.solve(S, solver=solver, max_iterations=200, **question)
    # Where must_prune is given, the example that must go is too long by itself.
    assert found.is_feasible is ("must_prune" not in question)
    assert exact_norm(S, found.mask) <= question["epsilon"] * (1 + 1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "question",
    [
        {"max_size": 4},
        {"groups": [0, 1] * 6, "group_limits": {0: (None, 2), 1: (1, 4)}},
        {"max_size": 4, "normalization": "kept"},
    ],
    ids=["cap", "groups", "kept"],
)
@pytest.mark.parametrize(("length", "epsilon"), [(1.0, 1e160), (1e139, 1e300), (1e8, 1e308)])
def test_a_radius_that_no_norm_reaches_leaves_the_rest_to_decide(
    length: float, epsilon: float, question: dict[str, Any], solver: str
) -> None:
    """Where epsilon has no square, the cap and the groups say how many are pruned.

    Mutation: `Problem` without its cap on epsilon: anneal ends in an OverflowError.
    """
    S = np.random.default_rng(0).normal(size=(12, 3)) * length
    limit: dict[str, Any] = {"time_limit": 1} if solver in {"cpsat", "exact"} else {}
    found = subsetsel.solve(S, epsilon=epsilon, solver=solver, **limit, **question)
    assert found.size == (4 if "max_size" in question else 6)
    assert found.is_feasible
    assert found.norm == pytest.approx(exact_norm(S, found.mask), rel=1e-9)


class _Unproved(DenseRows):
    """Rows that are found by an iteration: no error of theirs is known."""

    is_exact = False


@pytest.mark.parametrize("tiny", [1e-140, 1e-200, 1e-290, 1e-310, 5e-324])
@pytest.mark.parametrize("is_zero", [True, False])
def test_rows_without_a_square_are_relaxed_beside_fixed_ones(tiny: float, is_zero: bool) -> None:
    """Where no rounding error is known, the least price of a row may be next to nothing.

    Mutation: `best_scale` without the least price: the slope overflows, or lam is 0 and divides.
    """
    S = np.abs(np.random.default_rng(0).normal(size=(9, 3)))
    S[:3] *= tiny
    epsilon = 0.0 if is_zero else tiny
    problem = Problem(_Unproved(S), epsilon=epsilon, must_keep=range(3, 9))
    ascent = Ascent(problem)
    assert 0 < ascent.lam < np.inf
    relaxation = ascent.run(SHARP)
    assert relaxation.weights[:3].tolist() == [1.0, 1.0, 1.0]
    assert subsetsel.solve(problem, max_iterations=200).is_feasible


@pytest.mark.parametrize("solver", ["anneal", "greedy"])
def test_many_examples_of_one_number_each(solver: str) -> None:
    """With n = 20,000 and d = 1: what fits is found, and checked.

    Mutation: `Run.submit` believes the sum it has kept up to date instead of computing it where it
    is close: fails.
    """
    S = np.random.default_rng(2).normal(size=(20_000, 1))
    found = subsetsel.solve(S, size=10_000, solver=solver, max_iterations=20_000)
    assert found.size == 10_000
    assert found.norm == pytest.approx(exact_norm(S, found.mask), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("S", "words"),
    [
        (_BASE * 1e300, "squares of such numbers overflow in float64"),
        ((_BASE * 1e30).astype(np.float32), "squares of such numbers overflow in float32"),
        (_BASE * 1e-300, "squares of such numbers vanish"),
        (np.full((6, 2), 5e-324), "squares of such numbers vanish"),
    ],
    ids=["1e300", "1e30 in float32", "1e-300", "denormal"],
)
def test_numbers_beyond_all_measure_are_refused(S: Any, words: str) -> None:
    """With the cure: rescale S and epsilon together.

    Mutation: `_require_finite` without its check of the smallest: fails, and every subset of the
    1e-300 was said to have the norm 0.
    """
    with pytest.raises(ProblemError, match=f"{words}.*Rescale S and epsilon together"):
        subsetsel.Problem(S, size=2)


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_a_norm_is_right_at_any_scale(scale: float) -> None:
    """(3, 4) has the length 5, whatever the unit.

    Mutation: `euclidean` without its rescaling: fails.
    """
    assert euclidean(np.array([3 * scale, 4 * scale])) == pytest.approx(5 * scale, rel=1e-3)


def test_a_norm_of_nothing_and_of_infinity() -> None:
    """Neither divides by zero."""
    assert euclidean(np.zeros(3)) == 0.0
    assert euclidean(np.array([])) == 0.0
    assert euclidean(np.array([np.inf, 1.0])) == np.inf

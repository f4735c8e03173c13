"""Bounds that know W to be binary: never below the optimum, and where rows are few, near it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relaxed import relax
from strategies import max_size_problems

import subsetsel
from subsetsel import Problem
from subsetsel.bounds._semidefinite_kernels import best_weight, core_sweep
from subsetsel.bounds.diagonal import Medium, tangent_bound
from subsetsel.bounds.dual import evaluate_dual
from subsetsel.bounds.semidefinite import strengthen
from subsetsel.testing import enumerate_optimum


def _medium(problem: Problem, num_raised: int, drop: float = 0.5) -> Medium:
    raised = np.arange(num_raised)
    lowered = np.arange(num_raised, problem.n)
    return Medium(problem.rows, raised, lowered, np.full(lowered.size, drop))


def _diagonal(problem: Problem, medium: Medium, raises: Any) -> Any:
    out = np.zeros(problem.n)
    proved = medium.prove(np.asarray(raises))
    assert proved is not None
    out[medium.raised], out[medium.lowered] = proved, -medium.drops
    return out


@settings(deadline=None, max_examples=25)
@given(problem=max_size_problems("full"))
def test_bound_is_never_below_the_optimum(problem: Problem) -> None:
    """With fixed examples, groups and limits of any kind, no feasible subset is larger."""
    relaxation = relax(problem)
    bound = strengthen(problem, relaxation, -1)
    best = enumerate_optimum(problem)
    assert bound <= relaxation.bound
    assert best is None or best.size <= np.floor(bound)


@settings(deadline=None, max_examples=25)
@given(problem=max_size_problems("full"), seed=st.integers(0, 1000))
def test_tangents_bound_the_optimum_anywhere(problem: Problem, seed: int) -> None:
    """Whatever the weights and whatever is asked to be proved, the bound holds."""
    rng = np.random.default_rng(seed)
    free = np.flatnonzero(problem.free)
    raised = free[rng.random(free.size) < 0.4]
    lowered = np.setdiff1d(free, raised)
    scale = float(problem.rows.squared_norms.mean()) + 1e-12
    medium = Medium(problem.rows, raised, lowered, scale * rng.uniform(0.01, 2, lowered.size))
    proved = medium.prove(scale * rng.uniform(0, 2, raised.size))
    assert proved is not None
    diagonal = np.zeros(problem.n)
    diagonal[raised], diagonal[lowered] = proved, -medium.drops
    weights = np.where(problem.free, rng.random(problem.n), problem.must_prune)
    bound = tangent_bound(problem, diagonal, weights, np.zeros(len(problem.constraints))).bound
    best = enumerate_optimum(problem)
    assert best is None or best.size <= np.floor(bound)


# Rows at right angles add their squares: four of them fit, the relaxation says 6.55.
_ANGLES, _RADIUS = np.diag(np.linspace(1.0, 2.0, 12)), np.sqrt(7.0)


def test_orthogonal_rows_are_bounded_exactly() -> None:
    """What adds up without cancelling is counted as such."""
    problem = Problem(_ANGLES, epsilon=_RADIUS)
    relaxation = relax(problem)
    assert relaxation.bound > 6.5
    assert 4 <= strengthen(problem, relaxation, 4) < 5


def test_solve_proves_with_it() -> None:
    """What the relaxation alone leaves open is proved optimal."""
    sol = subsetsel.solve(_ANGLES, epsilon=_RADIUS, bound="tight")
    assert sol.size == 4
    assert sol.status == "optimal"


@pytest.mark.filterwarnings("ignore:.* encountered:RuntimeWarning")
def test_rows_of_hundreds_of_decades_keep_the_bound_they_have() -> None:
    """Nothing overflows, and what must be kept is not counted: two of three remain."""
    S = np.array([[1.0, 0.0], [-1.0, 1e-290], [0.5, 0.3]])
    sol = subsetsel.solve(S, epsilon=1e-300, must_keep=[2], bound="tight")
    assert sol.bound == pytest.approx(2.0)


def test_the_semidefinite_bound_is_asked_for() -> None:
    """Without ``bound="tight"`` no time goes into it, and the relaxation's bound is reported."""
    loose = subsetsel.solve(_ANGLES, epsilon=_RADIUS)
    assert loose.bound is not None
    assert loose.bound >= 5


def test_every_solver_gets_the_bound() -> None:
    """The core attaches it, whoever searched."""
    sol = subsetsel.solve(_ANGLES, epsilon=_RADIUS, solver="greedy", bound="tight")
    assert sol.bound is not None
    assert sol.bound < 5


def test_no_time_no_change() -> None:
    """A search without time gives back the bound it was given."""
    problem = Problem(_ANGLES, epsilon=_RADIUS)
    relaxation = relax(problem)
    assert strengthen(problem, relaxation, 4, time_limit=0.0) == relaxation.bound


@pytest.mark.parametrize("size", [0.5, 5.0, 50.0])
def test_what_is_proved_is_definite(size: float) -> None:
    """However much is asked for, S S^T - D has no eigenvalue below rounding."""
    problem = Problem(np.random.default_rng(0).normal(size=(40, 6)), epsilon=1.0)
    diagonal = _diagonal(problem, _medium(problem, 12), np.full(12, size))
    S = problem.rows.dense()
    assert S is not None
    form = S @ S.T - np.diag(diagonal)
    assert np.linalg.eigvalsh(form)[0] >= -1e-12
    # Nor is the claim a weak one: a little more would be wrong.
    diagonal[:12] += 1e-6
    assert size < 1 or np.linalg.eigvalsh(S @ S.T - np.diag(diagonal))[0] < 0


def test_what_holds_is_kept() -> None:
    """A diagonal that is definite by a margin is proved as it is, up to rounding."""
    problem = Problem(np.eye(8), epsilon=1.0)
    proved = _medium(problem, 8).prove(np.full(8, 0.9))
    assert proved is not None
    np.testing.assert_allclose(proved, 0.9, rtol=1e-10)


def test_without_a_diagonal_it_is_the_plain_bound() -> None:
    """With D = 0 the tangent at w is U(u) at u along S^T w."""
    problem = Problem(np.random.default_rng(2).normal(0.4, 1.0, size=(30, 3)), epsilon=2.0)
    relaxation = relax(problem)
    # Where ||S^T w|| = epsilon the two coincide.
    weights = relaxation.weights * relaxation.value / relaxation.weights.sum()
    here = tangent_bound(problem, np.zeros(30), weights, np.zeros(0))
    plain = evaluate_dual(problem, problem.rows.sum(weights))
    assert here.bound == pytest.approx(plain.bound, rel=1e-4)
    assert here.bound >= plain.bound * (1 - 1e-12)


@given(
    slope=st.floats(-3, 3), curvature=st.floats(0, 4), pull=st.one_of(st.just(0.0), st.floats(0, 3))
)
def test_best_weight(slope: float, curvature: float, pull: float) -> None:
    """No weight on a fine grid is better."""

    def value(w: Any) -> Any:
        return slope * w - 0.5 * curvature * w**2 + pull * np.sqrt(np.maximum(w - w**2, 0.0))

    found = best_weight(slope, curvature, pull)
    assert 0 <= found <= 1
    assert value(found) >= value(np.linspace(0, 1, 2001)).max() - 1e-9


def test_sweeps_never_lose() -> None:
    """Each sweep raises the objective, keeps the spheres, and the products in step."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(20, 6))
    gram = rows @ rows.T
    softened = rows @ np.linalg.solve(np.eye(6) + rows.T @ rows, rows.T)
    gains, weights = rng.normal(1.0, 0.5, 20), np.full(20, 0.5)
    deviations = rng.normal(size=(20, 4))
    deviations *= 0.5 / np.linalg.norm(deviations, axis=1)[:, None]
    products = gram @ weights

    def objective() -> float:
        spread = float((deviations * (softened @ deviations)).sum())
        return float(gains @ weights - 0.5 * weights @ gram @ weights) - 0.5 * spread

    before = objective()
    for _ in range(5):
        core_sweep(gram, softened, gains, weights, deviations, products, rng.permutation(20))
        assert objective() >= before - 1e-12
        before = objective()
    np.testing.assert_allclose((deviations**2).sum(axis=1), weights - weights**2, atol=1e-12)
    np.testing.assert_allclose(products, gram @ weights, atol=1e-12)

"""Properties that hold for any S, any question, any subset: checked on random small problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from relaxed import relax
from strategies import limits, matrices, max_size_problems, min_norm_problems, vectors

from subsetsel import Problem, Solution, solve
from subsetsel.bounds.dual import evaluate_dual, lower_bound_on_norm
from subsetsel.engine.registry import (
    SolverSpec,
    available_solvers,
    register_solver,
    unregister_solver,
)
from subsetsel.problem.linear import find_mask, minimize_linear
from subsetsel.rows import as_rows
from subsetsel.rows.base import euclidean
from subsetsel.testing import check_solution, feasible_subsets
from subsetsel.testing.oracle import dense_float64

quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
few = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])

pytestmark = pytest.mark.filterwarnings("ignore::subsetsel.DegenerateProblemWarning")


@pytest.fixture(scope="module", autouse=True)
def _solvers() -> Iterator[None]:
    both: Any = frozenset({"full", "kept"})
    all_of_it = frozenset({"constraints", "fixed", "max_size", "offset"})
    specs = [
        SolverSpec(name, f"counting_solvers:{cls}", "x", supports=all_of_it, **more)
        for name, cls, more in (
            ("p_counting", "CountingSolver", {"normalizations": both}),
            ("p_min_norm", "MinNormSolver", {"forms": frozenset({"min_norm"})}),
            ("p_max_size", "MaxSizeSolver", {"forms": frozenset({"max_size"})}),
        )
    ]
    for spec in specs:
        register_solver(spec)
    yield
    for spec in specs:
        unregister_solver(spec.name)


def _subsets(n: int) -> Any:
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1


def _scale(problem: Problem) -> float:
    return float(np.abs(dense_float64(problem)).sum()) or 1.0


# --- rows ---------------------------------------------------------------------------------------


@quick
@given(S=matrices(), data=st.data())
def test_products_are_those_of_a_plain_array(S: Any, data: st.DataObject) -> None:
    """S u, S^T w and norms agree with NumPy on a float64 copy, for any dtype and strides."""
    wide = np.array(S, dtype=np.float64)
    rows = as_rows(S)
    u, w = data.draw(vectors(rows.d)), data.draw(vectors(rows.n))
    slack = 1e-13 * float(np.abs(wide).sum())
    np.testing.assert_allclose(rows.dot(u), wide @ u, rtol=1e-12, atol=slack)
    np.testing.assert_allclose(rows.sum(w), w @ wide, rtol=1e-12, atol=slack)
    np.testing.assert_allclose(np.sqrt(rows.squared_norms), np.linalg.norm(wide, axis=1))


@quick
@given(S=matrices(), data=st.data())
def test_complement(S: Any, data: st.DataObject) -> None:
    """W^T S + (1 - W)^T S = 1^T S; where rows sum to zero both sides have the same norm."""
    problem = Problem(S, size=0)
    mask = data.draw(st.sampled_from(list(_subsets(problem.n))))
    slack = 1e-12 * _scale(problem)
    both = problem.rows.sum(mask) + problem.rows.sum(~mask)
    np.testing.assert_allclose(both, problem.rows.total, atol=slack)
    wide = np.array(S, dtype=np.float64)
    centred = Problem(wide - wide.mean(axis=0), size=0)
    assert centred.norm(mask) == pytest.approx(centred.norm(~mask), abs=slack)


@quick
@given(problem=max_size_problems(is_limited=False), data=st.data())
def test_norm_and_feasibility_are_invariant(problem: Problem, data: st.DataObject) -> None:
    """Rotating, permuting, or scaling S together with epsilon changes nothing that matters."""
    S = dense_float64(problem)
    n, d = S.shape
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    order = rng.permutation(n)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    factor = 10.0 ** data.draw(st.integers(-6, 6))
    assert problem.epsilon is not None
    moved = Problem(
        factor * (S @ rotation)[order],
        epsilon=factor * problem.epsilon,
        normalization=problem.normalization,
    )
    slack = 1e-12 * _scale(problem)
    for mask in rng.permutation(_subsets(n))[:12]:
        norm = problem.norm(mask)
        assert moved.norm(mask[order]) / factor == pytest.approx(norm, rel=1e-9, abs=slack)
        is_on_edge = abs(norm - problem.radius(int(mask.sum()))) <= slack + 1e-8 * norm
        if not is_on_edge:
            assert moved.is_feasible(mask[order]) == problem.is_feasible(mask)


@few
@given(problem=max_size_problems("full", is_limited=False), seed=st.integers(0, 99))
def test_relaxation_is_invariant(problem: Problem, seed: int) -> None:
    """The relaxed optimum is the same after rotation, permutation and joint scaling."""
    S = dense_float64(problem)
    rng = np.random.default_rng(seed)
    assert problem.epsilon is not None
    assume(problem.epsilon > 1e-3 * np.abs(S).max())
    rotation = np.linalg.qr(rng.normal(size=(S.shape[1],) * 2))[0]
    factor = 10.0 ** rng.integers(-6, 7)
    moved = Problem(
        factor * (S @ rotation)[rng.permutation(len(S))], epsilon=factor * problem.epsilon
    )
    here, there = relax(problem), relax(moved)
    # The optimum lies between value and bound; where both are close, so are the optima.
    assert max(here.value, there.value) <= min(here.bound, there.bound) + 1e-6
    if max(here.bound - here.value, there.bound - there.value) < 0.05:
        assert there.bound == pytest.approx(here.bound, abs=0.1)


# --- bounds -------------------------------------------------------------------------------------


@quick
@given(problem=max_size_problems("full"), data=st.data())
def test_any_dual_point_bounds_every_feasible_subset(problem: Problem, data: st.DataObject) -> None:
    """U(u, y) holds for whatever u and y, against enumeration under all limits."""
    masks, _ = feasible_subsets(problem)
    largest = int(masks.sum(axis=1).max()) if len(masks) else 0
    u = data.draw(vectors(problem.d)) * problem.n / _scale(problem)
    y = data.draw(vectors(len(problem.constraints), 3.0))
    dual = evaluate_dual(problem, u, y)
    assert np.isfinite(dual.bound)
    assert np.floor(dual.bound) >= largest
    assert dual.bound == pytest.approx(_dual_value(problem, dual.u, dual.y), rel=1e-6, abs=1e-6)


def _dual_value(problem: Problem, u: Any, y: Any) -> float:
    """U(u, y) from its definition, at this very point."""
    constraints = problem.constraints
    limit = np.where(y > 0, constraints.upper, np.where(y < 0, constraints.lower, 0.0))
    gains = 1.0 - dense_float64(problem) @ u - constraints.matrix.toarray().T @ y
    gains = np.where(problem.must_prune, gains, np.where(problem.must_keep, 0.0, gains.clip(0.0)))
    assert problem.epsilon is not None
    value = problem.epsilon * euclidean(u) + limit @ y + gains.sum()
    value -= 0.0 if problem.offset is None else u @ problem.offset
    return float(np.clip(value, 0.0, problem.max_size))


@few
@given(problem=max_size_problems("full"))
def test_relaxation_bounds_every_feasible_subset(problem: Problem) -> None:
    """The bound of the relaxation holds under all limits."""
    masks, _ = feasible_subsets(problem)
    largest = int(masks.sum(axis=1).max()) if len(masks) else 0
    relaxed = relax(problem)
    assert np.floor(relaxed.bound) >= largest
    assert ((relaxed.weights >= problem.must_prune) & (relaxed.weights <= 1)).all()


@few
@given(problem=st.one_of(max_size_problems(), min_norm_problems()), at_least=st.floats(0, 5))
def test_lower_bound_is_below_every_norm(problem: Problem, at_least: float) -> None:
    """No subset that respects the linear limits has a smaller norm than what is proved."""
    masks, norms = feasible_subsets(problem)
    bound = lower_bound_on_norm(problem, num_steps=10, at_least=at_least)
    if len(masks):
        assert bound <= norms.min()


# --- the linear side ----------------------------------------------------------------------------


@quick
@given(data=st.data())
def test_linear_minimum_is_below_every_subset(data: st.DataObject) -> None:
    """The proven minimum of a linear cost holds against enumeration; inf only if nothing is."""
    n = data.draw(st.integers(1, 8))
    question = data.draw(limits(n))
    goal: dict[str, Any] = data.draw(
        st.one_of(
            st.builds(lambda m: {"size": m}, st.integers(0, n)),
            st.builds(lambda m: {"epsilon": 1.0, "max_size": m}, st.integers(0, n)),
        )
    )
    problem = Problem(np.zeros((n, 1)), **goal, **question)
    cost = data.draw(vectors(n, 5.0))
    masks, _ = feasible_subsets(problem)
    weights, value = minimize_linear(problem, cost)
    found = find_mask(problem, wanted=data.draw(st.sampled_from([None, *_subsets(n)])))
    assert (found is None) == (len(masks) == 0)
    if found is not None:
        assert problem.is_feasible(found)
        assert weights is not None
        assert value <= (masks.astype(np.float64) @ cost).min()


# --- solve --------------------------------------------------------------------------------------


@few
@given(problem=st.one_of(max_size_problems(), min_norm_problems()))
@pytest.mark.parametrize("solver", ["p_counting", "p_min_norm", "p_max_size"])
def test_every_claim_holds(solver: str, problem: Problem) -> None:
    """Constraint, norm, bound, status: whatever is claimed is true, for any problem."""
    solution = solve(problem, solver=solver)
    check_solution(problem, solution)
    if solver == "p_counting":
        is_feasible = len(feasible_subsets(problem)[0]) > 0
        assert solution.status == ("optimal" if is_feasible else "infeasible")


@settings(few, max_examples=10)
@given(problem=st.one_of(max_size_problems(), min_norm_problems()))
@pytest.mark.parametrize("solver", available_solvers())
def test_every_claim_of_every_solver_holds(solver: str, problem: Problem) -> None:
    """The same for each solver of the package."""
    check_solution(problem, solve(problem, solver=solver))


@few
@given(problem=min_norm_problems())
def test_bridged_optimum_of_eq4(problem: Problem) -> None:
    """A solver of Eq. 3 alone finds the smallest norm, up to the bisection's resolution."""
    _, norms = feasible_subsets(problem)
    solution = solve(problem, solver="p_max_size")
    assert solution.is_feasible == (len(norms) > 0)
    if len(norms):
        assert solution.norm <= norms.min() * (1 + 1e-5) + 1e-9 * _scale(problem)


@few
@given(problem=st.one_of(max_size_problems(), min_norm_problems()))
def test_saving_changes_nothing(problem: Problem, tmp_path_factory: Any) -> None:
    """Any solution survives the file."""
    solution = solve(problem, solver="p_counting", trace=True)
    path = tmp_path_factory.mktemp("saved") / "solution.npz"
    solution.save(path)
    loaded = Solution.load(path)
    check_solution(problem, loaded)
    assert str(loaded) == str(solution)
    assert loaded.trace == solution.trace

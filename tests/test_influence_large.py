"""Heads without a factor: conjugate gradients, the E-KFAC proxy, and the search on it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from subsetsel.engine.solve import solve
from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence import Head, fit_head, influence_rows
from subsetsel.influence.head.choose_inverse import choose_inverse
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.ekfac import KroneckerInverse
from subsetsel.problem.problem import Problem
from subsetsel.rows.factored import FactoredRows

N, H, C = 240, 7, 5


def small_head(kind: str, **options: Any) -> Head:
    """Fit a head to planted labels, with features of very different sizes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, H)) * np.geomspace(0.1, 10, H)
    y = (X @ rng.standard_normal((H, C)) / 3 + rng.gumbel(size=(N, C))).argmax(axis=1)
    inverse: Any = kind
    return fit_head(X, y, l2=1e-2, num_classes=C, inverse=inverse, **options)


@pytest.fixture(scope="module")
def exact() -> Head:
    """The head with a factor."""
    return small_head("cholesky")


@pytest.fixture(scope="module")
def large() -> Head:
    """The same head, as if no factor fitted."""
    return small_head("cg")


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    """A random subset."""
    return np.random.default_rng(1).random(N) < 0.4


def test_fit_without_a_factor(exact: Head, large: Head) -> None:
    """Newton's method by conjugate gradients ends at the same minimizer."""
    assert large.gradient_norm <= 1e-10
    np.testing.assert_allclose(large.theta, exact.theta, atol=1e-10)


def test_a_large_head_is_polished_without_its_factor(
    exact: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends at the same minimizer, and what is solved with afterwards is exact all the same."""
    monkeypatch.setattr("subsetsel.influence.head.fit._MAX_FACTORED_POLISH", 1)
    head = small_head("auto")
    np.testing.assert_allclose(head.theta, exact.theta, atol=1e-11)
    assert head.inverse.is_exact


def test_polishing_falls_back_on_a_factor(exact: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where conjugate gradients do not converge."""
    monkeypatch.setattr("subsetsel.influence.head.fit._MAX_FACTORED_POLISH", 1)
    monkeypatch.setattr("subsetsel.influence.head.conjugate_gradients._MAX_STEPS", 1)
    np.testing.assert_allclose(small_head("auto").theta, exact.theta, atol=1e-11)


def test_hessian_product(exact: Head) -> None:
    """H V without H is H V."""
    on, theta = exact.objective_function, exact.to_scaled(exact.theta)
    columns = torch.randn(on.d, 3, dtype=torch.float64).to(exact.device)
    expected = on.hessian(theta) @ columns
    torch.testing.assert_close(on.multiply(theta, columns), expected, rtol=1e-12, atol=1e-12)


def test_solve_reaches_its_tolerance(exact: Head, large: Head) -> None:
    """Conjugate gradients agree with the factor to the tolerance asked for."""
    columns = torch.randn(exact.objective_function.d, 40, dtype=torch.float64).to(exact.device)
    expected = exact.inverse.solve(columns)
    for tolerance in (1e-3, 1e-10):
        found = large.inverse.solve(columns, tolerance=tolerance)
        assert float((found - expected).norm() / expected.norm()) <= 20 * tolerance


def test_solve_of_zero_is_zero(large: Head) -> None:
    """A zero column needs no step and does no harm to the others."""
    columns = torch.zeros(large.objective_function.d, 2, dtype=torch.float64).to(large.device)
    columns[3, 1] = 1.0
    solved = large.inverse.solve(columns)
    assert float(solved[:, 0].abs().max()) == 0
    assert torch.isfinite(solved).all()


def test_preconditioner_is_near(exact: Head) -> None:
    """E-KFAC times H is nearer to the identity than H alone."""
    on, theta = exact.objective_function, exact.to_scaled(exact.theta)
    H = on.hessian(theta)
    values = torch.linalg.eigvals(KroneckerInverse(on, theta).solve(H)).real
    plain = torch.linalg.eigvalsh(H)
    assert values.max() / values.min() < 0.5 * plain.max() / plain.min()


def test_rows_without_a_factor(exact: Head, large: Head, weights: np.ndarray) -> None:
    """Sums, products and single rows are those of the exact S."""
    S = influence_rows(exact, dtype=np.float64, storage="dense")
    rows = influence_rows(large, dtype=np.float64)
    assert isinstance(rows, FactoredRows)
    u = np.random.default_rng(2).standard_normal(S.d)
    np.testing.assert_allclose(rows.sum(weights), S.sum(weights), atol=1e-9)
    np.testing.assert_allclose(rows.dot(u), S.dot(u), atol=1e-9)
    some = np.array([3, 77])
    np.testing.assert_allclose(rows.take(some), S.take(some), atol=1e-10)


def test_newton_step_and_refit(exact: Head, large: Head, weights: np.ndarray) -> None:
    """What is known about the kept examples does not depend on how it is solved."""
    np.testing.assert_allclose(
        large.kept(~weights).newton_step(), exact.kept(~weights).newton_step(), atol=1e-8
    )
    np.testing.assert_allclose(large.refit(~weights).theta, exact.refit(~weights).theta, atol=1e-10)


def test_curvature_without_a_factor(exact: Head, large: Head, weights: np.ndarray) -> None:
    """The value is attained, so never below the true one, and close to it."""
    true, found = exact.kept(~weights).curvature(), large.kept(~weights).curvature()
    assert true * (1 - 1e-9) <= found <= true * 1.01


def test_weakest_direction_is_where_curvature_is_lost(exact: Head, weights: np.ndarray) -> None:
    """The kept share of the curvature along the direction is the curvature reported."""
    value, direction = exact.kept(~weights).weakest_direction()
    along = exact.curvature_along(direction)
    assert along[~weights].mean() / along.mean() == pytest.approx(value, rel=1e-9)


def test_lanczos_finds_the_weakest_direction_of_the_whole_spectrum(
    exact: Head, weights: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many parameters are asked for one eigenvalue, few for all; both give the same direction."""
    value, direction = exact.kept(~weights).weakest_direction()
    monkeypatch.setattr("subsetsel.influence.head.cholesky._MAX_SPECTRUM", 1)
    found, along = exact.kept(~weights).weakest_direction()
    assert found == pytest.approx(value, rel=1e-9)
    cosine = np.vdot(direction, along) / np.linalg.norm(direction) / np.linalg.norm(along)
    assert abs(cosine) == pytest.approx(1, abs=1e-6)


def test_proxy_is_consistent(large: Head, weights: np.ndarray) -> None:
    """Blocks, sums, products and norms of the proxy are those of one and the same matrix."""
    proxy = influence_rows(large).proxy
    S = proxy.block(0, N).astype(np.float64)
    u = np.random.default_rng(2).standard_normal(proxy.d)
    np.testing.assert_allclose(proxy.sum(weights), S[weights].sum(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(proxy.dot(u), S @ u, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(proxy.squared_norms, np.square(S).sum(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(proxy.take(np.array([5, 2])), proxy.block(0, N)[[5, 2]])


def test_proxy_ranks_examples_like_exact_rows(exact: Head, large: Head) -> None:
    """Norms under E-KFAC follow the exact ones closely."""
    true = influence_rows(exact, dtype=np.float64).squared_norms
    found = influence_rows(large).squared_norms
    assert np.corrcoef(np.log(true), np.log(found))[0, 1] > 0.95
    assert 0.5 < np.median(found / true) < 5


def test_proxy_of_exact_rows_is_themselves(exact: Head) -> None:
    """Where rows can be read there is nothing to approximate."""
    storages: tuple[Any, ...] = ("dense", "factored")
    for storage in storages:
        rows = influence_rows(exact, storage=storage)
        assert rows.proxy is rows


@pytest.mark.parametrize("fits", [True, False])
def test_search_without_exact_rows(
    exact: Head, large: Head, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    """Held as a whole or read in chunks, the proxy leads to a true norm far below random."""
    if not fits:
        monkeypatch.setattr("subsetsel.support.memory.DEFAULT_GIB", 2**-30)
        monkeypatch.setattr("subsetsel.solvers._chunk_search._MAX_CHUNK", 64)
    rows = influence_rows(large)
    found = solve(Problem(rows, size=N // 2))
    S = influence_rows(exact, dtype=np.float64)
    rng = np.random.default_rng(0)
    random = [np.linalg.norm(S.sum(rng.permutation(N) < N // 2)) for _ in range(5)]
    assert found.norm == pytest.approx(np.linalg.norm(S.sum(found.mask)), rel=1e-6)
    assert found.norm < 0.3 * np.mean(random)


@pytest.mark.parametrize("fits", [True, False])
def test_a_search_solves_for_no_single_row(
    large: Head, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    """An iterative solve for each row that a pass has changed would take hours; a sum takes one."""
    if not fits:
        monkeypatch.setattr("subsetsel.support.memory.DEFAULT_GIB", 2**-30)
        monkeypatch.setattr("subsetsel.solvers._chunk_search._MAX_CHUNK", 64)
    rows = influence_rows(large)
    monkeypatch.setattr(FactoredRows, "take", lambda *_: pytest.fail("a row was solved for"))
    assert solve(Problem(rows, size=N // 2)).size == N // 2


def test_a_search_in_chunks_takes_no_more_proposals_than_allowed(
    large: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`num_proposals` counts in chunks too; the whole walk takes as many, spread over its passes.

    Mutation: the proposals that are asked for are not handed to the chunks: 576,000 of them.
    """
    monkeypatch.setattr("subsetsel.support.memory.DEFAULT_GIB", 2**-30)
    problem = Problem(influence_rows(large), size=N // 2)
    assert solve(problem, num_proposals=3000).num_iterations <= 2 * 3000


def test_loss_metric_needs_a_factor(large: Head) -> None:
    """Without L there are no rows L^-1 g, and the message says what to do."""
    rows = influence_rows(large, metric="loss")
    with pytest.raises(ProblemError, match="metric='parameter'"):
        rows.sum(np.ones(N, dtype=bool))


def test_choice_of_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factor is left out beyond a size and beyond the memory that is planned with."""
    cpu = torch.device("cpu")
    assert choose_inverse("auto", 1000, cpu) == "cholesky"
    assert choose_inverse("auto", 30_000, cpu) == "cg"
    monkeypatch.setattr("subsetsel.support.memory.DEFAULT_GIB", 0.02)
    assert choose_inverse("auto", 1000, cpu) == "cg"
    with pytest.raises(OptionError, match="cholesky"):
        choose_inverse("qr", 10, cpu)


def test_dense_storage_is_not_chosen_by_itself(large: Head) -> None:
    """Rows that cost an iterative solve each are never all written out unasked."""
    assert influence_rows(large).dense() is None


def test_hopeless_system_says_so(large: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conjugate gradients that do not converge are an error, not a wrong answer."""
    monkeypatch.setattr("subsetsel.influence.head.conjugate_gradients._MAX_STEPS", 2)
    solver = IterativeInverse(large.objective_function, large.to_scaled(large.theta))
    with pytest.raises(ProblemError, match="badly conditioned"):
        solver.solve(torch.ones(large.objective_function.d, 1).double().to(large.device))


def test_the_proxy_does_not_depend_on_signs_of_eigenvectors(
    large: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries choose them as they like; random signs are drawn in the basis they make."""
    usual = influence_rows(large).proxy.search_matrix()
    eigh = torch.linalg.eigh

    def flipped(matrix: torch.Tensor) -> Any:
        values, vectors = eigh(matrix)
        signs = 1.0 - 2.0 * (torch.arange(len(values)) % 2)
        return values, vectors * signs

    monkeypatch.setattr(torch.linalg, "eigh", flipped)
    again = IterativeInverse(large.objective_function, large.to_scaled(large.theta))
    flipped_head = dataclasses.replace(large)
    flipped_head.__dict__["inverse"] = again
    found = influence_rows(flipped_head).proxy.search_matrix()
    np.testing.assert_allclose(found, usual, rtol=1e-5, atol=1e-9)

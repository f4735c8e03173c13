"""Heads with fewer examples than parameters, and refits that build no Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from head_oracle import AutogradHead, blobs
from scipy import linalg

from subsetsel.influence import Head, estimate_cost, fit_head, influence_rows
from subsetsel.influence.head import choose_inverse, refit
from subsetsel.influence.head.cholesky import Factor
from subsetsel.influence.head.choose_inverse import invert, woodbury_bytes
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.woodbury import WoodburyInverse

N, H, C = 80, 5, 40
X, Y = blobs(N, H, C)
KEPT = np.arange(N) % 5 > 0


def fitted(l2: float = 1e-2, **options: Any) -> Head:
    """Fit a head of two examples per class."""
    return fit_head(X, Y, l2=l2, device="cpu", **options)


def woodbury(head: Head) -> WoodburyInverse:
    """Solve at the minimum of a head by the Woodbury identity."""
    return WoodburyInverse(head.objective_function, head.to_scaled(head.theta))


def factor(head: Head) -> Factor:
    """Solve at the same point by a factor of the whole Hessian."""
    return Factor(head.objective_function, head.to_scaled(head.theta))


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the Woodbury identity for small heads too."""
    monkeypatch.setattr(choose_inverse, "_SMALL", 1)


@pytest.fixture
def products_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refit by products with the Hessian for small heads too."""
    monkeypatch.setattr(refit, "_PRODUCTS_PER_REFIT", 0)


def test_solves_are_those_of_the_hessian_of_automatic_differentiation() -> None:
    """H^-1 g for gradients g, in the user's parameters."""
    head = fitted()
    oracle = AutogradHead(X, Y, head.l2)
    expected = np.linalg.solve(oracle.hessian(head.theta), oracle.gradients(head.theta).T)
    on = head.objective_function
    given = torch.as_tensor(oracle.gradients(head.theta)).reshape(N, C, -1) / on.scale
    columns = (on.basis.T @ given).reshape(N, -1).T
    found = woodbury(head).influence(columns, "parameter").T.reshape(N, C - 1, -1)
    np.testing.assert_allclose(
        (on.basis @ found).reshape(N, -1), expected.T, atol=1e-11 * np.abs(expected).max()
    )


@pytest.mark.parametrize(
    "options", [{"sample_weight": np.linspace(0.5, 2, N)}, {"label_smoothing": 0.1}, {"l2": 1e-6}]
)
def test_solves_are_those_of_the_factor(options: dict[str, Any]) -> None:
    """With weights, with smoothed labels, and where the data are nearly separated."""
    head = fitted(**options)
    columns = torch.randn(head.objective_function.d, 5, dtype=torch.float64)
    expected = factor(head).solve(columns)
    assert float((woodbury(head).solve(columns) - expected).norm() / expected.norm()) < 1e-8


def test_what_the_identity_is_off_by_is_measured() -> None:
    """Where probabilities are near 0 and 1 it is known how much accuracy that costs."""
    head = fitted(l2=1e-8)
    inverse, columns = woodbury(head), torch.randn(head.objective_function.d, 9).double()
    wrong = inverse.precondition(columns) - inverse.solve(columns, tolerance=1e-14)
    error = (wrong * inverse.multiply(wrong)).sum(dim=0)
    solved = inverse.solve(columns)
    relative = float((error / (solved * columns).sum(dim=0)).max().sqrt())
    assert inverse.off > 1e-11
    assert 0.3 * inverse.off < relative < 3 * inverse.off


def test_a_solve_beyond_that_accuracy_goes_on_by_exact_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The identity then is the preconditioner."""
    head = fitted()
    inverse, columns = woodbury(head), torch.randn(head.objective_function.d, 3).double()
    expected, apply = inverse.solve(columns), WoodburyInverse.precondition
    monkeypatch.setattr(
        WoodburyInverse, "precondition", lambda *given, **named: 0.9 * apply(*given, **named)
    )
    assert not torch.allclose(inverse.solve(columns), expected)
    inverse.off = 0.1
    torch.testing.assert_close(inverse.solve(columns), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("l2", [1e-2, 1e-6])
def test_the_half_is_a_root_of_the_inverse(l2: float) -> None:
    """R^T R H is the identity for a square R."""
    head = fitted(l2=l2)
    on, inverse = head.objective_function, woodbury(head)
    unit = torch.eye(on.d, dtype=torch.float64)
    R = inverse.half(unit)
    assert R.shape == (on.d, on.d)
    torch.testing.assert_close(
        R.T @ R @ on.hessian(head.to_scaled(head.theta)), unit, rtol=0, atol=1e-8
    )


def test_the_transposed_half_is_its_transpose() -> None:
    """R^T."""
    head = fitted()
    inverse, unit = woodbury(head), torch.eye(head.objective_function.d, dtype=torch.float64)
    torch.testing.assert_close(
        inverse.half(unit, transposed=True), inverse.half(unit).T, rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("make", [WoodburyInverse, IterativeInverse])
@pytest.mark.parametrize("l2", [1e-2, 1e-5])
def test_the_weakest_direction_is_that_of_the_whole_spectrum(make: Any, l2: float) -> None:
    """Also where H is so small that an absolute residual says nothing."""
    head = fitted(l2=l2)
    theta, kept = head.to_scaled(head.theta), head.objective_function.restrict(KEPT)
    part, full = kept.hessian(theta).numpy(), head.objective_function.hessian(theta).numpy()
    true = linalg.eigh(part, full, eigvals_only=True)[0]
    value, v = woodbury(head).weakest_direction(make(kept, theta))
    assert value == pytest.approx(true, rel=1e-4)
    attained = v.numpy() @ part @ v.numpy() / (v.numpy() @ full @ v.numpy())
    assert attained == pytest.approx(value, rel=1e-9)


@pytest.mark.usefixtures("small_is_large")
def test_a_head_of_few_examples_is_solved_by_the_identity() -> None:
    """With rows, a refit, a Newton step and a curvature like those of a factor."""
    head, exact = fitted(), fitted(inverse="cholesky")
    assert isinstance(head.inverse, WoodburyInverse)
    S, expected = (influence_rows(of, dtype=np.float64).take(np.arange(N)) for of in (head, exact))
    np.testing.assert_allclose(S, expected, atol=1e-11)
    kept, other = head.kept(KEPT), exact.kept(KEPT)
    np.testing.assert_allclose(kept.refit().theta, other.refit().theta, atol=1e-10)
    np.testing.assert_allclose(kept.newton_step(), other.newton_step(), atol=1e-10)
    assert kept.curvature() == pytest.approx(other.curvature(), rel=1e-8)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize(
    "options", [{"inverse": "cholesky"}, {"penalize_bias": False}, {"loss": "squared"}]
)
def test_elsewhere_a_factor_is_made(options: dict[str, Any]) -> None:
    """Where the user says so, where K would be singular, where one block is factored anyway."""
    assert isinstance(fitted(**options).inverse, Factor)


@pytest.mark.usefixtures("small_is_large")
def test_a_head_of_more_examples_is_factored() -> None:
    """With n + q above half of d a solve would take more operations."""
    most = (C - 1) * (H + 1) // 2 - (H + 1)
    for n, kind in ((most, WoodburyInverse), (most + 1, Factor)):
        more, labels = blobs(n, H, C)
        assert isinstance(fit_head(more, labels, l2=1e-2, device="cpu").inverse, kind)


def test_beyond_the_largest_factor_the_rows_must_be_cheap() -> None:
    """So many examples and features that all rows are solved for in seconds."""
    few = estimate_cost(899, 100, 300, device="cpu")
    more = estimate_cost(900, 100, 300, device="cpu")
    assert (few.inverse, more.inverse) == ("cholesky", "cg")


@pytest.mark.usefixtures("small_is_large")
def test_the_identity_must_fit_into_the_planned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what is planned with must hold it."""
    needed = 2 * woodbury_bytes(N, H + 1, C) / 2**30
    for share, kind in ((1.001, WoodburyInverse), (0.999, IterativeInverse)):
        monkeypatch.setattr("subsetsel.support.memory.DEFAULT_GIB", share * needed)
        assert isinstance(fitted().inverse, kind)


def test_estimate_of_a_head_of_few_examples() -> None:
    """Its memory grows with n d, and single rows are cheap."""
    found = estimate_cost(900, 40, 300, device="cpu")
    assert (found.inverse, found.storage) == ("cholesky", "dense")
    assert found.hessian_bytes == woodbury_bytes(900, 41, 300) < 0.1 * 2 * 8 * found.d**2


@pytest.mark.usefixtures("products_only")
def test_a_large_refit_builds_no_hessian() -> None:
    """Refit, Newton step and curvature agree with those of a factor to what each promises."""
    head, exact = fitted(), fitted(inverse="cholesky")
    kept, other = head.kept(KEPT), exact.kept(KEPT)
    found, expected = kept.refit(), other.refit()
    np.testing.assert_allclose(found.theta, expected.theta, atol=found.error + expected.error)
    assert found.error < 3 * expected.error
    np.testing.assert_allclose(kept.newton_step(), other.newton_step(), atol=1e-8)
    assert kept.curvature() == pytest.approx(other.curvature(), rel=1e-5)
    assert "inverse" not in vars(kept)


@pytest.mark.usefixtures("products_only")
def test_a_refit_falls_back_on_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where conjugate gradients do not converge."""
    head = fitted()
    expected = fitted(inverse="cholesky").kept(KEPT)
    monkeypatch.setattr("subsetsel.influence.head.conjugate_gradients._MAX_STEPS", 1)
    kept = head.kept(KEPT)
    np.testing.assert_allclose(kept.refit().theta, expected.refit().theta, atol=1e-10)
    np.testing.assert_allclose(kept.newton_step(), expected.newton_step(), atol=1e-10)
    assert isinstance(kept.inverse, Factor)


def test_products_move_with_theta() -> None:
    """A step from elsewhere takes the Hessian there; the preconditioner stays."""
    head = fitted()
    on, theta = head.objective_function, head.to_scaled(head.theta)
    here = IterativeInverse(on, theta)
    there = here.move(0.5 * theta)
    assert isinstance(there, IterativeInverse)
    columns = torch.randn(on.d, 2, dtype=torch.float64)
    torch.testing.assert_close(there.multiply(columns), on.hessian(0.5 * theta) @ columns)
    assert there.guess is here.guess


def test_sums_over_the_classes_are_products_with_their_basis() -> None:
    """Lifting and reducing, for many and for two classes."""
    two = fit_head(X, Y % 2, l2=1e-2, device="cpu").objective_function
    for on in (fitted().objective_function, two):
        given = torch.randn(on.num_classes, 3, dtype=torch.float64)
        reduced = on.basis.T @ given
        torch.testing.assert_close(on.reduce(given), reduced, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(on.lift(reduced), on.basis @ reduced, rtol=1e-13, atol=1e-13)


def test_the_basis_of_the_features_is_found_once() -> None:
    """The kept examples are preconditioned in the basis of all."""
    on = fitted().objective_function
    assert on.restrict(KEPT).feature_vectors() is on.feature_vectors()


def test_products_are_chosen_by_their_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A factor of n d^2 + d^3 / 3 against products of 4 n d each."""
    head = fitted()
    n, d = int(KEPT.sum()), head.objective_function.d
    limit = (n * d**2 + d**3 / 3) / (4 * n * d)
    for share, is_built in ((1.001, True), (0.999, False)):
        monkeypatch.setattr(refit, "_PRODUCTS_PER_REFIT", share * limit)
        kept = head.kept(KEPT)
        kept.newton_step()
        assert ("inverse" in vars(kept)) == is_built


def test_the_inverse_is_that_of_the_kept_examples() -> None:
    """Whatever refits: `inverse` is direct, for rows made anew."""
    kept = fitted().kept(KEPT)
    columns = torch.randn(kept.objective_function.d, 2, dtype=torch.float64)
    H_K = kept.objective_function.hessian(kept.theta)
    torch.testing.assert_close(H_K @ kept.inverse.solve(columns), columns, rtol=1e-9, atol=1e-9)
    assert kept.inverse.is_exact
    assert isinstance(invert(kept.objective_function, kept.theta), Factor)

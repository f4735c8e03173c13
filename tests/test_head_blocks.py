"""What is computed in blocks, tiles and parts is what explicit loops and autograd compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from head_oracle import AutogradHead, blobs

from subsetsel.influence import device, fit_head, influence_rows
from subsetsel.influence.head import examples, grams
from subsetsel.influence.head.losses import OBJECTIVES
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.setting import Setting
from subsetsel.support import threads

L2 = 1e-2


@pytest.fixture(params=["whole", "tiles", "tiles, threads"], autouse=True)
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute small things as large ones are: in many tiles and parts, by one or three threads."""
    if request.param == "whole":
        return
    small = replace(device.CPU, chunk_rows=7, gram_rows=10, strip=3, block_bytes=1000)
    monkeypatch.setattr(device, "CPU", small)
    monkeypatch.setattr(grams, "_TILE_ROWS", 6)
    monkeypatch.setattr(grams, "_TILE_COLUMNS", 9)
    if "threads" in request.param:
        for module in (threads, examples):
            monkeypatch.setattr(module, "FLOPS_PER_THREAD", 1.0)
        monkeypatch.setattr(threads, "allowed_cores", lambda: 3)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)


def objective(X: Any, y: Any, *, weights: Any = None, loss: str = "cross_entropy") -> HeadObjective:
    """Make the objective of a head."""
    return OBJECTIVES[loss].from_arrays(
        X,
        y,
        setting=Setting(L2, int(y.max()) + 1),
        weights=weights,
        device=torch.device("cpu"),
    )


def some_theta(num_classes: int, q: int) -> Any:
    """Draw parameters whose rows sum to zero."""
    theta = np.random.default_rng(1).standard_normal((num_classes, q))
    return theta - theta.mean(axis=0)


def close(found: Any, expected: Any) -> bool:
    """Compare to 1e-12 of the largest entry."""
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.abs(found - expected).max()) <= 1e-12 * float(np.abs(expected).max())


@pytest.mark.parametrize("num_classes", [2, 3, 8])
def test_the_hessian_is_that_of_automatic_differentiation(num_classes: int) -> None:
    """In the class basis and scaled parameters, to 1e-12."""
    X, y = blobs(61, 9, num_classes)
    own = objective(X, y)
    theta = some_theta(num_classes, 10)
    whole = AutogradHead(X, y, L2).hessian(theta)
    # A column of the basis per class direction, times the scale: d user parameters / d own ones.
    turn = np.kron(own.basis.numpy(), np.diag(1 / own.scale.numpy()))
    assert close(own.hessian(own.to_scaled(theta)), turn.T @ whole @ turn)


def test_the_hessian_of_weighted_examples_is_the_weighted_sum() -> None:
    """By an explicit loop over the examples."""
    X, y = blobs(40, 5, 4)
    weights = np.random.default_rng(2).uniform(0.5, 2.0, 40)
    own = objective(X, y, weights=weights)
    theta = own.to_scaled(some_theta(4, 6))
    basis, expected = own.basis.numpy(), np.zeros((own.d, own.d))
    for i in range(40):
        x = own.X.dense()[i].numpy()
        p = np.exp(theta.numpy() @ x)
        p /= p.sum()
        A = basis.T @ (np.diag(p) - np.outer(p, p)) @ basis
        expected += weights[i] / weights.sum() * np.kron(A, np.outer(x, x))
    expected += np.diag(np.tile(own.ridge.numpy(), 3))
    assert close(own.hessian(theta), expected)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_value_and_gradient_are_those_of_automatic_differentiation(num_classes: int) -> None:
    """To 1e-12."""
    X, y = blobs(61, 9, num_classes)
    own, oracle = objective(X, y), AutogradHead(X, y, L2)
    theta = some_theta(num_classes, 10)
    value, gradient = own.value_and_gradient(own.to_scaled(theta))
    expected: Callable[..., Any] = torch.func.grad(oracle.objective)
    assert value == pytest.approx(float(oracle.objective(torch.tensor(theta))), rel=1e-12)
    assert close(gradient * own.scale, expected(torch.tensor(theta)))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_products_are_those_with_the_hessian(loss: str) -> None:
    """H times columns without H, to 1e-12."""
    X, y = blobs(300, 9, 4)
    own = objective(X, y, loss=loss)
    theta = own.to_scaled(some_theta(4, 10))
    H = own.hessian(theta)
    if len(H) < own.d:
        H = torch.kron(torch.eye(own.num_free).to(H), H)
    columns = torch.as_tensor(np.random.default_rng(3).standard_normal((own.d, 5)))
    assert close(own.multiply(theta, columns), H @ columns)


def test_gram_matrices_of_pairs_are_set_above_and_below_the_diagonal() -> None:
    """By an explicit loop; what stood on the diagonal stays there."""
    rng = np.random.default_rng(5)
    X, left, right = (torch.as_tensor(rng.standard_normal((33, k))) for k in (8, 5, 5))
    found = torch.full((5, 8, 5, 8), 7.0, dtype=torch.float64)
    grams.fill_pairs(found, X, left, right)
    expected = torch.full_like(found, 7.0)
    for a in range(5):
        for b in range(a + 1, 5):
            expected[a, :, b] = expected[b, :, a] = X.T @ ((left[:, a] * right[:, b])[:, None] * X)
    assert close(found, expected)


def test_a_gram_matrix_is_the_weighted_sum_of_outer_products() -> None:
    """By an explicit loop, with weights of both signs."""
    rng = np.random.default_rng(4)
    X, weights = rng.standard_normal((33, 11)), rng.standard_normal(33)
    expected = sum(w * np.outer(x, x) for w, x in zip(weights, X, strict=True))
    assert close(grams.weighted_gram(torch.tensor(X), torch.tensor(weights)), expected)


def test_rows_of_S_are_those_of_automatic_differentiation() -> None:
    """All blocks, in their order."""
    X, y = blobs(61, 9, 4)
    head = fit_head(X, y, l2=L2)
    rows = influence_rows(head, dtype=np.float64, storage="dense").dense()
    assert rows is not None
    S = AutogradHead(X, y, L2).influence(head.theta, ridge="included")
    inner, expected = rows @ rows.T, S @ S.T
    assert np.abs(inner - expected).max() <= 1e-9 * np.abs(expected).max()


def test_head_and_S_are_the_same_with_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit: blocks go by sizes alone."""
    X, y = blobs(150, 9, 4)
    found = influence_rows(fit_head(X, y, l2=L2), dtype=np.float64).dense()
    monkeypatch.setattr(threads, "allowed_cores", lambda: 1)
    again = influence_rows(fit_head(X, y, l2=L2), dtype=np.float64).dense()
    assert found is not None
    assert again is not None
    assert np.array_equal(found, again)


def test_the_rounding_bound_is_the_same_from_one_part_and_from_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is a sum over all examples."""
    X, y = blobs(100, 9, 4)
    own = objective(X, y)
    theta = own.to_scaled(some_theta(4, 10))
    found = own.evaluate(theta).gradient_error
    monkeypatch.setattr(examples, "FLOPS_PER_THREAD", 1e15)
    assert found == pytest.approx(own.evaluate(theta).gradient_error, rel=1e-12, abs=0)


def test_the_rounding_bound_holds_for_sums_in_parts() -> None:
    """The gradient is within the bound of one taken in extended precision."""
    X, y = blobs(500, 9, 4)
    own = objective(X, y)
    theta = some_theta(4, 10)
    found = own.evaluate(own.to_scaled(theta))
    wide: Any = np.column_stack([X, np.ones(len(X))]).astype(np.longdouble)
    logits = wide @ theta.astype(np.longdouble).T
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    exact = p.T @ wide / len(wide) + np.longdouble(L2) * theta
    error = np.linalg.norm(((found.gradient * own.scale).numpy() - exact).astype(np.float64))
    assert error <= found.gradient_error

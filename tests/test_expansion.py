"""Rows around a pruned set: exact there, in both metrics, by every inverse and storage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from head_oracle import AutogradHead, blobs

from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence import Head, fit_head, influence_rows
from subsetsel.influence.head import choose_inverse
from subsetsel.influence.head.choose_inverse import invert
from subsetsel.influence.head.expansion import Expansion
from subsetsel.influence.head.inverse import Metric
from subsetsel.influence.head.woodbury import WoodburyInverse

L2 = 1e-2
METRICS: tuple[Metric, ...] = ("parameter", "loss")


def expanded(head: Head, pruned: Any) -> Expansion:
    """Refit without the pruned examples and expand there."""
    kept = head.kept(~pruned)
    return Expansion.around(kept, pruned, kept.refit().theta)


def drawn(head: Head, share: float = 0.4, seed: int = 0) -> Any:
    """Draw a set of some examples."""
    return np.random.default_rng(seed).random(head.n) < share


def rows_of(head: Head, pruned: Any, metric: Metric, **more: Any) -> Any:
    """S around a pruned set, for subsets as large."""
    around = (expanded(head, pruned), int(pruned.sum()))
    return influence_rows(head, metric=metric, dtype=np.float64, around=around, **more)


def relative_error(found: Any, expected: Any) -> float:
    """Compare row spaces by their Gram matrices: no basis is assumed."""
    wanted = expected @ expected.T
    return float(np.abs(found @ found.T - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize("metric", METRICS)
def test_rows_are_those_of_automatic_differentiation(num_classes: int, metric: Metric) -> None:
    """H_K^-1 (g_i + constant) / n, for the loss times L^T of the Hessian on all examples."""
    X, y = blobs(num_classes=num_classes, seed=3)
    head = fit_head(X, y, l2=L2)
    pruned = drawn(head)
    theta = head.refit(~pruned).theta
    kept, whole = AutogradHead(X[~pruned], y[~pruned], L2), AutogradHead(X, y, L2)
    H = kept.hessian(theta)
    gradients = whole.gradients(theta) + L2 * theta.ravel()
    m, moved = int(pruned.sum()), (theta - head.theta).ravel()
    constant = ((head.n - m) * H @ moved - gradients[pruned].sum(axis=0)) / m
    expected = np.linalg.solve(H, (gradients + constant).T).T / head.n
    if metric == "loss":
        expected = expected @ np.linalg.cholesky(whole.hessian(head.theta))
    assert relative_error(rows_of(head, pruned, metric).dense(), expected) <= 1e-9


@pytest.mark.parametrize(
    "options", [{}, {"sample_weight": np.linspace(0.5, 2, 90)}, {"loss": "squared"}]
)
def test_around_a_set_its_own_rise_of_the_objective_is_exact_to_second_order(
    options: dict[str, Any],
) -> None:
    """Half the squared norm, scaled to the kept examples, is half of theta's change by H."""
    head = fit_head(*blobs(), l2=L2, **options)
    pruned = drawn(head)
    rows = rows_of(head, pruned, "loss")
    on = head.objective_function
    start = head.to_scaled(head.theta)
    moved = (on.basis.T @ (head.to_scaled(head.refit(~pruned).theta) - start)).reshape(-1, 1)
    expected = float((moved * on.multiply(start, moved)).sum())
    weights = np.ones(head.n) if on.weights is None else on.weights.numpy()
    scale = weights.sum() / weights[~pruned].sum()
    assert (scale * np.linalg.norm(rows.sum(pruned))) ** 2 == pytest.approx(expected, rel=1e-9)


def test_nearby_sets_raise_the_objective_as_predicted() -> None:
    """The refit raises it by what half the squared norm says, where Eq. 2 says a third less."""
    X, y = blobs(400, seed=1)
    head = fit_head(X, y, l2=1e-3)
    pruned = drawn(head, 0.6)
    rows = rows_of(head, pruned, "loss")
    near = pruned.copy()
    near[np.flatnonzero(pruned)[:5]], near[np.flatnonzero(~pruned)[:5]] = False, True
    rise = head.objective(head.refit(~near).theta) - head.objective(head.theta)
    scale = head.n / (~near).sum()
    predicted = 0.5 * (scale * np.linalg.norm(rows.sum(near))) ** 2
    first = 0.5 * (scale * np.linalg.norm(influence_rows(head, metric="loss").sum(near))) ** 2
    assert abs(predicted - rise) <= 0.5 * abs(first - rise)
    assert predicted == pytest.approx(rise, rel=0.1)


@pytest.mark.parametrize("metric", METRICS)
def test_factored_rows_are_the_dense_ones(metric: Metric) -> None:
    """Single rows, sums and products, without an n x d array."""
    head = fit_head(*blobs(), l2=L2)
    pruned = drawn(head)
    dense = rows_of(head, pruned, metric).dense()
    factored = rows_of(head, pruned, metric, storage="factored")
    rng = np.random.default_rng(0)
    direction, weights = rng.normal(size=dense.shape[1]), rng.normal(size=head.n)
    for found, expected in (
        (factored.take(np.array([3, 70])), dense[[3, 70]]),
        (factored.sum(weights), weights @ dense),
        (factored.dot(direction), dense @ direction),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


def test_rows_by_the_woodbury_identity_are_those_of_a_factor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its root R of H^-1 stands for L^-1: the lengths are the same."""
    X, y = blobs(80, 5, 40)
    head = fit_head(X, y, l2=L2)
    pruned = drawn(head)
    expected = rows_of(head, pruned, "loss").dense()
    monkeypatch.setattr(choose_inverse, "_SMALL", 1)
    other = fit_head(X, y, l2=L2)
    assert isinstance(other.inverse, WoodburyInverse)
    found = rows_of(other, pruned, "loss").dense()
    assert relative_error(found, expected) <= 1e-8


@pytest.mark.parametrize("small", [1, 10_000])
def test_a_root_keeps_lengths_by_the_hessian_and_has_a_transpose(
    monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    """||L^T x||^2 = x^T H x, and L is the transpose of L^T; by Woodbury and by a factor."""
    monkeypatch.setattr(choose_inverse, "_SMALL", small)
    head = fit_head(*blobs(80, 5, 40), l2=L2)
    inverse = invert(head.objective_function, head.to_scaled(head.theta))
    assert isinstance(inverse, WoodburyInverse) == (small == 1)
    torch.manual_seed(0)
    x, y = torch.randn(2, head.objective_function.d, 3, dtype=torch.float64)
    lengths = (x * inverse.multiply(x)).sum(dim=0)
    torch.testing.assert_close(inverse.root(x).square().sum(dim=0), lengths)
    torch.testing.assert_close(y.T @ inverse.root(x), inverse.root(y, transposed=True).T @ x)


def test_a_classwise_repeated_block_has_a_root() -> None:
    """Of the squared loss L is one block for all classes."""
    head = fit_head(*blobs(), l2=L2, loss="squared")
    x = torch.randn(head.objective_function.d, 2, dtype=torch.float64)
    lengths = (x * head.inverse.multiply(x)).sum(dim=0)
    torch.testing.assert_close(head.inverse.root(x).square().sum(dim=0), lengths)


def test_conjugate_gradients_have_no_factor_for_the_loss() -> None:
    """They say so, and what to do."""
    head = fit_head(*blobs(), l2=L2, inverse="cg")
    with pytest.raises(ProblemError, match="use metric='parameter', or inverse='cholesky'"):
        rows_of(head, drawn(head), "loss").sum(np.ones(head.n))


def test_without_the_ridge_nothing_is_expanded() -> None:
    """The gradients of Eq. 3 do not sum to zero over what is kept."""
    head = fit_head(*blobs(), l2=L2)
    pruned = drawn(head)
    with pytest.raises(OptionError, match="ridge='included'"):
        influence_rows(head, ridge="excluded", around=(expanded(head, pruned), 9))

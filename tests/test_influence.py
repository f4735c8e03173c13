"""S of a head: every row against automatic differentiation, whatever the storage and the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from head_oracle import AutogradHead, blobs

import subsetsel
from subsetsel.errors import FormulationWarning, OptionError, OutOfMemoryError, ProblemError
from subsetsel.influence import fit_head, influence_rows
from subsetsel.influence.device import BlockSizes
from subsetsel.problem.problem import Problem

L2 = 1e-2
X, Y = blobs()
UNITS = np.array([1.0, 1e4, 1.0, 1e-4])


def relative_error(rows: Any, expected: Any) -> float:
    """Compare row spaces by their Gram matrices: no basis is assumed."""
    wide = np.asarray(rows, dtype=np.float64)
    inner, wanted = wide @ wide.T, expected @ expected.T
    return float(np.abs(inner - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize("ridge", ["included", "excluded"])
@pytest.mark.parametrize("metric", ["parameter", "loss"])
def test_rows_are_those_of_automatic_differentiation(
    num_classes: int, ridge: Any, metric: Any
) -> None:
    """(1/n) H^-1 g_i and (1/n) L^-1 g_i in all C q parameters have the same inner products."""
    features, labels = blobs(num_classes=num_classes, seed=3)
    head = fit_head(features, labels, l2=L2)
    expected = AutogradHead(features, labels, L2).influence(head.theta, ridge=ridge, metric=metric)
    rows = influence_rows(head, ridge=ridge, metric=metric, dtype=np.float64)
    assert rows.shape == (len(features), (num_classes - 1) * 5)
    assert relative_error(rows.dense(), expected) <= 1e-9


def test_rows_in_float32_are_right_to_float32() -> None:
    """Solved for in float64 and rounded once."""
    head = fit_head(X, Y, l2=L2)
    rows = influence_rows(head, ridge="excluded")
    assert rows.dtype == np.float32
    expected = AutogradHead(X, Y, L2).influence(head.theta, ridge="excluded")
    assert relative_error(rows.dense(), expected) <= 1e-5


@pytest.mark.parametrize("ridge", ["included", "excluded"])
def test_rows_keep_the_users_units(ridge: Any) -> None:
    """With columns of very different size, norms are still those of the user's parameters."""
    head = fit_head(X * UNITS, Y, l2=L2)
    expected = AutogradHead(X * UNITS, Y, L2).influence(head.theta, ridge=ridge)
    rows = influence_rows(head, ridge=ridge, dtype=np.float64)
    assert relative_error(rows.dense(), expected) <= 1e-9


def test_rows_span_the_sum_zero_parameters() -> None:
    """Lifted by an orthonormal sum-zero basis, the rows are the full parameter changes."""
    head = fit_head(X, Y, l2=L2)
    expected = AutogradHead(X, Y, L2).influence(head.theta, ridge="included").reshape(-1, 3, 5)
    np.testing.assert_allclose(expected.sum(axis=1), 0, atol=1e-14)
    rows = influence_rows(head, dtype=np.float64).take(np.arange(90)).reshape(-1, 2, 5)
    basis = np.linalg.lstsq(rows[:, :, 0], expected[:, :, 0], rcond=None)[0]
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-10)
    np.testing.assert_allclose(np.einsum("iaj,ac->icj", rows, basis), expected, atol=1e-12)


def test_rows_with_the_ridge_sum_to_zero() -> None:
    """The gradient of the objective is zero at its minimum, so pruning everything has norm 0."""
    head = fit_head(X, Y, l2=L2)
    assert np.linalg.norm(influence_rows(head, dtype=np.float64).total) < 1e-12


def test_rows_without_the_ridge_sum_to_the_shrinkage() -> None:
    """S^T 1 = -l2 H^-1 theta for the letter of the paper."""
    head = fit_head(X, Y, l2=L2)
    H = AutogradHead(X, Y, L2).hessian(head.theta)
    expected = np.linalg.norm(L2 * np.linalg.solve(H, head.theta.ravel()))
    total = influence_rows(head, ridge="excluded", dtype=np.float64).total
    assert np.linalg.norm(total) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("length", [1, 7, 90, 1000])
def test_chunks_do_not_show(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the examples are cut, head and S are the same to rounding."""
    usual = influence_rows(fit_head(X, Y, l2=L2), dtype=np.float64).take(np.arange(90))
    small = BlockSizes(length, 64 * length, length, length, 80 * length, max_dense=1000)
    monkeypatch.setattr("subsetsel.influence.device.CPU", small)
    monkeypatch.setattr("subsetsel.influence.device.CUDA", small)
    chunked = influence_rows(fit_head(X, Y, l2=L2), dtype=np.float64).take(np.arange(90))
    assert np.abs(chunked - usual).max() <= 1e-11 * np.abs(usual).max()


def test_rows_predict_leaving_one_out() -> None:
    """A row times n / (n - 1) is the change of a refit without the example, to a few per cent."""
    features, labels = blobs(n=240, seed=4)
    head = fit_head(features, labels, l2=L2)
    norms = np.sqrt(influence_rows(head, dtype=np.float64).squared_norms[:40]) * 240 / 239
    changes = []
    for i in range(40):
        kept = np.arange(240) != i
        changes.append(np.linalg.norm(head.refit(kept).theta - head.theta))
    assert np.corrcoef(norms, changes)[0, 1] > 0.99
    assert np.polyfit(norms, changes, 1)[0] == pytest.approx(1, abs=0.1)


def test_rows_in_the_loss_metric_predict_the_rise_of_the_objective() -> None:
    """Half the square of the kept norm is the rise of the full objective, to second order."""
    features, labels = blobs(n=900, seed=7)
    head = fit_head(features, labels, l2=0.1)
    rows = influence_rows(head, metric="loss", dtype=np.float64)
    mask = np.arange(900) < 9
    predicted = 0.5 * (np.linalg.norm(rows.sum(mask)) * 900 / 891) ** 2
    rise = head.objective(head.refit(~mask).theta) - head.objective(head.theta)
    assert rise == pytest.approx(predicted, rel=0.1)


def test_digits_give_the_known_matrix() -> None:
    """1,797 x 585 with ||S^T 1|| = 4.8147: pixels / 16, l2 = 1e-3, ridge excluded."""
    datasets = pytest.importorskip("sklearn.datasets")
    pixels, labels = datasets.load_digits(return_X_y=True)
    head = fit_head(pixels / 16, labels, l2=1e-3)
    rows = influence_rows(head, ridge="excluded")
    assert rows.shape == (1797, 585)
    assert np.linalg.norm(rows.total) == pytest.approx(4.8147, abs=5e-5)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ridge", "yes"),
        ("metric", "accuracy"),
        ("storage", "disk"),
        ("dtype", np.float16),
        ("dtype", np.int64),
    ],
)
def test_unknown_settings_are_refused_by_name(setting: str, value: Any) -> None:
    """The message names the setting and its value."""
    head = fit_head(X, Y, l2=L2)
    settings: dict[str, Any] = {setting: value}
    with pytest.raises(OptionError, match=setting):
        influence_rows(head, **settings)


def test_a_problem_from_features_knows_its_head() -> None:
    """The problem's rows, goal and per-class constraints come from the head."""
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, rel_epsilon=0.01)
    assert problem.head is not None
    assert problem.epsilon == pytest.approx(0.01 * problem.head.theta_norm)
    assert problem.normalization == "kept"
    one_class_gone = Y == 1
    assert problem.violations(one_class_gone)


def test_the_papers_formulation_leaves_the_ridge_out() -> None:
    """formulation="paper" is ridge excluded and normalization full."""
    problem = subsetsel.Problem.from_features(X, Y, l2=L2, formulation="paper", epsilon=0.1)
    expected = influence_rows(fit_head(X, Y, l2=L2), ridge="excluded").dense()
    np.testing.assert_array_equal(problem.S, expected)
    assert problem.normalization == "full"


def test_a_mixed_formulation_warns() -> None:
    """Ridge included with normalization full is legal and rarely meant."""
    with pytest.warns(FormulationWarning, match="mixes"):
        subsetsel.Problem.from_features(X, Y, l2=L2, normalization="full", size=5)


def test_rel_epsilon_has_no_meaning_in_the_loss_metric() -> None:
    """A fraction of ||theta|| cannot limit a change of the objective."""
    with pytest.raises(ProblemError, match="rel_epsilon"):
        subsetsel.Problem.from_features(X, Y, l2=L2, metric="loss", rel_epsilon=0.1)


def test_a_hessian_that_does_not_fit_says_how_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory: the size, and the ways out."""
    head = fit_head(X, Y, l2=L2)

    def fail(*_: Any) -> torch.Tensor:
        raise RuntimeError("not enough memory: you tried to allocate")

    monkeypatch.setattr(torch.Tensor, "new_zeros", fail)
    with pytest.raises(ProblemError, match=r"GiB.*inverse='cg'.*number of features"):
        _ = head.inverse


def test_rows_that_do_not_fit_say_how_large_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory: the size of S, and the storage that needs none."""
    head = fit_head(X, Y, l2=L2)

    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("subsetsel.influence.head.rows.np.empty", fail)
    with pytest.raises(OutOfMemoryError, match=r"^out of memory: S of .*storage='factored'"):
        influence_rows(head, storage="dense")


def test_the_cost_is_known_before_anything_runs() -> None:
    """Problem.estimate takes what from_features takes, and counts features and classes."""
    estimate = Problem.estimate(X, Y, device="cpu")
    assert (estimate.n, estimate.d) == (len(X), (len(np.unique(Y)) - 1) * (X.shape[1] + 1))
    large = Problem.estimate(
        np.broadcast_to(0.0, (50_000, 512)), np.arange(50_000) % 100, device="cpu"
    )
    assert large.d == 50_787
    assert large.storage == "factored"
    assert "GiB" in str(large)

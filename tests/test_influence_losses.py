"""Weights, smoothing, squared loss and a free bias: against torch.func and exact identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import subsetsel
from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence import Head, fit_head, influence_rows

N, H, C, L2 = 90, 4, 3, 1e-2
X = np.random.default_rng(0).standard_normal((N, H)) * np.array([1.0, 10.0, 0.1, 3.0])
Y = np.random.default_rng(1).integers(0, C, N)
WEIGHTS = np.random.default_rng(2).random(N) + 0.2
KEPT = np.random.default_rng(3).random(N) < 0.5

SETTINGS: list[dict[str, Any]] = [
    {"loss": loss} | extra
    for loss in ("cross_entropy", "squared")
    for extra in (
        {},
        {"sample_weight": WEIGHTS},
        {"label_smoothing": 0.1},
        {"penalize_bias": False},
    )
]
NAMES = [" ".join([str(s["loss"]), *[key for key in s if key != "loss"]]) for s in SETTINGS]
every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=NAMES)


def hessian_of(function: Any) -> Any:
    """Second derivative by reverse mode twice: forward mode warns of torch's own deprecations."""
    return torch.func.jacrev(torch.func.jacrev(function))


class Reference:
    """The objective written out for torch.func, in the user's C (h + 1) parameters."""

    def __init__(self, setting: dict[str, Any]) -> None:
        self.loss = setting["loss"]
        smoothing = setting.get("label_smoothing", 0.0)
        onehot = torch.nn.functional.one_hot(torch.as_tensor(Y), C).double()
        self.targets = (1 - smoothing) * onehot + smoothing / C
        self.w = torch.as_tensor(setting.get("sample_weight", np.ones(N)))
        self.X = torch.as_tensor(np.column_stack([X, np.ones(N)]))
        self.penalized = torch.ones(C, H + 1, dtype=torch.float64)
        self.penalized[:, -1] = float(setting.get("penalize_bias", True))

    def one(self, theta: torch.Tensor, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of one example."""
        logits = theta @ x
        if self.loss == "squared":
            return 0.5 * (logits - target).square().sum()
        return torch.logsumexp(logits, 0) - target @ logits

    def mean(self, theta: torch.Tensor, kept: Any = slice(None)) -> torch.Tensor:
        """The whole objective on some examples."""
        losses = torch.func.vmap(self.one, (None, 0, 0))(theta, self.X[kept], self.targets[kept])
        value: torch.Tensor = (self.w[kept] * losses).sum() / self.w[kept].sum()
        return value + 0.5 * L2 * (self.penalized * theta.square()).sum()

    def rows(self, theta: torch.Tensor) -> NDArray[np.float64]:
        """S with the ridge included, by automatic derivatives and a pseudo-inverse."""
        each = torch.func.vmap(torch.func.grad(self.one), (None, 0, 0))
        gradients = each(theta, self.X, self.targets) + L2 * self.penalized * theta
        hessian = hessian_of(self.mean)(theta).reshape(C * (H + 1), -1)
        solved = torch.linalg.pinv(hessian, rcond=1e-13) @ gradients.reshape(N, -1).T
        out: NDArray[np.float64] = (solved * (self.w / self.w.sum())).T.numpy()
        return out


def fit(setting: dict[str, Any], **more: Any) -> Head:
    """Fit the head of one setting."""
    return fit_head(X, Y, l2=L2, **setting, **more)


@every_setting
def test_gradient_vanishes(setting: dict[str, Any]) -> None:
    """The fit is at the minimum of the objective as torch.func writes it."""
    theta = torch.as_tensor(fit(setting).theta.copy())
    assert float(torch.func.grad(Reference(setting).mean)(theta).norm()) <= 1e-10


@every_setting
@pytest.mark.parametrize("inverse", ["cholesky", "cg"])
def test_rows_are_exact(setting: dict[str, Any], inverse: str) -> None:
    """All inner products of rows of S are those of H^-1 g by automatic derivatives."""
    head = fit(setting, inverse=inverse)
    expected = Reference(setting).rows(torch.as_tensor(head.theta.copy()))
    rows = influence_rows(head, dtype=np.float64, storage="dense").dense()
    assert rows is not None
    scale = np.square(expected).sum(axis=1).max()
    np.testing.assert_allclose(rows @ rows.T, expected @ expected.T, atol=1e-8 * scale)


@every_setting
def test_factored_rows_agree(setting: dict[str, Any]) -> None:
    """Weights and all, factored rows are the dense ones."""
    head = fit(setting)
    dense = influence_rows(head, dtype=np.float64, storage="dense")
    factored = influence_rows(head, dtype=np.float64, storage="factored")
    u = np.random.default_rng(4).standard_normal(dense.d)
    np.testing.assert_allclose(factored.sum(KEPT), dense.sum(KEPT), atol=1e-12)
    np.testing.assert_allclose(factored.dot(u), dense.dot(u), atol=1e-12)


@every_setting
def test_rows_sum_to_zero(setting: dict[str, Any]) -> None:
    """With the ridge included the rows balance at the minimum."""
    rows = influence_rows(fit(setting), dtype=np.float64)
    assert np.linalg.norm(rows.total) <= 1e-8


@every_setting
def test_refit_stays_in_its_error_bar(setting: dict[str, Any]) -> None:
    """The refit is within its stated error of a minimizer found independently."""
    head = fit(setting)
    refit = head.refit(KEPT)
    reference = Reference(setting)
    theta = torch.as_tensor(refit.theta.copy())
    kept = torch.as_tensor(KEPT)
    gradient = torch.func.grad(lambda t: reference.mean(t, kept))(theta)
    hessian = hessian_of(lambda t: reference.mean(t, kept))(theta)
    step = torch.linalg.pinv(hessian.reshape(gradient.numel(), -1), rcond=1e-13) @ gradient.ravel()
    assert float(step.norm()) <= refit.error < 1e-6
    assert 0 < head.error < 1e-6


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s["loss"] == "squared"])
def test_newton_is_the_refit_for_squared_loss(setting: dict[str, Any]) -> None:
    """One Newton step with the kept Hessian is exact for any subset."""
    head = fit(setting)
    for seed in range(5):
        kept = np.random.default_rng(seed).random(N) < 0.3
        change = head.refit(kept).theta - head.theta
        np.testing.assert_allclose(head.kept(kept).newton_step(), change, atol=1e-10)


def test_whole_weights_are_copies() -> None:
    """A weight of two is the example given twice."""
    twice = np.ones(N)
    twice[:10] = 2.0
    weighted = fit_head(X, Y, l2=L2, sample_weight=twice)
    copied = fit_head(np.concatenate([X, X[:10]]), np.concatenate([Y, Y[:10]]), l2=L2)
    np.testing.assert_allclose(weighted.theta, copied.theta, atol=1e-9)


def test_weighted_prediction_uses_weights() -> None:
    """predicted_kept divides by the kept share of the weight, not of the count."""
    head = fit({"loss": "squared", "sample_weight": WEIGHTS * np.where(KEPT, 1.0, 9.0)})
    problem = subsetsel.Problem.from_head(head, size=int((~KEPT).sum()))
    check = subsetsel.verify(problem, ~KEPT)
    weights = WEIGHTS * np.where(KEPT, 1.0, 9.0)
    share = weights.sum() / weights[KEPT].sum()
    assert check.predicted_kept == pytest.approx(check.predicted_full * share)


def test_ridge_regression_is_the_normal_equations() -> None:
    """The squared loss is solved in closed form."""
    head = fit({"loss": "squared"})
    A = np.column_stack([X, np.ones(N)])
    onehot = np.eye(C)[Y]
    theta = np.linalg.solve(A.T @ A / N + L2 * np.eye(H + 1), A.T @ onehot / N).T
    np.testing.assert_allclose(head.theta, theta, atol=1e-10)


def test_squared_loss_on_other_examples() -> None:
    """Half the mean squared distance to the one-hot labels, without the ridge."""
    head = fit({"loss": "squared"})
    outputs = X[:20] @ head.theta[:, :-1].T + head.theta[:, -1]
    expected = 0.5 * np.square(outputs - np.eye(C)[Y[:20]]).sum(axis=1).mean()
    assert head.loss(head.theta, X[:20], Y[:20]) == pytest.approx(expected, rel=1e-12)


def test_free_bias_fits_the_class_shares() -> None:
    """Without ridge on the bias the mean probability of each class is its share."""
    head = fit({"loss": "cross_entropy", "penalize_bias": False})
    logits = X @ head.theta[:, :-1].T + head.theta[:, -1]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(Y) / N, atol=1e-10)


def test_free_bias_in_ten_orders_of_size() -> None:
    """A huge column neither spoils the fit nor the error bar's promise to be finite."""
    head = fit_head(X * np.array([1, 1, 1, 1e6]), Y, l2=L2, penalize_bias=False)
    assert head.gradient_norm <= max(1e-10, head.gradient_error)
    assert head.error > 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"sample_weight": np.ones(3)}, "one number per example"),
        ({"sample_weight": np.zeros(N)}, "positive"),
        ({"sample_weight": np.full(N, np.nan)}, "positive"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
    ],
)
def test_bad_settings(options: dict[str, Any], word: str) -> None:
    """Each bad setting is named."""
    with pytest.raises(ProblemError, match=word):
        fit_head(X, Y, l2=L2, **options)


@pytest.mark.parametrize("options", [{"loss": "hinge"}, {"inverse": "lu"}])
def test_unknown_settings(options: dict[str, Any]) -> None:
    """What does not exist is an option error."""
    with pytest.raises(OptionError):
        fit_head(X, Y, l2=L2, **options)

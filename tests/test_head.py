"""The softmax head: the minimum it reaches, what it accepts, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from head_oracle import AutogradHead, add_bias, blobs, exact_minimizer
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence import fit_head

L2 = 1e-2
X, Y = blobs()


def test_the_head_is_the_minimum_by_automatic_differentiation() -> None:
    """torch.func finds no gradient at the head, ridge and bias included."""
    head = fit_head(X, Y, l2=L2)
    oracle = AutogradHead(X, Y, L2)
    gradient = torch.func.grad(oracle.objective)(torch.tensor(head.theta))
    assert float(gradient.norm()) < 1e-12
    assert head.gradient_norm <= 1e-10
    assert head.objective(head.theta) == pytest.approx(
        float(oracle.objective(torch.tensor(head.theta))), rel=1e-12
    )


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_the_head_equals_the_one_of_scikit_learn(num_classes: int) -> None:
    """The same parameters as LogisticRegression without intercept on [X, 1], C = 1 / (n l2)."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, labels = blobs(num_classes=num_classes, seed=1)
    head = fit_head(features, labels, l2=L2)
    model = linear_model.LogisticRegression(
        C=1 / (len(labels) * L2), fit_intercept=False, tol=1e-12, max_iter=10_000
    )
    if num_classes == 2:
        # One logit there stands for the difference of two here, which halves its penalty.
        model.C = 2 / (len(labels) * L2)
    coefficients = model.fit(add_bias(features), labels).coef_
    mine = head.theta if num_classes > 2 else head.theta[1:] - head.theta[:1]
    np.testing.assert_allclose(mine, coefficients, atol=2e-6)


def test_parameters_sum_to_zero_over_the_classes() -> None:
    """Softmax does not see the class mean, and the ridge makes it zero."""
    np.testing.assert_allclose(fit_head(X, Y, l2=L2).theta.sum(axis=0), 0, atol=1e-14)


def test_a_warm_start_leads_to_the_same_head() -> None:
    """Where the search starts does not show in the result."""
    cold = fit_head(X, Y, l2=L2)
    start = np.random.default_rng(0).normal(size=cold.theta.shape)
    np.testing.assert_allclose(fit_head(X, Y, l2=L2, theta=start).theta, cold.theta, atol=1e-11)


def test_a_huge_column_is_a_change_of_unit() -> None:
    """A column of size 1e6 gives the head that the objective in that unit defines."""
    units = np.array([1.0, 1e6, 1.0, 1e-6])
    head = fit_head(X * units, Y, l2=L2)
    exact, _ = exact_minimizer(X * units, Y, L2, 3, head.theta)
    distance = float(np.linalg.norm((exact - head.theta).astype(np.float64)))
    assert distance < 1e-10
    assert distance <= (head.gradient_norm + head.gradient_error) / L2


def test_nearly_separable_data_are_fitted_to_rounding() -> None:
    """With l2 = 1e-6 and a separating column the Newton steps still arrive."""
    labels = (X[:, 0] > 0).astype(np.int64)
    head = fit_head(X, labels, l2=1e-6)
    assert head.gradient_norm <= 1e-10
    assert head.accuracy(head.theta, X, labels) == 1.0


def test_string_labels_are_encoded_in_sorted_order() -> None:
    """Texts give the same head as their codes, and the head remembers them."""
    names = np.array(["ant", "bee", "cat"])
    head = fit_head(X, names[Y], l2=L2)
    assert head.classes.tolist() == ["ant", "bee", "cat"]
    np.testing.assert_array_equal(head.labels, Y)
    np.testing.assert_array_equal(head.theta, fit_head(X, Y, l2=L2).theta)
    assert head.accuracy(head.theta, X, names[Y].astype(object)) == head.accuracy(
        head.theta, X, names[Y].tolist()
    )


def test_integer_labels_with_gaps_are_encoded() -> None:
    """Without num_classes the labels that occur are the classes."""
    head = fit_head(X, 10 * Y + 7, l2=L2)
    assert head.classes.tolist() == [7, 17, 27]
    np.testing.assert_array_equal(head.labels, Y)


def test_num_classes_makes_room_for_a_class_without_examples() -> None:
    """An absent class gets a row of its own, and never the largest logit."""
    head = fit_head(X, Y, l2=L2, num_classes=4)
    assert head.theta.shape == (4, 5)
    assert head.gradient_norm <= 1e-10
    logits = add_bias(X) @ head.theta.T
    assert (logits.argmax(axis=1) != 3).all()


@pytest.mark.parametrize(
    "convert",
    [
        lambda A: torch.from_numpy(A),
        lambda A: A.tolist(),
        np.asfortranarray,
        lambda A: np.repeat(A, 2, axis=0)[::2],
    ],
    ids=["tensor", "list", "fortran", "strided"],
)
def test_features_of_any_kind_give_the_same_head(convert: Any) -> None:
    """Tensors, lists and arrays of any strides are read alike."""
    np.testing.assert_array_equal(fit_head(convert(X), Y, l2=L2).theta, fit_head(X, Y, l2=L2).theta)


def test_half_precision_features_are_widened() -> None:
    """bfloat16 features, which NumPy does not know, give the head of their values."""
    rounded = torch.from_numpy(X).to(torch.bfloat16)
    expected = fit_head(rounded.double().numpy(), Y, l2=L2)
    np.testing.assert_array_equal(fit_head(rounded, Y, l2=L2).theta, expected.theta)


def test_features_are_left_as_they_were() -> None:
    """Scaling happens on a copy."""
    before = X.copy()
    fit_head(X, Y, l2=L2)
    np.testing.assert_array_equal(X, before)


_NAN = np.where(np.arange(90)[:, None] == 17, np.nan, X)
_INF = np.where(np.isin(np.arange(90), [3, 40])[:, None], np.inf, X)


@pytest.mark.parametrize(
    ("features", "labels", "words"),
    [
        (_NAN, Y, ["X must be finite", "17", "examples"]),
        (_INF, Y, ["X must be finite", "3", "40"]),
        (X[:, 0], Y, ["X must have two dimensions", "(90,)", "reshape"]),
        (np.ones((3, 2, 2)), Y[:3], ["two dimensions", "(3, 2, 2)"]),
        (np.empty((0, 4)), Y[:0], ["X is empty", "(0, 4)"]),
        (np.empty((90, 0)), Y, ["X is empty", "(90, 0)"]),
        (np.full((90, 2), "a"), Y, ["X must hold real numbers", "<U1"]),
        (X.astype(complex), Y, ["X must hold real numbers", "complex128"]),
        ([[1.0, 2.0], [3.0]], Y[:2], ["X is not"]),
        (X * 1e200, Y, ["X holds values of size", "scale"]),
        (X, Y[:-1], ["90", "89"]),
        (X, np.eye(3)[Y], ["y must have one", "argmax"]),
        (X, Y + 0.5, ["y must hold", "integers"]),
        (X, np.where(Y == 0, -1, Y), ["negative", "y[0] is -1"]),
        (X, [None, *Y[1:]], ["y[0] is None"]),
        (X, np.zeros(90, dtype=int), ["one class only"]),
        (X, ["cat"] * 90, ["one class only", "cat"]),
    ],
)
def test_bad_data_are_refused_by_name(features: Any, labels: Any, words: list[str]) -> None:
    """Each mistake in X or y has its own message, which says what was wrong with what."""
    with pytest.raises(ProblemError) as caught:
        fit_head(features, labels, l2=L2)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("l2", [0, 0.0, -1e-3, np.nan, np.inf, "much", None])
def test_l2_must_be_positive_and_finite(l2: Any) -> None:
    """Without weight decay nothing can be certified, so it is refused."""
    with pytest.raises(ProblemError, match="l2 must be"):
        fit_head(X, Y, l2=l2)


@pytest.mark.parametrize(
    ("labels", "num_classes", "words"),
    [
        (Y + 1, 3, ["0 to", "y[2] is 3"]),
        (Y, 2, ["0 to", "y[2] is 2"]),
        (Y, 1, ["num_classes", "at least 2", "1"]),
        (np.array(["a", "b", "c"])[Y], 5, ["num_classes"]),
    ],
)
def test_labels_must_fit_num_classes(labels: Any, num_classes: int, words: list[str]) -> None:
    """With num_classes given, labels are the codes 0 to num_classes - 1."""
    with pytest.raises(ProblemError) as caught:
        fit_head(X, labels, l2=L2, num_classes=num_classes)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("theta", "word"), [(np.zeros((3, 4)), r"\(3, 5\)"), (np.full((3, 5), np.nan), "finite")]
)
def test_a_bad_start_is_refused(theta: Any, word: str) -> None:
    """A start of another shape, or with NaN, is no start."""
    with pytest.raises(ProblemError, match=word):
        fit_head(X, Y, l2=L2, theta=theta)


@pytest.mark.parametrize("device", ["mps", "abacus"])
def test_a_device_without_float64_is_refused(device: str) -> None:
    """The algebra needs float64, so only the CPU and CUDA do."""
    with pytest.raises((OptionError, ProblemError), match=device):
        fit_head(X, Y, l2=L2, device=device)


def test_columns_that_l2_cannot_tell_apart_are_refused() -> None:
    """Two equal columns of size 1e9 leave a Hessian that float64 cannot factor: say so."""
    twice = np.column_stack([X, 1e9 * X[:, :1], 1e9 * X[:, :1]])
    with pytest.raises(ProblemError, match=r"singular in float64.*[Ss]cale"):
        fit_head(twice, Y, l2=1e-9)


def test_equal_columns_share_their_weight() -> None:
    """A copied column of ordinary size is harmless: the ridge splits the weight evenly."""
    theta = fit_head(np.column_stack([X, X[:, 0]]), Y, l2=L2).theta
    np.testing.assert_allclose(theta[:, 0], theta[:, 4], atol=1e-12)


def test_a_refit_is_the_head_of_the_kept_examples() -> None:
    """Warm Newton steps end where training from scratch on the kept examples ends."""
    head = fit_head(X, Y, l2=L2)
    kept = np.random.default_rng(2).random(len(X)) < 0.5
    refit = head.refit(kept)
    np.testing.assert_allclose(refit.theta, fit_head(X[kept], Y[kept], l2=L2).theta, atol=1e-11)
    assert refit.gradient_norm <= refit.gradient_error < 1e-12


def test_a_refit_from_elsewhere_ends_at_the_same_place() -> None:
    """The start changes the number of steps, not the result."""
    head = fit_head(X, Y, l2=L2)
    kept = np.arange(len(X)) % 3 > 0
    elsewhere = head.refit(kept, theta=np.zeros_like(head.theta))
    np.testing.assert_allclose(elsewhere.theta, head.refit(kept).theta, atol=1e-11)


def test_a_refit_copes_with_a_single_example() -> None:
    """One kept example is enough of a problem, far from the full head as it is."""
    kept = np.arange(len(X)) == 5
    refit = fit_head(X, Y, l2=L2).refit(kept)
    assert refit.gradient_norm <= refit.gradient_error


def test_the_newton_step_is_that_of_automatic_differentiation() -> None:
    """-H_K^-1 grad F_K at the full head, against torch.func on the kept examples."""
    head = fit_head(X, Y, l2=L2)
    kept = np.arange(len(X)) % 4 > 1
    oracle = AutogradHead(X[kept], Y[kept], L2)
    gradient = torch.func.grad(oracle.objective)(torch.tensor(head.theta)).numpy().ravel()
    step = -np.linalg.solve(oracle.hessian(head.theta), gradient)
    error = np.linalg.norm(head.kept(kept).newton_step().ravel() - step)
    assert error <= 1e-9 * np.linalg.norm(step)


def test_curvature_is_the_smallest_generalized_eigenvalue() -> None:
    """lambda_min(L^-1 H_K L^-T) against a dense eigensolver on torch.func's Hessians."""
    linalg = pytest.importorskip("scipy.linalg")
    head = fit_head(X, Y, l2=L2)
    kept = np.random.default_rng(3).random(len(X)) < 0.2
    full = AutogradHead(X, Y, L2).hessian(head.theta)
    part = AutogradHead(X[kept], Y[kept], L2).hessian(head.theta)
    assert head.kept(kept).curvature() == pytest.approx(linalg.eigh(part, full)[0].min(), rel=1e-8)


def test_loss_and_accuracy_on_other_examples() -> None:
    """Mean cross-entropy without the ridge, and the share of largest logits that are right."""
    head = fit_head(X, Y, l2=L2)
    other, labels = blobs(seed=5)
    logits = torch.from_numpy(add_bias(other) @ head.theta.T)
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    assert head.loss(head.theta, other, labels) == pytest.approx(float(expected), rel=1e-12)
    right = (logits.argmax(dim=1).numpy() == labels).mean()
    assert head.accuracy(head.theta, other, labels) == right


@pytest.mark.parametrize(
    ("features", "labels", "word"),
    [
        (X[:, :2], Y, "2 features"),
        (X, Y + 5, "is"),
        (X, np.array(["a", "b", "c"])[Y], "y"),
        (X[:5], Y[:4], "5"),
    ],
)
def test_other_examples_must_fit_the_head(features: Any, labels: Any, word: str) -> None:
    """Another width, an unknown class, labels of another kind, or too few of them."""
    head = fit_head(X, Y, l2=L2)
    with pytest.raises(ProblemError, match=word):
        head.encode(features, labels)


@pytest.mark.parametrize("mask", [np.zeros(90, dtype=np.bool_), np.ones(89, dtype=np.bool_), Y])
def test_a_kept_mask_must_be_one(mask: Any) -> None:
    """Nothing kept, another length, or integers instead of Booleans."""
    with pytest.raises(ProblemError, match="kept_mask"):
        fit_head(X, Y, l2=L2).refit(mask)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 40),
    scale=st.sampled_from([1e-3, 1.0, 30.0, 1e6]),
    l2=st.sampled_from([1e-6, 1e-3, 1.0]),
)
def test_the_rounding_bound_of_the_gradient_holds(
    seed: int, n: int, scale: float, l2: float
) -> None:
    """The gradient in extended precision is within gradient_error of the computed one."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3)) * np.array([1.0, scale, 1.0])
    labels = np.arange(n) % 3
    head = fit_head(features, labels, l2=l2)
    wide: Any = add_bias(features).astype(np.longdouble)
    theta: Any = head.theta.astype(np.longdouble)
    logits = wide @ theta.T
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(n), labels] -= 1
    exact = float(np.linalg.norm((p.T @ wide / n + np.longdouble(l2) * theta).astype(np.float64)))
    assert abs(exact - head.gradient_norm) <= head.gradient_error

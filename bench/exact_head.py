"""A softmax head minimized in extended precision, by code that shares nothing with the package."""

from __future__ import annotations

from typing import Any

import numpy as np

_MAX_STEPS = 60


class ExactHead:
    """Mean cross-entropy of [X, 1] theta^T plus l2 / 2 ||theta||^2, as one would write it down."""

    def __init__(self, X: Any, y: Any, l2: float, num_classes: int) -> None:
        self.X: Any = np.column_stack([X, np.ones(len(X))]).astype(np.longdouble)
        self.targets: Any = np.eye(num_classes, dtype=np.longdouble)[y]
        self.l2 = np.longdouble(l2)

    def probabilities(self, theta: Any) -> Any:
        """Softmax of the logits, shape (n, C)."""
        logits = self.X @ theta.T
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def gradient(self, theta: Any) -> Any:
        """Gradient of the objective in extended precision, shape (C, q)."""
        residuals = self.probabilities(theta) - self.targets
        return residuals.T @ self.X / len(self.X) + self.l2 * theta

    def newton_step(self, theta: Any, gradient: Any) -> Any:
        """Solve with the Hessian in float64, which is enough for a direction."""
        p, X = self.probabilities(theta).astype(np.float64), self.X.astype(np.float64)
        weights = np.eye(p.shape[1])[None] * p[:, :, None] - p[:, :, None] * p[:, None, :]
        H = np.einsum("ica,iq,ir->cqar", weights, X, X, optimize=True) / len(X)
        H = H.reshape(theta.size, theta.size) + float(self.l2) * np.eye(theta.size)
        step = np.linalg.solve(H, gradient.astype(np.float64).ravel())
        return step.reshape(theta.shape)


def exact_minimizer(X: Any, y: Any, l2: float, num_classes: int, start: Any) -> tuple[Any, float]:
    """Minimize from a start by Newton steps, until the gradient falls no further.

    Returns
    -------
    theta : ndarray of shape (C, q), longdouble
    error : float
        The exact minimizer is within this distance of ``theta`` (strong convexity), rounding apart.
    """
    head = ExactHead(X, y, l2, num_classes)
    theta: Any = np.asarray(start, dtype=np.longdouble)
    gradient = head.gradient(theta)
    for _ in range(_MAX_STEPS):
        moved = theta - head.newton_step(theta, gradient)
        gradient_there = head.gradient(moved)
        if not _length(gradient_there) < _length(gradient):
            break
        theta, gradient = moved, gradient_there
    return theta, _length(gradient) / l2


def _length(gradient: Any) -> float:
    return float(np.linalg.norm(gradient.astype(np.float64)))

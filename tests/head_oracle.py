"""Independent references for the softmax head: automatic differentiation, and extended precision.

Nothing here knows of sum-zero bases, scaled columns or chunks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def blobs(
    n: int = 90, num_features: int = 4, num_classes: int = 3, *, seed: int = 0
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Overlapping Gaussian classes; every class occurs."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % num_classes
    centres = rng.normal(size=(num_classes, num_features))
    return centres[y] + rng.normal(size=(n, num_features)), y


def add_bias(X: FloatArray) -> FloatArray:
    """[X, 1]."""
    return np.column_stack([X, np.ones(len(X))])


class AutogradHead:
    """The objective as one would write it down, differentiated by torch.func in float64."""

    def __init__(self, X: FloatArray, y: NDArray[np.int64], l2: float) -> None:
        self.X = torch.from_numpy(add_bias(X))
        self.y = torch.from_numpy(np.asarray(y))
        self.l2 = l2

    def loss_of_one(self, theta: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of one example."""
        return -torch.log_softmax(theta @ x, dim=0).gather(0, y[None])[0]

    def objective(self, theta: torch.Tensor) -> torch.Tensor:
        """Mean loss plus the ridge."""
        losses = torch.vmap(self.loss_of_one, (None, 0, 0))(theta, self.X, self.y)
        return losses.mean() + 0.5 * self.l2 * theta.square().sum()

    def gradients(self, theta: FloatArray) -> FloatArray:
        """Loss gradient of each example, shape (n, C q)."""
        of_one = torch.func.grad(self.loss_of_one)
        rows = torch.vmap(of_one, (None, 0, 0))(torch.tensor(theta), self.X, self.y)
        out: FloatArray = rows.reshape(len(self.X), -1).numpy()
        return out

    def hessian(self, theta: FloatArray) -> FloatArray:
        """Second derivatives of the objective, shape (C q, C q)."""
        size = theta.size
        matrix = torch.func.jacrev(torch.func.grad(self.objective))(torch.tensor(theta))
        out: FloatArray = matrix.reshape(size, size).numpy()
        return out

    def influence(self, theta: FloatArray, *, ridge: str, metric: str = "parameter") -> FloatArray:
        """S in the full C q parameters, shape (n, C q)."""
        gradients = self.gradients(theta)
        if ridge == "included":
            gradients = gradients + self.l2 * theta.ravel()
        H = self.hessian(theta)
        if metric == "loss":
            return np.linalg.solve(np.linalg.cholesky(H), gradients.T).T / len(gradients)
        return np.linalg.solve(H, gradients.T).T / len(gradients)


def exact_minimizer(
    X: FloatArray, y: NDArray[np.int64], l2: float, num_classes: int, start: FloatArray
) -> tuple[NDArray[np.longdouble], float]:
    """Minimize in extended precision: longdouble gradients, float64 Hessians.

    Returns
    -------
    theta : ndarray of shape (C, q), longdouble
    error : float
        The exact minimizer is within this of ``theta`` (strong convexity), rounding apart.
    """
    wide: Any = add_bias(X).astype(np.longdouble)
    hot: Any = np.eye(num_classes, dtype=np.longdouble)[y]
    theta: Any = np.asarray(start, dtype=np.longdouble)

    def gradient(at: Any) -> Any:
        logits = wide @ at.T
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return (p - hot).T @ wide / len(wide) + np.longdouble(l2) * at

    head = AutogradHead(X, y, l2)
    g = gradient(theta)
    for _ in range(60):
        H = head.hessian(theta.astype(np.float64))
        step = np.linalg.solve(H, g.astype(np.float64).ravel()).reshape(theta.shape)
        moved = theta - step
        g_moved = gradient(moved)
        if not np.linalg.norm(g_moved.astype(np.float64)) < np.linalg.norm(g.astype(np.float64)):
            break
        theta, g = moved, g_moved
    return theta, float(np.linalg.norm(g.astype(np.float64))) / l2

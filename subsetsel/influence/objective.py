"""The objective of a softmax head: value, gradient, Hessian, and what rounding does to them.

Inside, columns are divided by powers of two that equilibrate the Hessian. That is exact in binary,
the ridge stays on the user's parameters, and a column of size 1e6 does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from subsetsel.errors import ProblemError

# Longest sum inside one matrix product: it enters the rounding bound of the gradient.
CHUNK_ROWS = 1024
CHUNK_ROWS_CUDA = 16_384
# The weighted copies of the features that the Hessian needs at a time stay below this.
CHUNK_BYTES = 64 * 2**20

_UNIT = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True)
class Evaluation:
    """The objective at one theta.

    Attributes
    ----------
    value : float
        Mean loss plus (l2 / 2) ||theta||^2.
    gradient : Tensor of shape (C, q)
        With respect to the scaled parameters.
    gradient_norm : float
        Euclidean norm with respect to the user's parameters.
    gradient_error : float
        No less than the distance of that gradient from the exact one.
    """

    value: float
    gradient: Tensor
    gradient_norm: float
    gradient_error: float


class SoftmaxObjective:
    """F(theta) = mean_i -log softmax(theta x_i)_{y_i} + (l2 / 2) ||theta||^2.

    Parameters
    ----------
    X : Tensor of shape (n, q), float64
        Features with the bias column, divided by ``scale``.
    labels : Tensor of shape (n,), int64
    scale : Tensor of shape (q,)
        Powers of two: scaled parameters are the user's times ``scale``.
    l2 : float
    num_classes : int
    """

    def __init__(
        self, X: Tensor, labels: Tensor, scale: Tensor, *, l2: float, num_classes: int
    ) -> None:
        self.X, self.labels, self.scale = X, labels, scale
        self.l2, self.num_classes = l2, num_classes
        self.n, self.q = X.shape
        self.ridge = l2 / scale**2
        self.basis = sum_zero_basis(num_classes).to(X.device)

    @classmethod
    def from_arrays(
        cls,
        features: np.ndarray,
        labels: np.ndarray,
        *,
        l2: float,
        num_classes: int,
        device: torch.device,
    ) -> Self:
        """Append the bias, choose the scale, move to the device.

        Returns
        -------
        SoftmaxObjective
        """
        n, h = features.shape
        X = torch.empty((n, h + 1), dtype=torch.float64, device=device)
        X[:, :h] = torch.as_tensor(features, device=device)
        X[:, h] = 1.0
        size = (X.square().sum(dim=0) / n + l2).sqrt()
        scale = torch.exp2(size.log2().round())
        X /= scale
        codes = torch.as_tensor(labels, device=device)
        return cls(X, codes, scale, l2=l2, num_classes=num_classes)

    def restrict(self, mask: np.ndarray) -> Self:
        """Take the mean over chosen examples only.

        Parameters
        ----------
        mask : ndarray of shape (n,), bool
            True means used.

        Returns
        -------
        SoftmaxObjective
        """
        chosen = torch.as_tensor(np.flatnonzero(mask), device=self.X.device)
        return type(self)(
            self.X[chosen],
            self.labels[chosen],
            self.scale,
            l2=self.l2,
            num_classes=self.num_classes,
        )

    @property
    def d(self) -> int:
        """Number of parameters in the sum-zero basis, (C - 1) q."""
        return (self.num_classes - 1) * self.q

    def chunks(self, length: int | None = None) -> Iterator[slice]:
        """Cut the examples into ranges.

        Yields
        ------
        slice
        """
        length = length or self._chunk_rows
        for start in range(0, self.n, length):
            yield slice(start, min(start + length, self.n))

    @property
    def _chunk_rows(self) -> int:
        return CHUNK_ROWS_CUDA if self.X.device.type == "cuda" else CHUNK_ROWS

    def probabilities(self, theta: Tensor, rows: slice) -> Tensor:
        """Softmax of the logits of a range of examples.

        Returns
        -------
        Tensor of shape (rows, C)
        """
        return torch.softmax(self.X[rows] @ theta.T, dim=1)

    def residuals(self, theta: Tensor, rows: slice) -> Tensor:
        """p_i - e_{y_i} for a range of examples.

        Returns
        -------
        Tensor of shape (rows, C)
        """
        residuals = self.probabilities(theta, rows)
        residuals.scatter_add_(
            1,
            self.labels[rows, None],
            torch.full((len(residuals), 1), -1.0, dtype=residuals.dtype, device=self.X.device),
        )
        return residuals

    def value_and_gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        """F and its gradient with respect to the scaled parameters.

        Parameters
        ----------
        theta : Tensor of shape (C, q)
            Scaled parameters.

        Returns
        -------
        value : float
        gradient : Tensor of shape (C, q)
        """
        loss = torch.zeros((), dtype=torch.float64, device=theta.device)
        total = torch.zeros_like(theta)
        for rows in self.chunks():
            log_p = torch.log_softmax(self.X[rows] @ theta.T, dim=1)
            label = self.labels[rows, None]
            loss -= log_p.gather(1, label).sum()
            residuals = log_p.exp_()
            residuals.scatter_add_(1, label, residuals.new_full((len(residuals), 1), -1.0))
            total.addmm_(residuals.T, self.X[rows])
        value = loss / self.n + 0.5 * (self.ridge * theta.square()).sum()
        return float(value), total.div_(self.n).add_(self.ridge * theta)

    def evaluate(self, theta: Tensor) -> Evaluation:
        """F, its gradient, and a bound on the gradient's rounding error.

        Every sum of m products is off by at most m u / (1 - m u) times the sum of their absolute
        values, in whatever order it is taken. A logit that is off by at most delta moves p by at
        most p (1 - p) (exp(2 delta) - 1).

        Parameters
        ----------
        theta : Tensor of shape (C, q)
            Scaled parameters.

        Returns
        -------
        Evaluation
        """
        value, gradient = self.value_and_gradient(theta)
        largest = float(theta.norm(dim=1).max())
        softmax_error = (self.num_classes + 16) * _UNIT
        length = _gamma(min(self.n, self._chunk_rows) + -(-self.n // self._chunk_rows) + 2)
        total = 0.0
        for rows in self.chunks():
            p = self.probabilities(theta, rows)
            delta = (self.q + 6) * _UNIT * largest * self.X[rows].norm(dim=1)
            moved = ((p * (1 - p)).norm(dim=1) + softmax_error) * torch.expm1(2 * delta)
            error = moved * torch.exp(2 * delta) + softmax_error
            p.scatter_add_(1, self.labels[rows, None], p.new_full((len(p), 1), -1.0))
            weight = error + length * (p.norm(dim=1) + error)
            total += float(((self.X[rows] * self.scale).norm(dim=1) * weight).sum())
        norm = float((gradient * self.scale).norm())
        rest = 4 * self.l2 * float((theta / self.scale).norm()) * _UNIT
        rest += _gamma(self.num_classes * self.q + 8) * norm
        # The bound itself was computed with rounding, far less than 5 % of it.
        return Evaluation(value, gradient, norm, 1.05 * (total / self.n + rest))

    def hessian(self, theta: Tensor) -> Tensor:
        """Exact Hessian of F in the sum-zero basis of the classes.

        Block (a, b) is the mean of cov_{p_i}(Q_a, Q_b) x_i x_i^T: C (C - 1) / 2 weighted Gram
        matrices; the rest is symmetry.

        Parameters
        ----------
        theta : Tensor of shape (C, q)
            Scaled parameters.

        Returns
        -------
        Tensor of shape (d, d)
            With respect to the scaled parameters; parameter (a, j) has index a q + j.

        Raises
        ------
        ProblemError
            If it does not fit into memory.
        """
        num_free, q = self.num_classes - 1, self.q
        try:
            out = self.X.new_zeros((num_free, q, num_free, q))
        except RuntimeError as error:
            raise ProblemError(
                f"the Hessian of {self.d:,} parameters needs {8 * self.d**2 / 2**30:.1f} GiB in "
                "float64 and its factor as much again; reduce the number of features, for example "
                "to their principal components."
            ) from error
        row_bytes = 8 * num_free * max(q, self.num_classes)
        for rows in self.chunks(max(16, CHUNK_BYTES // row_bytes)):
            X = self.X[rows]
            p = self.probabilities(theta, rows)
            centred = self.basis - (p @ self.basis)[:, None, :]
            weighted = p[:, :, None] * centred
            for a in range(num_free):
                weights = torch.einsum("ic,icb->ib", weighted[:, :, a], centred[:, :, a:])
                scaled = (weights[:, :, None] * X[:, None, :]).reshape(len(X), -1)
                out[a, :, a:, :] += (X.T @ scaled).reshape(q, num_free - a, q)
        out /= self.n
        for a in range(num_free):
            for b in range(a):
                out[a, :, b, :] = out[b, :, a, :].T
        matrix = out.reshape(self.d, self.d)
        matrix.diagonal().add_(self.ridge.repeat(num_free))
        return matrix


def sum_zero_basis(num_classes: int) -> Tensor:
    """Orthonormal basis of the vectors over the classes that sum to zero.

    Softmax does not see a constant added to all logits, and at the minimizer the ridge makes that
    constant zero: gradients, H^-1 g and all their 2-norms live in this subspace.

    Returns
    -------
    Tensor of shape (C, C - 1), float64
    """
    basis = torch.zeros((num_classes, num_classes - 1), dtype=torch.float64)
    for a in range(1, num_classes):
        basis[:a, a - 1] = 1.0
        basis[a, a - 1] = -a
        basis[:, a - 1] /= (a * (a + 1)) ** 0.5
    return basis


def _gamma(length: int) -> float:
    return length * _UNIT / (1 - length * _UNIT)

"""The factor of a Hessian, and what is solved with it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.objective import SoftmaxObjective

Metric = Literal["parameter", "loss"]


class Factor:
    """H = L L^T in float64, in scaled parameters; hands out results in the user's.

    Parameters
    ----------
    matrix : Tensor of shape (d, d)
        The Hessian in scaled parameters.
    scale : Tensor of shape (q,)

    Raises
    ------
    ProblemError
        If the matrix is not positive definite in float64.
    """

    def __init__(self, matrix: Tensor, scale: Tensor) -> None:
        self.lower, info = torch.linalg.cholesky_ex(matrix)
        if int(info):
            raise ProblemError(
                "the Hessian of the head is singular in float64: columns of X are so nearly "
                "dependent, and so large, that l2 does not count beside them. Standardize or scale "
                "the features, drop copies of columns, or raise l2."
            )
        self.scale = scale.repeat(len(matrix) // len(scale))

    @classmethod
    def of(cls, objective: SoftmaxObjective, theta: Tensor) -> Factor:
        """Build and factor the Hessian at theta.

        Returns
        -------
        Factor
        """
        return cls(objective.hessian(theta), objective.scale)

    def solve(self, columns: Tensor) -> Tensor:
        """H^-1 times columns, all in scaled parameters.

        Parameters
        ----------
        columns : Tensor of shape (d, m)

        Returns
        -------
        Tensor of shape (d, m)
        """
        return torch.cholesky_solve(columns, self.lower)

    def influence(self, columns: Tensor, metric: Metric) -> Tensor:
        """Apply the map that turns gradients into rows of S.

        Parameters
        ----------
        columns : Tensor of shape (d, m)
            Gradients with respect to the scaled parameters.
        metric : {"parameter", "loss"}
            H^-1 g in the user's parameters, or L^-1 g.

        Returns
        -------
        Tensor of shape (d, m)
        """
        if metric == "loss":
            solved: Tensor = torch.linalg.solve_triangular(self.lower, columns, upper=False)
            return solved
        return self.solve(columns).div_(self.scale[:, None])

    def transposed(self, columns: Tensor, metric: Metric) -> Tensor:
        """Apply the transpose of `influence`.

        Parameters
        ----------
        columns : Tensor of shape (d, m)
            Directions in the space of the rows of S.
        metric : {"parameter", "loss"}

        Returns
        -------
        Tensor of shape (d, m)
        """
        if metric == "loss":
            solved: Tensor = torch.linalg.solve_triangular(self.lower.T, columns, upper=True)
            return solved
        return self.solve(columns / self.scale[:, None])

    def smallest_relative_eigenvalue(self, other: Factor) -> float:
        """Smallest eigenvalue of L^-1 H_K L^-T, H_K the Hessian behind ``other``.

        It is one over the squared largest singular value of L_K^-1 L, which is found to more
        digits than a small eigenvalue would be.

        Parameters
        ----------
        other : Factor

        Returns
        -------
        float
        """
        ratio = torch.linalg.solve_triangular(other.lower, self.lower, upper=False)
        if len(ratio) <= _MAX_DENSE:
            return float(1 / torch.linalg.matrix_norm(ratio, ord=2) ** 2)
        return 1 / _largest_eigenvalue(ratio)


_MAX_DENSE = 1500


def _largest_eigenvalue(ratio: Tensor) -> float:
    """Largest eigenvalue of ratio^T ratio by Lanczos steps from a fixed start."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    def multiply(vector: object) -> object:
        column = torch.as_tensor(vector, dtype=ratio.dtype, device=ratio.device).reshape(-1)
        return (ratio.T @ (ratio @ column)).cpu().numpy()

    operator = LinearOperator(tuple(ratio.shape), matvec=multiply, dtype=float)
    start = torch.ones(len(ratio), dtype=torch.float64).numpy()
    return float(eigsh(operator, k=1, which="LA", v0=start, tol=1e-9, return_eigenvectors=False)[0])

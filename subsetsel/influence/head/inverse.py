"""What is solved with the Hessian of a head, and how that is chosen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from subsetsel.influence.head.objective import HeadObjective

Metric = Literal["parameter", "loss"]

# Relative error, in the norm of H, to which an iterative solve is brought.
TOLERANCE = 1e-10


class Inverse(ABC):
    """H^-1 of one objective at one theta, in scaled parameters.

    Parameters
    ----------
    objective : HeadObjective
    """

    def __init__(self, objective: HeadObjective) -> None:
        self.scale = objective.scale.repeat(objective.num_free)

    @abstractmethod
    def solve(self, columns: Tensor, *, tolerance: float = TOLERANCE) -> Tensor:
        """H^-1 times columns, shape (d, k), all in scaled parameters."""

    @abstractmethod
    def half(self, columns: Tensor, *, transposed: bool = False) -> Tensor:
        """L^-1, or L^-T, times columns, shape (d, k), where H = L L^T."""

    @abstractmethod
    def weakest_direction(self, kept: Any) -> tuple[float, Tensor]:
        """Least v^T H_K v / v^T H v over all v, and that v, shape (d,).

        ``kept`` is the inverse of H_K, of the same kind.
        """

    def smallest_eigenvalue(self) -> float:
        """Smallest eigenvalue of H in the user's parameters, by Lanczos on H^-1.

        Returns
        -------
        float
            An estimate from above.
        """
        from scipy.sparse.linalg import LinearOperator, eigsh

        def apply(vector: np.ndarray) -> np.ndarray:
            column = torch.as_tensor(vector.ravel(), device=self.scale.device) / self.scale
            out: np.ndarray = (self.solve(column[:, None])[:, 0] / self.scale).cpu().numpy()
            return out

        d = len(self.scale)
        start = np.random.default_rng(0).standard_normal(d)
        if d == 1:
            return 1 / float(apply(np.ones(1))[0])
        operator = LinearOperator((d, d), matvec=apply, dtype=np.float64)
        largest = eigsh(operator, k=1, v0=start, tol=1e-3, return_eigenvectors=False)
        return 1 / float(largest[0])

    @property
    @abstractmethod
    def is_exact(self) -> bool:
        """Whether solves are direct: then single rows of S are cheap enough to be asked for."""

    def influence(self, columns: Tensor, metric: Metric, *, tolerance: float = TOLERANCE) -> Tensor:
        """Apply the map that turns gradients into rows of S.

        Parameters
        ----------
        columns : Tensor of shape (d, k)
            Gradients with respect to the scaled parameters.
        metric : {"parameter", "loss"}
            H^-1 g in the user's parameters, or L^-1 g.
        tolerance : float
            Of an iterative solve.

        Returns
        -------
        Tensor of shape (d, k)
        """
        if metric == "loss":
            return self.half(columns)
        return self.solve(columns, tolerance=tolerance).div_(self.scale[:, None])

    def transposed(
        self, columns: Tensor, metric: Metric, *, tolerance: float = TOLERANCE
    ) -> Tensor:
        """Apply the transpose of `influence`.

        Parameters
        ----------
        columns : Tensor of shape (d, k)
            Directions in the space of the rows of S.
        metric : {"parameter", "loss"}
        tolerance : float
            Of an iterative solve.

        Returns
        -------
        Tensor of shape (d, k)
        """
        if metric == "loss":
            return self.half(columns, transposed=True)
        return self.solve(columns / self.scale[:, None], tolerance=tolerance)

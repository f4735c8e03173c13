"""Solving with a Hessian that is too large to be held."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.conjugate import conjugate_gradients
from subsetsel.influence.head.ekfac import KroneckerInverse
from subsetsel.influence.head.inverse import TOLERANCE, Inverse
from subsetsel.influence.head.objective import HeadObjective

_MAX_LOBPCG = 100


class IterativeInverse(Inverse):
    """Conjugate gradients on the exact Hessian, preconditioned by E-KFAC.

    Parameters
    ----------
    objective : HeadObjective
    theta : Tensor of shape (C, q)
        Scaled parameters.

    Attributes
    ----------
    guess : KroneckerInverse
        The preconditioner.
    num_steps : int
        Steps that the last solve took at most.
    """

    is_exact = False

    def __init__(self, objective: HeadObjective, theta: Tensor) -> None:
        super().__init__(objective)
        self._objective, self._theta = objective, theta
        self._outputs = torch.cat([objective.outputs(theta, rows) for rows in objective.chunks()])
        self.guess = KroneckerInverse(objective, theta)
        self.num_steps = 0

    def multiply(self, columns: Tensor) -> Tensor:
        """H times columns, exactly.

        Returns
        -------
        Tensor of shape (d, k)
        """
        return self._objective.multiply(self._theta, columns, self._outputs)

    def solve(self, columns: Tensor, *, tolerance: float = TOLERANCE) -> Tensor:
        """H^-1 times columns, all in scaled parameters.

        Parameters
        ----------
        columns : Tensor of shape (d, k)
        tolerance : float
            A column is done when its residual, in the norm of the preconditioner, is this share of
            its own.

        Returns
        -------
        Tensor of shape (d, k)

        Raises
        ------
        ProblemError
            If that is not reached.
        """
        solved, self.num_steps = conjugate_gradients(
            self.multiply,
            self.guess.solve,
            columns,
            tolerance,
            cure="Standardize the features or raise l2.",
        )
        return solved

    def half(self, columns: Tensor, *, transposed: bool = False) -> Tensor:
        """Refuse: there is no factor L.

        Raises
        ------
        ProblemError
            Always.
        """
        raise ProblemError(
            f"metric='loss' needs a factor of the Hessian, and {len(self.scale):,} parameters are "
            "too many for one here; use metric='parameter', or inverse='cholesky' on a machine "
            "with more memory."
        )

    def weakest_direction(self, kept: Any) -> tuple[float, Tensor]:
        """Smallest v^T H_K v / v^T H v by LOBPCG: a value that is attained, so never too small.

        Parameters
        ----------
        kept : IterativeInverse
            Of the Hessian H_K.

        Returns
        -------
        float, Tensor of shape (d,)
        """
        from scipy.sparse.linalg import LinearOperator, lobpcg

        device, d = self.scale.device, len(self.scale)

        def wrap(function: Any) -> Any:
            def apply(columns: np.ndarray) -> np.ndarray:
                # Below 20 parameters LOBPCG asks for the columns of an integer unit matrix.
                numbers = columns.reshape(d, -1).astype(np.float64, copy=False)
                found = function(torch.as_tensor(numbers, device=device))
                out: np.ndarray = found.cpu().numpy()
                return out

            return LinearOperator((d, d), matvec=apply, matmat=apply, dtype=np.float64)

        start = np.random.default_rng(0).standard_normal((d, 4))
        with warnings.catch_warnings():
            # Short of its tolerance LOBPCG warns; the quotient it returns is attained all the same.
            warnings.simplefilter("ignore", UserWarning)
            values, vectors = lobpcg(
                wrap(kept.multiply),
                start,
                B=wrap(self.multiply),
                M=wrap(kept.guess.solve),
                largest=False,
                tol=1e-4,
                maxiter=_MAX_LOBPCG,
            )
        best = int(np.argmin(values))
        return float(values[best]), torch.as_tensor(vectors[:, best].copy(), device=device)

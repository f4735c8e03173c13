"""Conjugate gradients: solving with a Hessian that is too large to be stored."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.ekfac import KroneckerInverse
from subsetsel.influence.head.inverse import SOLVE_TOLERANCE, Inverse
from subsetsel.influence.head.objective import HeadObjective

_MAX_STEPS = 2000
_MAX_LOBPCG = 100
# This many columns share each pass over the data.
_COLUMNS = 32

Apply = Callable[[Tensor], Tensor]


def conjugate_gradients(
    multiply: Apply, precondition: Apply, columns: Tensor, tolerance: float, *, cure: str
) -> Tensor:
    """Solve H x = column for each column.

    Parameters
    ----------
    multiply : callable
        H times columns, shape (d, k); H symmetric and positive definite.
    precondition : callable
        An approximate inverse of H times columns.
    columns : Tensor of shape (d, k)
    tolerance : float
        A column is done when its residual, in the norm of the preconditioner, is this share of its
        own.
    cure : str
        What the user can do where that is not reached, which is a ProblemError.

    Returns
    -------
    Tensor of shape (d, k)
    """
    blocks = torch.split(columns, _COLUMNS, dim=1)
    parts = [_solve_block(multiply, precondition, block, tolerance, cure) for block in blocks]
    return torch.cat(parts, dim=1)


def _solve_block(
    multiply: Apply, precondition: Apply, columns: Tensor, tolerance: float, cure: str
) -> Tensor:
    out = torch.zeros_like(columns)
    residual = columns.clone()
    guess = precondition(residual)
    direction = guess.clone()
    squared = (residual * guess).sum(dim=0)
    target = tolerance**2 * squared
    open_columns = torch.nonzero(squared > 0).flatten()
    num_steps = 0
    while len(open_columns):
        if num_steps == _MAX_STEPS:
            worst = float((squared / target).max().sqrt()) * tolerance
            raise ProblemError(
                f"conjugate gradients stopped after {_MAX_STEPS} steps at a relative residual of "
                f"{worst:.1e}, not {tolerance:.1e}: the Hessian is too badly conditioned. {cure}"
            )
        num_steps += 1
        part = direction[:, open_columns]
        curved = multiply(part)
        length = squared[open_columns] / (part * curved).sum(dim=0)
        out[:, open_columns] += length * part
        residual[:, open_columns] -= length * curved
        guess = precondition(residual[:, open_columns])
        new = (residual[:, open_columns] * guess).sum(dim=0)
        direction[:, open_columns] = guess + (new / squared[open_columns]) * part
        squared[open_columns] = new
        open_columns = open_columns[new > target[open_columns]]
    return out


class IterativeInverse(Inverse):
    """Conjugate gradients on the exact Hessian at scaled parameters, preconditioned by E-KFAC.

    Attributes
    ----------
    guess : KroneckerInverse
        The preconditioner.
    """

    is_exact = False

    def __init__(self, objective: HeadObjective, theta: Tensor) -> None:
        super().__init__(objective)
        self._objective, self._theta = objective, theta
        self._outputs = torch.cat([objective.outputs(theta, rows) for rows in objective.chunks()])
        self.guess = KroneckerInverse(objective, theta)

    def multiply(self, columns: Tensor) -> Tensor:
        """H times columns, exactly."""
        return self._objective.multiply(self._theta, columns, self._outputs)

    def solve(self, columns: Tensor, *, tolerance: float = SOLVE_TOLERANCE) -> Tensor:
        """H^-1 times columns; see `conjugate_gradients`."""
        cure = "Standardize the features or raise l2."
        return conjugate_gradients(self.multiply, self.guess.solve, columns, tolerance, cure=cure)

    def half(self, columns: Tensor, *, transposed: bool = False) -> Tensor:
        """Refuse: there is no factor L."""
        raise ProblemError(
            f"metric='loss' needs a factor of the Hessian, and {len(self.scale):,} parameters are "
            "too many for one here; use metric='parameter', or inverse='cholesky' on a machine "
            "with more memory."
        )

    def weakest_direction(self, kept: Any) -> tuple[float, Tensor]:
        """Smallest v^T H_K v / v^T H v by LOBPCG: a value that is attained, so never too small."""
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

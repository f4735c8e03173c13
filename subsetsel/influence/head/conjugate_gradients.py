"""Conjugate gradients: solving with a Hessian that is too large to be stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.ekfac import KroneckerInverse
from subsetsel.influence.head.inverse import SOLVE_TOLERANCE, Inverse
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.support.clock import NO_CLOCK, Clock

_MAX_STEPS = 2000
# This many columns share each pass over the data.
_COLUMNS = 32

Apply = Callable[[Tensor], Tensor]


def conjugate_gradients(
    multiply: Apply,
    precondition: Apply,
    columns: Tensor,
    tolerance: float,
    *,
    cure: str,
    clock: Clock = NO_CLOCK,
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
    clock : Clock
        Ends the work with `TimeIsUp`, between two steps.

    Returns
    -------
    Tensor of shape (d, k)
    """
    blocks = torch.split(columns, _COLUMNS, dim=1)
    parts = [
        _solve_block(multiply, precondition, block, tolerance, cure=cure, clock=clock)
        for block in blocks
    ]
    return torch.cat(parts, dim=1)


def _solve_block(
    multiply: Apply,
    precondition: Apply,
    columns: Tensor,
    tolerance: float,
    *,
    cure: str,
    clock: Clock,
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
        clock.check()
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
    """Conjugate gradients on the exact Hessian, preconditioned by E-KFAC or what is nearer.

    Parameters
    ----------
    objective : HeadObjective
    theta : Tensor of shape (C, q)
        Scaled parameters.
    guess : KroneckerInverse or Inverse, optional
        The preconditioner, where one is known.

    Attributes
    ----------
    guess : KroneckerInverse or Inverse
    """

    is_exact = False

    def __init__(
        self,
        objective: HeadObjective,
        theta: Tensor,
        guess: KroneckerInverse | Inverse | None = None,
    ) -> None:
        super().__init__(objective, theta)
        self.guess = guess or KroneckerInverse(objective, theta)

    def move(self, theta: Tensor) -> Inverse:
        """Take products with the Hessian at another theta, preconditioned as here."""
        return IterativeInverse(self._objective, theta, self.guess)

    def precondition(self, columns: Tensor, *, clock: Clock = NO_CLOCK) -> Tensor:
        """Apply the preconditioner."""
        return self.guess.solve(columns)

    def solve(
        self, columns: Tensor, *, tolerance: float = SOLVE_TOLERANCE, clock: Clock = NO_CLOCK
    ) -> Tensor:
        """H^-1 times columns; see `conjugate_gradients`."""
        return conjugate_gradients(
            partial(self.multiply, clock=clock),
            self.guess.solve,
            columns,
            tolerance,
            cure="Standardize the features or raise l2.",
            clock=clock,
        )

    def half(self, columns: Tensor, *, transposed: bool = False, clock: Clock = NO_CLOCK) -> Tensor:
        """Refuse: there is no factor L."""
        raise ProblemError(
            f"metric='loss' needs a factor of the Hessian, and {len(self.scale):,} parameters are "
            "too many for one here; use metric='parameter', or inverse='cholesky' on a machine "
            "with more memory."
        )

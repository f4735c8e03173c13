"""Preconditioned conjugate gradients on several columns at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from subsetsel.errors import ProblemError

_MAX_STEPS = 2000
# So many columns share each pass over the data.
_COLUMNS = 32

Apply = Callable[[Tensor], Tensor]


def conjugate_gradients(
    multiply: Apply, precondition: Apply, columns: Tensor, tolerance: float, *, cure: str
) -> tuple[Tensor, int]:
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
        What the user can do where that is not reached.

    Returns
    -------
    solution : Tensor of shape (d, k)
    num_steps : int
        Taken by the slowest column.

    Raises
    ------
    ProblemError
        If the tolerance is not reached.
    """
    parts, num_steps = [], 0
    for start in range(0, columns.shape[1], _COLUMNS):
        block = columns[:, start : start + _COLUMNS]
        part, steps = _solve_block(multiply, precondition, block, tolerance, cure)
        parts.append(part)
        num_steps = max(num_steps, steps)
    return torch.cat(parts, dim=1), num_steps


def _solve_block(
    multiply: Apply, precondition: Apply, columns: Tensor, tolerance: float, cure: str
) -> tuple[Tensor, int]:
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
        bent = multiply(part)
        length = squared[open_columns] / (part * bent).sum(dim=0)
        out[:, open_columns] += length * part
        residual[:, open_columns] -= length * bent
        guess = precondition(residual[:, open_columns])
        new = (residual[:, open_columns] * guess).sum(dim=0)
        direction[:, open_columns] = guess + (new / squared[open_columns]) * part
        squared[open_columns] = new
        open_columns = open_columns[new > target[open_columns]]
    return out, num_steps

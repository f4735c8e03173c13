"""Which way of solving with the Hessian of a head is taken, and where."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from subsetsel.errors import OptionError
from subsetsel.influence.device import device_memory, pieces
from subsetsel.influence.head.hessian import Factor
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.iterative import IterativeInverse
from subsetsel.influence.head.objective import HeadObjective

# H and its factor may take this share of the memory that is free.
DENSE_SHARE = 0.5


def invert(objective: HeadObjective, theta: Tensor) -> Inverse:
    """Choose how to solve with the Hessian of an objective, and prepare it.

    Parameters
    ----------
    objective : HeadObjective
    theta : Tensor of shape (C, q)
        Scaled parameters.

    Returns
    -------
    Inverse
        A Cholesky factor where memory and time allow one, else conjugate gradients.
    """
    kind = choose_inverse(objective.setting.inverse, objective.block_side, objective.X.device)
    return Factor.of(objective, theta) if kind == "cholesky" else IterativeInverse(objective, theta)


def choose_inverse(kind: str, side: int, device: torch.device) -> Literal["cholesky", "cg"]:
    """Settle ``"auto"`` by size and by the free memory of the device.

    Parameters
    ----------
    kind : {"auto", "cholesky", "cg"}
    side : int
        Of the matrix to be factored.
    device : torch.device
        Where it would be.

    Returns
    -------
    str

    Raises
    ------
    OptionError
        For an unknown kind.
    """
    check_inverse(kind)
    if kind == "auto":
        fits = 2 * 8 * side**2 <= DENSE_SHARE * device_memory(device)
        return "cholesky" if fits and side <= pieces(device).max_dense else "cg"
    return "cholesky" if kind == "cholesky" else "cg"


def check_inverse(kind: str) -> None:
    """Refuse what is no way to solve with the Hessian.

    Raises
    ------
    OptionError
    """
    if kind not in {"auto", "cholesky", "cg"}:
        raise OptionError(f"inverse must be one of auto, cholesky, cg; got {kind!r}.")

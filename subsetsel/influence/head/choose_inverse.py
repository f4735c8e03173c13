"""Whether a head's Hessian is solved by its factor or by conjugate gradients."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from subsetsel.influence.device import block_sizes, device_memory
from subsetsel.influence.head.cholesky import Factor
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.data import check_choices
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.objective import HeadObjective

# H and its factor may take this share of the memory that is free.
_FACTOR_SHARE = 0.5


def invert(objective: HeadObjective, theta: Tensor) -> Inverse:
    """Prepare the inverse of the Hessian of an objective at scaled parameters."""
    kind = choose_inverse(objective.setting.inverse, objective.block_side, objective.X.device)
    return Factor.of(objective, theta) if kind == "cholesky" else IterativeInverse(objective, theta)


def choose_inverse(kind: str, side: int, device: torch.device) -> Literal["cholesky", "cg"]:
    """Decide ``"auto"``: a Cholesky factor where memory and time allow one, else ``"cg"``.

    ``side`` is that of the matrix to be factored, ``device`` where it would be.
    """
    check_choices(inverse=kind)
    if kind == "auto":
        fits = 2 * 8 * side**2 <= _FACTOR_SHARE * device_memory(device)
        return "cholesky" if fits and side <= block_sizes(device).max_dense else "cg"
    return "cholesky" if kind == "cholesky" else "cg"

"""Whether a head's Hessian is solved by its factor or by conjugate gradients."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from subsetsel.influence.device import block_sizes, most_held_on
from subsetsel.influence.head.cholesky import Factor
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.data import check_choices
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.support.memory import require_memory


def invert(objective: HeadObjective, theta: Tensor) -> Inverse:
    """Prepare the inverse of the Hessian of an objective at scaled parameters."""
    kind = choose_inverse(objective.setting.inverse, objective.block_side, objective.X.device)
    return Factor.of(objective, theta) if kind == "cholesky" else IterativeInverse(objective, theta)


def choose_inverse(kind: str, side: int, device: torch.device) -> Literal["cholesky", "cg"]:
    """Decide as `plan_inverse` does, and see whether a factor fits into the free memory.

    Raises
    ------
    OutOfMemoryError
        If it does not: the choice is the same however much is free.
    """
    chosen = plan_inverse(kind, side, device)
    # A GPU has an error of its own, and no process is killed.
    if chosen == "cholesky" and device.type != "cuda":
        require_memory(
            f"the Hessian of {side:,} parameters, with its factor,",
            factor_bytes(side),
            "fit_head(..., inverse='cg') needs no factor, but its rows are searched on by an "
            "approximation; fewer features take less.",
        )
    return chosen


def plan_inverse(kind: str, side: int, device: torch.device) -> Literal["cholesky", "cg"]:
    """Decide ``"auto"``: a Cholesky factor where planned memory and time allow one, else ``"cg"``.

    ``side`` is that of the matrix to be factored, ``device`` where it would be.
    """
    check_choices(inverse=kind)
    if kind == "auto":
        fits = factor_bytes(side) <= most_held_on(device)
        return "cholesky" if fits and side <= block_sizes(device).max_dense else "cg"
    return "cholesky" if kind == "cholesky" else "cg"


def factor_bytes(side: int) -> int:
    """Bytes for a Hessian and its factor in float64."""
    return 2 * 8 * side**2

"""Whether a head's Hessian is solved by factors or by conjugate gradients."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from subsetsel.influence.device import block_sizes, most_held_on
from subsetsel.influence.head.cholesky import Factor
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.data import check_choices
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.losses import SoftmaxObjective
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.woodbury import WoodburyInverse
from subsetsel.support.memory import require_memory

# A factor of so few parameters takes tenths of a second.
_SMALL = 1500
# For all n rows the Woodbury identity takes 4 n d (n + q) operations, and conjugate gradients take
# 4 n d for each product: some hundreds for one verification, at less than half the speed.
_FEW = 1000


def invert(objective: HeadObjective, theta: Tensor) -> Inverse:
    """Prepare the inverse of the Hessian of an objective at scaled parameters.

    `WoodburyInverse` where it is worth it, and else as `choose_inverse` says.
    """
    if uses_woodbury(objective):
        return WoodburyInverse(objective, theta)
    kind = choose_inverse(objective.setting.inverse, objective.block_side, objective.X.device)
    return Factor(objective, theta) if kind == "cholesky" else IterativeInverse(objective, theta)


def uses_woodbury(objective: HeadObjective) -> bool:
    """Whether the inverse of an objective's Hessian is a `WoodburyInverse`."""
    return (
        objective.setting.inverse == "auto"
        and objective.setting.penalizes_bias
        and isinstance(objective, SoftmaxObjective)
        and not objective.in_shards
        and plan_woodbury(objective.n, objective.q, objective.num_classes, objective.X.device)
    )


def direct_flops(objective: HeadObjective) -> float:
    """Operations that a direct inverse of an objective's Hessian takes, whether it fits or not."""
    n, q, side = objective.n, objective.q, objective.block_side
    if uses_woodbury(objective):
        return float(side * (n + q) ** 2)
    return n * side**2 + side**3 / 3


def plan_woodbury(n: int, q: int, num_classes: int, device: torch.device) -> bool:
    """Decide where ``"auto"`` solves a softmax head of so many examples and features by Woodbury.

    It takes d (n + q)^2 operations, and 4 d (n + q) for each solve: no more than a factor, which
    takes n d^2 + d^3 / 3 and 2 d^2, if n + q is at most d / 2. Where d is too large for a factor
    the rows must take no more than conjugate gradients do for a few sums of them.
    """
    d = (num_classes - 1) * q
    is_cheaper = d > _SMALL and 2 * (n + q) <= d
    is_quick = d <= block_sizes(device).max_dense or n + q <= _FEW
    return is_cheaper and is_quick and woodbury_bytes(n, q, num_classes) <= most_held_on(device)


def woodbury_bytes(n: int, q: int, num_classes: int) -> int:
    """Bytes that a `WoodburyInverse` takes while it is made."""
    return 8 * (num_classes * q * (n + q) + 2 * n**2)


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

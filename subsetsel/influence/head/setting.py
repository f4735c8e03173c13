"""What is asked of a head, and what its objective answers at one point."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """The objective at one theta.

    Attributes
    ----------
    value : float
        Mean loss plus (l2 / 2) ||theta||^2.
    gradient : Tensor of shape (C, q)
        With respect to the scaled parameters.
    gradient_norm : float
        Euclidean norm with respect to the user's parameters.
    gradient_error : float
        No less than the distance of that gradient from the exact one.
    """

    value: float
    gradient: Tensor
    gradient_norm: float
    gradient_error: float


@dataclass(frozen=True)
class Setting:
    """What is asked of a head, beside its data.

    Attributes
    ----------
    l2 : float
    num_classes : int
    label_smoothing : float
        Targets are (1 - s) onehot + s / C.
    penalizes_bias : bool
        Whether l2 acts on the bias too.
    inverse : {"auto", "cholesky", "cg"}
        How the Hessian is solved with.
    """

    l2: float
    num_classes: int
    label_smoothing: float = 0.0
    penalizes_bias: bool = True
    inverse: str = "auto"

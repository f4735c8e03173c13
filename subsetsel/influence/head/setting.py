"""What is asked of a head, and what its objective says at one theta."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from subsetsel.errors import ProblemError


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
        How linear systems with the Hessian are solved.
    """

    l2: float
    num_classes: int
    label_smoothing: float = 0.0
    penalizes_bias: bool = True
    inverse: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ProblemError(
                f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing!r}."
            )


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
        Upper bound on the distance of that gradient from the exact one.
    """

    value: float
    gradient: Tensor
    gradient_norm: float
    gradient_error: float

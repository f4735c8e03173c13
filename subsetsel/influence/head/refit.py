"""What a head would be on a part of its examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.influence.head.choose_inverse import invert
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.losses import SquaredObjective
from subsetsel.influence.head.newton import Minimum, minimize, newton_direction
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.rows.base import FloatArray

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head


@dataclass(frozen=True)
class Refit:
    """A head refitted on some of the examples.

    Attributes
    ----------
    theta : ndarray of shape (C, q), float64
    gradient_norm : float
        Of the mean objective over those examples, at ``theta``.
    gradient_error : float
        No less than the rounding error of that gradient.
    error : float
        The exact minimizer is within this of ``theta``.
    num_steps : int
    """

    theta: FloatArray
    gradient_norm: float
    gradient_error: float
    error: float
    num_steps: int


@dataclass(frozen=True, eq=False)
class KeptHead:
    """A head seen from some of its examples; the Hessian there is computed once.

    Attributes
    ----------
    head : Head
    objective_function : HeadObjective
        The mean over the kept examples, plus the ridge.
    """

    head: Head
    objective_function: HeadObjective = field(repr=False)

    @cached_property
    def inverse(self) -> Inverse:
        """What is solved with the kept examples' Hessian at the head's ``theta``."""
        return invert(self.objective_function, self.head.to_scaled(self.head.theta))

    def newton_step(self) -> FloatArray:
        """See `Head.newton_step`.

        Returns
        -------
        ndarray of shape (C, q), float64
        """
        theta = self.head.to_scaled(self.head.theta)
        start = Minimum(theta, self.objective_function.evaluate(theta), 0)
        return self.head.to_user(newton_direction(self.objective_function, start, self.inverse))

    def curvature(self) -> float:
        """See `Head.curvature`.

        Returns
        -------
        float
        """
        return self.weakest_direction()[0]

    def weakest_direction(self) -> tuple[float, FloatArray]:
        """See `Head.weakest_direction`.

        Returns
        -------
        float, ndarray of shape (C, q)
        """
        value, v = self.head.inverse.weakest_direction(self.inverse)
        basis = self.objective_function.basis
        return value, self.head.to_user(basis @ v.reshape(basis.shape[1], -1))

    def refit(self, *, theta: ArrayLike | None = None) -> Refit:
        """See `Head.refit`.

        Returns
        -------
        Refit
        """
        scaled = self.head.to_scaled(self.head.theta if theta is None else theta)
        found = minimize(
            self.objective_function,
            self.objective_function.project(scaled),
            tolerance=float("inf"),
            inverse=self.inverse if theta is None else None,
        )
        return Refit(
            theta=self.head.to_user(found.theta),
            gradient_norm=found.evaluation.gradient_norm,
            gradient_error=found.evaluation.gradient_error,
            error=distance_bound(
                self.objective_function,
                lambda: invert(self.objective_function, found.theta),
                found.evaluation.gradient_norm + found.evaluation.gradient_error,
            ),
            num_steps=found.num_steps,
        )


def distance_bound(
    objective: HeadObjective, inverse: Callable[[], Inverse], gradient: float
) -> float:
    """Bound how far a point with such a gradient is from the minimizer.

    With the ridge on every parameter the objective is l2-strongly convex: gradient / l2. Without
    it on the bias, with mu the smallest eigenvalue of the Hessian there: the softmax is
    quasi-self-concordant with M = sqrt(2) max ||x_i||, which gives -log(1 - M g / mu) / M.

    Parameters
    ----------
    objective : HeadObjective
    inverse : callable
        Gives the inverse of the Hessian at the point, where it is needed.
    gradient : float
        Its norm, rounding included, in the user's coordinates.

    Returns
    -------
    float
        Infinite where the bound says nothing.

    References
    ----------
    Bach, Self-concordant analysis for logistic regression, 2010, arXiv:0910.4627.
    """
    if objective.setting.penalizes_bias:
        return gradient / objective.l2
    # The Lanczos estimate of mu comes from above, to about three digits: half of it is safe.
    mu = 0.5 * inverse().smallest_eigenvalue()
    if isinstance(objective, SquaredObjective):
        return gradient / mu
    longest = max(
        float((objective.X[r] * objective.scale).norm(dim=1).max()) for r in objective.chunks()
    )
    concordance = 2**0.5 * longest
    reach = concordance * gradient / mu
    return -math.log1p(-reach) / concordance if reach < 1 else math.inf


def scale_theta(objective: HeadObjective, theta: ArrayLike) -> torch.Tensor:
    """Check the user's parameters and scale them as the objective wants them.

    Returns
    -------
    Tensor of shape (C, q)

    Raises
    ------
    ProblemError
        If they have another shape or are not finite.
    """
    array = np.array(theta, dtype=np.float64)
    shape = (objective.num_classes, objective.q)
    if array.shape != shape:
        raise ProblemError(
            f"theta must have shape {shape} (classes, features and bias), got {array.shape}."
        )
    if not np.isfinite(array).all():
        raise ProblemError("theta must be finite; it holds NaN or infinite values.")
    return torch.as_tensor(array, device=objective.X.device) * objective.scale

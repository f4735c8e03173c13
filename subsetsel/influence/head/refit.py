"""What a head would be on some of its examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from numpy.typing import ArrayLike
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.cholesky import Factor
from subsetsel.influence.head.choose_inverse import direct_flops, invert
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.losses import SquaredObjective
from subsetsel.influence.head.newton import (
    Minimum,
    minimize,
    minimize_by_products,
    newton_direction,
)
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.rows.base import FloatArray
from subsetsel.support.threads import by_blocks

# A refit, a Newton step and a curvature take some 200 products with the Hessian. They run at less
# than half the speed of a factor, and cost as much as 500 times the operations of a product.
_PRODUCTS_PER_REFIT = 500


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
    """The objective on some examples, seen from the minimizer on all; its Hessian is built once.

    Where products with the features, in conjugate gradients, cost less, as they do above some 2,000
    parameters, it is not built before `inverse` is asked for.

    Attributes
    ----------
    objective_function : HeadObjective
        The mean over the kept examples, plus the ridge. Its clock ends all methods.
    theta : Tensor of shape (C, q)
        The minimizer on all examples, scaled.
    full_inverse : callable
        Gives the inverse of the Hessian on all examples at ``theta``.
    known_inverse : callable
        Gives it where it is there already, else None.
    """

    objective_function: HeadObjective = field(repr=False)
    theta: Tensor = field(repr=False)
    full_inverse: Callable[[], Inverse] = field(repr=False)
    known_inverse: Callable[[], Inverse | None] = field(repr=False, default=lambda: None)

    @cached_property
    @by_blocks()
    def inverse(self) -> Inverse:
        """The inverse of the kept examples' Hessian at ``theta``."""
        return invert(self.objective_function, self.theta)

    @property
    def _is_large(self) -> bool:
        """Whether products with the features cost less than a direct inverse of H_K."""
        on = self.objective_function
        most = _PRODUCTS_PER_REFIT * 4 * on.n * on.d
        return on.setting.inverse == "auto" and direct_flops(on) > most

    @property
    def _guess(self) -> Factor | None:
        """The factor on all examples, where there is one: no other preconditioner is as near.

        To solve with it must take no longer than the product that it saves, or than a round.
        """
        known, on = self.known_inverse(), self.objective_function
        is_quick = on.in_shards or 2 * on.n >= on.d
        return known if is_quick and isinstance(known, Factor) else None

    @cached_property
    def _products(self) -> Inverse:
        return IterativeInverse(self.objective_function, self.theta, self._guess)

    @property
    def _solver(self) -> Inverse:
        """What solves with H_K at ``theta``: `inverse` where it is there or cheap."""
        return self._products if self._is_large and "inverse" not in self.__dict__ else self.inverse

    @by_blocks()
    def newton_step(self) -> FloatArray:
        """Newton step from ``theta`` on the kept examples, -H_K^-1 times their gradient: (C, q)."""
        on = self.objective_function
        start = Minimum(self.theta, on.evaluate(self.theta), 0)
        try:
            step = newton_direction(on, start, self._solver)
        except ProblemError:
            # Too badly conditioned for conjugate gradients; a factor may still do.
            step = newton_direction(on, start, self.inverse)
        return on.to_user(step)

    def curvature(self) -> float:
        """How much of the curvature the kept examples retain in the direction that loses most.

        Smallest eigenvalue of L^-1 H_K L^-T, where H = L L^T is the Hessian on all examples.
        """
        return self.weakest_direction()[0]

    @by_blocks()
    def weakest_direction(self) -> tuple[float, FloatArray]:
        """`curvature`, and the direction, shape (C, q), in which so little of it is retained."""
        value, v = self.full_inverse().weakest_direction(
            self._solver, clock=self.objective_function.clock
        )
        on = self.objective_function
        return value, on.to_user(on.lift(v.reshape(on.num_free, -1)))

    @by_blocks()
    def refit(self, *, theta: ArrayLike | None = None) -> Refit:
        """Train the head on the kept examples, to the level of float64 rounding.

        Parameters
        ----------
        theta : array_like of shape (C, q), optional
            Where to start; the minimizer on all examples by default.
        """
        objective = self.objective_function
        start = self.theta if theta is None else objective.to_scaled(theta)
        find = partial(minimize_by_products, guess=self._guess) if self._is_large else minimize
        found = find(
            objective,
            objective.project(start),
            tolerance=float("inf"),
            inverse=self._solver if theta is None else None,
        )
        return Refit(
            theta=objective.to_user(found.theta),
            gradient_norm=found.evaluation.gradient_norm,
            gradient_error=found.evaluation.gradient_error,
            error=distance_bound(
                objective,
                lambda: invert(objective, found.theta),
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
    mu = 0.5 * inverse().smallest_eigenvalue(clock=objective.clock)
    if isinstance(objective, SquaredObjective):
        return gradient / mu
    concordance = 2**0.5 * objective.longest()
    reach = concordance * gradient / mu
    return -math.log1p(-reach) / concordance if reach < 1 else math.inf

"""The head: its parameters, and what it would be without some examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from subsetsel.errors import ProblemError
from subsetsel.influence.head.choose_inverse import invert
from subsetsel.influence.head.data import check_features, check_lengths
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.labels import encode_like
from subsetsel.influence.head.losses import SquaredObjective
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.refit import KeptHead, Refit, distance_bound
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import by_blocks


@dataclass(frozen=True, eq=False)
class Head:
    """A linear head at the minimum of mean_i loss_i + (l2 / 2) ||theta||^2, bias included.

    Made by `fit_head`.

    Attributes
    ----------
    classes : ndarray of shape (C,)
        The label behind each row of ``theta``.
    labels : ndarray of shape (n,), int64
        Index into ``classes`` of each example.
    l2 : float
    theta : ndarray of shape (C, q), float64
        Weights, and in the last column the bias; for the softmax the rows sum to zero.
    gradient_norm : float
        Of the mean objective at ``theta``.
    gradient_error : float
        No less than the rounding error of that gradient: the exact minimizer is within
        (gradient_norm + gradient_error) / l2 of ``theta``.
    objective_function : HeadObjective
        The same objective in scaled parameters, on the device.
    """

    classes: NDArray[Any]
    labels: IndexArray
    l2: float
    theta: FloatArray
    gradient_norm: float
    gradient_error: float
    objective_function: HeadObjective = field(repr=False)

    def __post_init__(self) -> None:
        self.theta.flags.writeable = False
        self.labels.flags.writeable = False

    @property
    def n(self) -> int:
        """Number of examples."""
        return self.objective_function.n

    @property
    def q(self) -> int:
        """Number of features, the bias among them."""
        return self.objective_function.q

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.classes)

    @property
    def device(self) -> str:
        """Where the algebra is done."""
        return str(self.objective_function.X.device)

    @property
    def theta_norm(self) -> float:
        """||theta||_2."""
        return float(np.linalg.norm(self.theta))

    @cached_property
    def inverse(self) -> Inverse:
        """The inverse of the Hessian at ``theta``; prepared once."""
        return self.prepare_inverse()

    @by_blocks()
    def prepare_inverse(self, clock: Clock = NO_CLOCK) -> Inverse:
        """Give `inverse`, preparing it where that has not been done.

        Parameters
        ----------
        clock : Clock, optional
            Its deadline ends the work: `TimeIsUp` is raised, and nothing is kept.
        """
        if "inverse" not in self.__dict__:
            objective = self.objective_function.timed(clock)
            self.__dict__["inverse"] = invert(objective, self.to_scaled(self.theta))
        found: Inverse = self.__dict__["inverse"]
        return found

    @cached_property
    def error(self) -> float:
        """The exact minimizer is within this of ``theta``."""
        return distance_bound(
            self.objective_function, lambda: self.inverse, self.gradient_norm + self.gradient_error
        )

    def to_scaled(self, theta: ArrayLike) -> torch.Tensor:
        """Check parameters of shape (C, q), scale them as the objective wants them, and move them.

        Raises
        ------
        ProblemError
            If they have another shape or are not finite.
        """
        return self.objective_function.to_scaled(theta)

    def to_user(self, scaled: torch.Tensor) -> FloatArray:
        """Undo `to_scaled`."""
        return self.objective_function.to_user(scaled)

    def kept(self, kept_mask: BoolArray, *, clock: Clock = NO_CLOCK) -> KeptHead:
        """Look at the objective on some of the examples alone.

        Parameters
        ----------
        kept_mask : ndarray of shape (n,), bool
            True means kept.
        clock : Clock, optional
            Ends the methods of what is returned: `TimeIsUp` is raised.

        Returns
        -------
        KeptHead
            Its methods ``refit``, ``newton_step``, ``curvature`` and ``weakest_direction`` share
            one Hessian.

        Raises
        ------
        ProblemError
            If the mask has another type or shape, or keeps nothing.
        """
        mask = np.asarray(kept_mask)
        if mask.dtype != np.bool_ or mask.shape != (self.n,):
            raise ProblemError(
                f"kept_mask must be a Boolean array of shape ({self.n},), True meaning kept; got "
                f"{mask.dtype} of shape {mask.shape}."
            )
        if not mask.any():
            raise ProblemError("kept_mask keeps no example; a head needs at least one.")
        return KeptHead(
            objective_function=self.objective_function.restrict(mask).timed(clock),
            theta=self.to_scaled(self.theta),
            full_inverse=lambda: self.prepare_inverse(clock),
            known_inverse=lambda: self.__dict__.get("inverse"),
        )

    def refit(
        self, kept_mask: BoolArray, *, theta: ArrayLike | None = None, clock: Clock = NO_CLOCK
    ) -> Refit:
        """Train the head on the kept examples; short for ``kept(kept_mask).refit()``.

        Parameters
        ----------
        kept_mask : ndarray of shape (n,), bool
            True means kept.
        theta : array_like of shape (C, q), optional
            Where to start; this head's parameters otherwise.
        clock : Clock, optional
            Ends the work: `TimeIsUp` is raised.
        """
        return self.kept(kept_mask, clock=clock).refit(theta=theta)

    @by_blocks()
    def curvature_along(self, direction: ArrayLike, *, clock: Clock = NO_CLOCK) -> FloatArray:
        """Second derivative of each example's share of the objective along a direction V.

        c_i(V) = w_i (v_i + l2 ||V||^2), v_i the variance of V x_i under p_i (for the squared loss
        ||V x_i||^2). Its sum over a set, divided by the set's weight, is V^T H_set V: keeping a
        share of the curvature along V is a linear constraint on W.

        Parameters
        ----------
        direction : array_like of shape (C, q)
        clock : Clock, optional
            Ends the work: `TimeIsUp` is raised.

        Returns
        -------
        ndarray of shape (n,), float64
        """
        objective, theta = self.objective_function.timed(clock), self.to_scaled(self.theta)
        found = objective.curvature_along(theta, self.to_scaled(direction))
        along: FloatArray = found.cpu().numpy()
        return along

    @by_blocks()
    def objective(self, theta: ArrayLike) -> float:
        """Mean loss over all examples plus (l2 / 2) ||theta||^2, at theta of shape (C, q)."""
        return self.objective_function.value_and_gradient(self.to_scaled(theta))[0]

    def encode(self, X: Any, y: Any) -> tuple[Any, IndexArray]:
        """Check other examples and encode their labels.

        Parameters
        ----------
        X : array_like or sparse array of shape (m, h)
        y : array_like of shape (m,)
            Labels among `classes`.

        Returns
        -------
        features : ndarray, or SciPy array of compressed rows, of shape (m, h), float64
        codes : ndarray of shape (m,), int64

        Raises
        ------
        ProblemError
            If the features or labels do not fit this head.
        """
        features, codes = check_features(X, self.q - 1), encode_like(y, self.classes)
        check_lengths(features, codes)
        return features, codes

    def judge(self, theta: ArrayLike, X: Any, y: Any) -> tuple[FloatArray, BoolArray]:
        """Try theta, shape (C, q), on other examples.

        Returns
        -------
        losses : ndarray of shape (m,), float64
            No ridge, smoothing or weights.
        is_right : ndarray of shape (m,), bool
            Whether the class has the largest logit.
        """
        features, codes = self.encode(X, y)
        logits, each = _logits(theta, features), np.arange(len(codes))
        is_right: BoolArray = logits.argmax(axis=1) == codes
        if isinstance(self.objective_function, SquaredObjective):
            logits[each, codes] -= 1.0
            return 0.5 * np.square(logits).sum(axis=1), is_right
        largest = logits.max(axis=1)
        total = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
        losses: FloatArray = total - logits[each, codes]
        return losses, is_right

    def loss(self, theta: ArrayLike, X: Any, y: Any) -> float:
        """Mean loss on other examples at theta, shape (C, q): no ridge, smoothing or weights."""
        return float(self.judge(theta, X, y)[0].mean())

    def accuracy(self, theta: ArrayLike, X: Any, y: Any) -> float:
        """Share of other examples whose class has the largest logit under theta, shape (C, q)."""
        return float(self.judge(theta, X, y)[1].mean())


def _logits(theta: ArrayLike, features: Any) -> FloatArray:
    weights = np.asarray(theta, dtype=np.float64)
    logits: FloatArray = features @ weights[:, :-1].T + weights[:, -1]
    return logits

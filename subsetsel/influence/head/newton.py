"""Minimize a head's objective to the level of float64 rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.choose_inverse import invert
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.inverse import SOLVE_TOLERANCE, Inverse
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.setting import Evaluation

_MAX_STEPS = 100
_MAX_HALVINGS = 40
# A value that falls by less than this share of itself may be rounding.
_VALUE_ROUNDING = 1e-13


@dataclass(frozen=True)
class Minimum:
    """Where a minimization ended.

    Attributes
    ----------
    theta : Tensor of shape (C, q)
        Scaled parameters.
    evaluation : Evaluation
        The objective there.
    num_steps : int
        Steps taken, those with a Hessian of an earlier point included.
    """

    theta: Tensor
    evaluation: Evaluation
    num_steps: int


def minimize(
    objective: HeadObjective,
    theta: Tensor,
    *,
    tolerance: float,
    inverse: Inverse | None = None,
    make_inverse: Callable[[HeadObjective, Tensor], Inverse] = invert,
) -> Minimum:
    """Newton's method with line search in the class basis.

    A factored Hessian serves for further steps as long as each takes at least three quarters off
    the gradient, since a step costs far less than a Hessian. Where products take its place, each
    step has its own, and the preconditioner serves as long.

    Parameters
    ----------
    theta : Tensor of shape (C, q)
        Where to start; must lie in the class basis.
    tolerance : float
        The search ends when the gradient's norm is within this and within its rounding error, or
        when rounding lets it fall no further.
    inverse : Inverse, optional
        Of the Hessian at ``theta``, where it is known already.
    make_inverse : callable
        Makes one at later points.
    """
    best = Minimum(theta, objective.evaluate(theta), 0)
    while best.num_steps < _MAX_STEPS and not _is_done(best.evaluation, tolerance):
        if inverse is None:
            inverse = make_inverse(objective, best.theta)
        found = _search_line(objective, best, inverse)
        if found is None:
            break
        is_progress = _is_lower(found.evaluation, best.evaluation)
        if found.evaluation.gradient_norm < best.evaluation.gradient_norm or is_progress:
            best = found
        if not is_progress:
            break
        while best.num_steps < _MAX_STEPS and not _is_done(best.evaluation, tolerance):
            inverse = inverse.move(best.theta)
            found = _take_step(objective, best, _newton_direction(objective, best, inverse), 1.0)
            if found.evaluation.gradient_norm > 0.25 * best.evaluation.gradient_norm:
                break
            best = found
        inverse = None
    return best


def minimize_by_products(
    objective: HeadObjective,
    theta: Tensor,
    *,
    tolerance: float,
    inverse: Inverse | None = None,
    guess: Inverse | None = None,
) -> Minimum:
    """Minimize as `minimize` does, without a Hessian: for a step that needs four digits.

    ``guess`` is the preconditioner, where one better than E-KFAC is known. Where the Hessian is too
    badly conditioned for conjugate gradients, a factor may still do.
    """
    try:
        return minimize(
            objective,
            theta,
            tolerance=tolerance,
            inverse=inverse,
            make_inverse=partial(IterativeInverse, guess=guess),
        )
    except ProblemError:
        return minimize(objective, theta, tolerance=tolerance)


def _is_done(evaluation: Evaluation, tolerance: float) -> bool:
    return evaluation.gradient_norm <= min(tolerance, evaluation.gradient_error)


def _is_lower(new: Evaluation, old: Evaluation) -> bool:
    fallen = old.value - new.value > _VALUE_ROUNDING * abs(old.value)
    return fallen or new.gradient_norm <= 0.5 * old.gradient_norm


def newton_direction(
    objective: HeadObjective, at: Minimum, inverse: Inverse, *, tolerance: float = SOLVE_TOLERANCE
) -> Tensor:
    """-H^-1 times the gradient, in scaled parameters; it lies in the class basis."""
    reduced = objective.reduce(at.evaluation.gradient).reshape(-1, 1)
    solved = inverse.solve(reduced, tolerance=tolerance, clock=objective.clock)
    return -objective.lift(solved.reshape(objective.num_free, -1))


def _newton_direction(objective: HeadObjective, at: Minimum, inverse: Inverse) -> Tensor:
    """Solve for one step of many, where four digits serve as well as ten."""
    return newton_direction(objective, at, inverse, tolerance=1e-4)


def _take_step(objective: HeadObjective, at: Minimum, direction: Tensor, length: float) -> Minimum:
    theta = at.theta + length * direction
    return Minimum(theta, objective.evaluate(theta), at.num_steps + 1)


def _search_line(objective: HeadObjective, at: Minimum, inverse: Inverse) -> Minimum | None:
    """Halve the step until the value falls as Armijo asks, up to rounding."""
    direction = _newton_direction(objective, at, inverse)
    slope = float((direction * at.evaluation.gradient).sum())
    slack = _VALUE_ROUNDING * abs(at.evaluation.value)
    length = 1.0
    for _ in range(_MAX_HALVINGS):
        found = _take_step(objective, at, direction, length)
        if found.evaluation.value <= at.evaluation.value + 1e-4 * length * slope + slack:
            return found
        length /= 2
    return None


def approach(objective: HeadObjective, theta: Tensor, *, max_iterations: int = 300) -> Tensor:
    """Come near the minimizer by L-BFGS from a theta with class mean zero: few Hessians follow.

    The features are whitened by the curvature bound (1/2) X^T X / n + l2 (Böhning, Annals of the
    Institute of Statistical Mathematics 44, 1992), which is never below the Hessian; sparse ones by
    its diagonal alone.
    """
    from scipy.optimize import minimize as scipy_minimize

    m, device, whitening = objective.num_free, objective.X.device, _Whitening(objective)

    def of_whitened(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        white = torch.as_tensor(point, device=device).reshape(m, -1)
        value, gradient = objective.value_and_gradient(objective.lift(whitening.undo(white)))
        steep = whitening.of_gradient(objective.reduce(gradient))
        return value, steep.cpu().numpy().ravel()

    start = whitening.apply(objective.reduce(theta)).cpu().numpy().ravel()
    options = {"maxiter": max_iterations, "maxcor": 20, "gtol": 1e-4, "ftol": 1e-14}
    found = scipy_minimize(of_whitened, start, jac=True, method="L-BFGS-B", options=options)
    white = torch.as_tensor(found.x, device=device).reshape(m, -1)
    return objective.lift(whitening.undo(white))


class _Whitening:
    """Parameters, as rows (m, q), times L, where L L^T = (1/2) X^T X / n + l2.

    Of sparse features L is the root of the diagonal: they may be too many for a matrix.
    """

    def __init__(self, objective: HeadObjective) -> None:
        self._is_diagonal = objective.X.is_sparse
        if self._is_diagonal:
            squares = torch.zeros((1, objective.q), dtype=torch.float64)
            objective.X.square().add_to(squares, objective.ones()[:, None])
            self._lower = (0.5 * squares[0] / objective.total + objective.ridge).sqrt()
            return
        bound = 0.5 * objective.gram()
        bound.diagonal().add_(objective.ridge + 1e-12 * float(bound.diagonal().max()))
        self._lower = torch.linalg.cholesky(bound)

    def apply(self, rows: Tensor) -> Tensor:
        return rows * self._lower if self._is_diagonal else rows @ self._lower

    def undo(self, rows: Tensor) -> Tensor:
        if self._is_diagonal:
            return rows / self._lower
        solved: Tensor = torch.linalg.solve_triangular(self._lower, rows, upper=False, left=False)
        return solved

    def of_gradient(self, rows: Tensor) -> Tensor:
        if self._is_diagonal:
            return rows / self._lower
        steep: Tensor = torch.linalg.solve_triangular(self._lower.T, rows, upper=True, left=False)
        return steep

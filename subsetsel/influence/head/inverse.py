"""What a head's Hessian is asked for: solves, a factor, its weakest direction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.weakest import weakest_by_products, weakest_by_solves
from subsetsel.support.clock import NO_CLOCK, Clock

Metric = Literal["parameter", "loss"]
InverseKind = Literal["auto", "cholesky", "cg"]

# Relative error, in the norm of H, to which an iterative solve is brought.
SOLVE_TOLERANCE = 1e-10


class Inverse(ABC):
    """H^-1 of one objective at one theta, in scaled parameters.

    Every method that takes a clock raises `TimeIsUp` soon after the clock's deadline.
    """

    def __init__(self, objective: HeadObjective, theta: Tensor) -> None:
        self.scale = objective.scale.repeat(objective.num_free)
        # The clock is that of the call that prepares the inverse; later calls bring their own.
        self._objective, self._theta = objective.timed(NO_CLOCK), theta

    @cached_property
    def _outputs(self) -> Any:
        return self._objective.all_outputs(self._theta)

    def multiply(self, columns: Tensor, *, clock: Clock = NO_CLOCK) -> Tensor:
        """H times columns, exactly, by products with the features."""
        return self._objective.timed(clock).multiply(self._theta, columns, self._outputs)

    @abstractmethod
    def solve(
        self, columns: Tensor, *, tolerance: float = SOLVE_TOLERANCE, clock: Clock = NO_CLOCK
    ) -> Tensor:
        """H^-1 times columns, shape (d, k), all in scaled parameters."""

    @abstractmethod
    def half(self, columns: Tensor, *, transposed: bool = False, clock: Clock = NO_CLOCK) -> Tensor:
        """L^-1, or L^-T, times columns, shape (d, k), where H = L L^T."""

    def root(self, columns: Tensor, *, transposed: bool = False, clock: Clock = NO_CLOCK) -> Tensor:
        """L^T, or L, times columns, shape (d, k): ||L^T x||^2 = x^T H x."""
        if transposed:
            return self.multiply(self.half(columns, transposed=True, clock=clock), clock=clock)
        return self.half(self.multiply(columns, clock=clock), clock=clock)

    def precondition(self, columns: Tensor, *, clock: Clock = NO_CLOCK) -> Tensor:
        """Apply what is near H^-1 and cheap: of direct solvers, H^-1 itself."""
        return self.solve(columns, clock=clock)

    def move(self, theta: Tensor) -> Inverse:
        """Give what serves best for a step from a theta nearby, and costs nothing: itself."""
        return self

    def weakest_direction(self, kept: Inverse, *, clock: Clock = NO_CLOCK) -> tuple[float, Tensor]:
        """Least v^T H_K v / v^T H v over all v, and that v, shape (d,).

        ``kept`` is the inverse of H_K.
        """
        products = partial(kept.multiply, clock=clock), partial(self.multiply, clock=clock)
        if kept.is_exact:
            solve = partial(kept.solve, tolerance=1e-6, clock=clock)
            return weakest_by_solves(*products, solve, self.scale, clock)
        near = partial(kept.precondition, clock=clock)
        return weakest_by_products(*products, near, self.scale, clock)

    def smallest_eigenvalue(self, *, clock: Clock = NO_CLOCK) -> float:
        """Smallest eigenvalue of H in the user's parameters, from above, by Lanczos on H^-1."""
        from scipy.sparse.linalg import LinearOperator, eigsh

        def apply(vector: np.ndarray) -> np.ndarray:
            column = torch.as_tensor(vector.ravel(), device=self.scale.device) / self.scale
            solved = self.solve(column[:, None], clock=clock)[:, 0]
            out: np.ndarray = (solved / self.scale).cpu().numpy()
            return out

        d = len(self.scale)
        start = np.random.default_rng(0).standard_normal(d)
        operator = LinearOperator((d, d), matvec=apply, dtype=np.float64)
        largest = eigsh(operator, k=1, v0=start, tol=1e-3, return_eigenvectors=False)
        return 1 / float(largest[0])

    @property
    @abstractmethod
    def is_exact(self) -> bool:
        """Whether solves are direct: then single rows of S are cheap enough to be asked for."""

    def influence(
        self,
        columns: Tensor,
        metric: Metric,
        whole: Inverse | None = None,
        *,
        clock: Clock = NO_CLOCK,
    ) -> Tensor:
        """Turn gradients by the scaled parameters, shape (d, k), into rows of S, as columns.

        H^-1 g in the user's parameters for the metric ``"parameter"``, L^-1 g for ``"loss"``; or
        L^T H^-1 g, where L L^T is not H but the Hessian whose inverse is ``whole``.
        """
        if metric == "parameter":
            return self.solve(columns, clock=clock).div_(self.scale[:, None])
        if whole is None or whole is self:
            return self.half(columns, clock=clock)
        return whole.root(self.solve(columns, clock=clock), clock=clock)

    def transposed(self, columns: Tensor, metric: Metric, whole: Inverse | None = None) -> Tensor:
        """Apply the transpose of `influence` to directions in the space of the rows of S."""
        if metric == "parameter":
            return self.solve(columns / self.scale[:, None])
        if whole is None or whole is self:
            return self.half(columns, transposed=True)
        return self.solve(whole.root(columns, transposed=True))

"""The Cholesky factor of a Hessian, and what is solved with it."""

from __future__ import annotations

import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.inverse import SOLVE_TOLERANCE, Inverse
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.triangles import factor_in_place, solve_lower, solve_upper
from subsetsel.influence.head.weakest import weakest_by_lanczos
from subsetsel.support.clock import NO_CLOCK, Clock

SINGULAR = (
    "the Hessian of the head is singular in float64: columns of X are so nearly dependent, and so "
    "large, that l2 does not count beside them. Standardize or scale the features, drop copies of "
    "columns, or raise l2."
)

# Up to this side, computing all eigenvalues is the cheapest way to one.
_MAX_SPECTRUM = 400


class Factor(Inverse):
    """H = L L^T in float64; where H repeats one block, L is the factor of that block.

    A Hessian that is not positive definite in float64 is a ProblemError: nothing is added to it
    silently.

    Parameters
    ----------
    objective : HeadObjective
    theta : Tensor of shape (C, q)
        Scaled parameters.
    lower : Tensor, optional
        L, where it is known.
    """

    is_exact = True

    def __init__(
        self, objective: HeadObjective, theta: Tensor, lower: Tensor | None = None
    ) -> None:
        super().__init__(objective, theta)
        if lower is not None:
            self.lower = lower
            return
        self.lower = objective.hessian(theta)
        if not factor_in_place(self.lower, objective.clock):
            raise ProblemError(SINGULAR)

    def solve(
        self, columns: Tensor, *, tolerance: float = SOLVE_TOLERANCE, clock: Clock = NO_CLOCK
    ) -> Tensor:
        """H^-1 times columns; two triangular solves are exact up to rounding at any tolerance."""
        half = solve_lower(self.lower, self._to_blocks(columns), clock)
        return self._from_blocks(solve_upper(self.lower, half, clock))

    def half(self, columns: Tensor, *, transposed: bool = False, clock: Clock = NO_CLOCK) -> Tensor:
        """L^-1, or L^-T, times columns."""
        solve = solve_upper if transposed else solve_lower
        return self._from_blocks(solve(self.lower, self._to_blocks(columns), clock))

    def root(self, columns: Tensor, *, transposed: bool = False, clock: Clock = NO_CLOCK) -> Tensor:
        """L^T, or L, times columns."""
        clock.check()
        lower = self.lower if transposed else self.lower.T
        return self._from_blocks(lower @ self._to_blocks(columns))

    def _to_blocks(self, columns: Tensor) -> Tensor:
        """Put the parts that belong to the repeated block side by side, shape (s, k d / s)."""
        side = len(self.lower)
        if len(columns) == side:
            return columns
        return columns.reshape(-1, side, columns.shape[1]).transpose(0, 1).reshape(side, -1)

    def _from_blocks(self, blocks: Tensor) -> Tensor:
        side, d = len(self.lower), len(self.scale)
        if side == d:
            return blocks
        return blocks.reshape(side, d // side, -1).transpose(0, 1).reshape(d, -1)

    def weakest_direction(self, kept: Inverse, *, clock: Clock = NO_CLOCK) -> tuple[float, Tensor]:
        """Smallest eigenvalue of L^-1 H_K L^-T, and v = L^-T z for its eigenvector z."""
        if not isinstance(kept, Factor):
            return super().weakest_direction(kept, clock=clock)
        if len(self.lower) <= _MAX_SPECTRUM:
            ratio = torch.linalg.solve_triangular(kept.lower, self.lower, upper=False)
            values, vectors = torch.linalg.eigh(ratio.T @ ratio)
            value, z = 1 / float(values[-1]), vectors[:, -1]
        else:
            value, z = weakest_by_lanczos(self.lower, kept.lower, clock)
        v = solve_upper(self.lower, z[:, None], clock)[:, 0]
        # Where all classes have the same block, the eigenvector of one block serves for all.
        return value, torch.nn.functional.pad(v, (0, len(self.scale) - len(v)))

"""Curvature retention as linear constraints on W, which are added where they are broken.

The kept examples must hold a share of the objective's curvature along a direction V:

    sum_{i kept} c_i(V) / w_K  >=  share * sum_i c_i(V) / w,

with c_i(V) the second derivative of example i's part of the objective (`Head.curvature_along`) and
w_K, w the total weights of the kept and of all examples (their numbers, where there are no sample
weights). The inequality is linear in W and the same at every size. If it holds for all V, the
smallest eigenvalue of L^-1 H_K L^-T is at least the share. It is demanded only of those V that turn
out to be short of it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.problem.constraints import LinearConstraint
from subsetsel.rows.base import BoolArray, FloatArray
from subsetsel.support.background import beside_clock
from subsetsel.support.clock import NO_CLOCK, Clock

if TYPE_CHECKING:
    from torch import Tensor

    from subsetsel.influence.head.head import Head


def curvature_cut(
    head: Head, direction: ArrayLike, share: float, *, clock: Clock = NO_CLOCK
) -> LinearConstraint:
    """Keep at least a share of the curvature along one direction V of shape (C, q), of any length.

    sum_i W_i (c_i - share w_i c / w) <= (1 - share) c with c = sum_i c_i, divided by c. `TimeIsUp`
    is raised at the end of a clock.
    """
    along = head.curvature_along(direction, clock=clock)
    total = float(along.sum())
    given = head.objective_function.weights
    weights: FloatArray = np.ones(head.n) if given is None else given.cpu().numpy()
    coefficients = (along - share * total * weights / weights.sum()) / total
    return LinearConstraint(coefficients, None, 1.0 - share, f"curvature kept, {share:.3g}")


def weak_directions(
    head: Head, kept_mask: BoolArray, share: float, *, most: int = 1, clock: Clock = NO_CLOCK
) -> list[FloatArray]:
    """Directions, shape (C, q), along which the kept examples hold less than a share.

    The weakest comes first, and at most ``most`` come back; where H is not factored, only the
    weakest is known. `TimeIsUp` is raised at the end of a clock.
    """
    import torch

    from subsetsel.influence.head.cholesky import Factor

    kept = head.kept(kept_mask, clock=clock)
    full, part = head.prepare_inverse(clock), kept.inverse
    if most == 1 or not (isinstance(full, Factor) and isinstance(part, Factor)):
        value, direction = kept.weakest_direction()
        return [direction] if value < share else []
    # One call of LAPACK, which for many parameters takes minutes.
    values, vectors = beside_clock(partial(_spectrum, full.lower, part.lower), clock)
    basis = kept.objective_function.basis
    short = [k for k in range(min(most, len(values))) if values[k] < share]
    # Where H is one block, repeated for each output, a direction of the first block stands for all.
    missing = vectors.new_zeros(len(full.scale) - len(full.lower))
    return [
        head.to_user(basis @ torch.cat([vectors[:, k], missing]).reshape(basis.shape[1], -1))
        for k in short
    ]


def _spectrum(full: Tensor, kept: Tensor) -> tuple[FloatArray, Tensor]:
    """Eigenvalues of L^-1 H_K L^-T, ascending, and L^-T times its eigenvectors."""
    import torch

    ratio = torch.linalg.solve_triangular(full, kept, upper=False)
    values, vectors = torch.linalg.eigh(ratio @ ratio.T)
    return values.cpu().numpy(), torch.linalg.solve_triangular(full.T, vectors, upper=True)

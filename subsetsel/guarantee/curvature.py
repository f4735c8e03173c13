"""Curvature retention as linear constraints on W, added where they are found to be broken.

The kept examples must hold a share of the objective's curvature along a direction V:

    sum_{i kept} c_i(V) / w_K  >=  share * sum_i c_i(V) / w,

with c_i(V) the second derivative of example i's part of the objective (`Head.curvature_along`) and
w_K, w the weights of the kept and of all examples (their numbers, without sample weights). That is
linear in W and the same at every size. Asked of all V it says that the smallest eigenvalue of
L^-1 H_K L^-T is at least the share; it is asked of those V only that turn out to be short of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.problem.constraints import LinearConstraint
from subsetsel.rows.base import BoolArray, FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from subsetsel.influence.head.head import Head


def curvature_cut(head: Head, direction: ArrayLike, share: float) -> LinearConstraint:
    """Keep at least a share of the curvature along one direction.

    Parameters
    ----------
    head : Head
    direction : array_like of shape (C, q)
        V; its length does not matter.
    share : float
        Between 0 and 1.

    Returns
    -------
    LinearConstraint
        sum_i W_i (c_i - share w_i c / w) <= (1 - share) c with c = sum_i c_i, divided by c.
    """
    along = head.curvature_along(direction)
    total = float(along.sum())
    weights = _weights(head)
    coefficients = (along - share * total * weights / weights.sum()) / total
    return LinearConstraint(coefficients, None, 1.0 - share, f"curvature kept, {share:.3g}")


def weak_directions(
    head: Head, kept_mask: BoolArray, share: float, *, most: int = 1
) -> list[FloatArray]:
    """Directions along which the kept examples hold less than a share, weakest first.

    Parameters
    ----------
    head : Head
    kept_mask : ndarray of shape (n,), bool
        True means kept.
    share : float
    most : int
        Return at most so many; where H is not factored, only the weakest is known.

    Returns
    -------
    list of ndarray of shape (C, q)
    """
    from subsetsel.influence.head.cholesky import Factor

    kept = head.kept(kept_mask)
    full, part = head.inverse, kept.inverse
    if most == 1 or not (isinstance(full, Factor) and isinstance(part, Factor)):
        value, direction = kept.weakest_direction()
        return [direction] if value < share else []
    values, vectors = _spectrum(full.lower, part.lower)
    basis = kept.objective_function.basis
    short = [k for k in range(min(most, len(values))) if values[k] < share]
    padding = (0, len(full.scale) - len(full.lower))
    return [
        head.to_user(basis @ _pad(vectors[:, k], padding).reshape(basis.shape[1], -1))
        for k in short
    ]


def _spectrum(full: Tensor, kept: Tensor) -> tuple[FloatArray, Tensor]:
    """Eigenvalues of L^-1 H_K L^-T, ascending, and L^-T times its eigenvectors."""
    import torch

    ratio = torch.linalg.solve_triangular(full, kept, upper=False)
    values, vectors = torch.linalg.eigh(ratio @ ratio.T)
    return values.cpu().numpy(), torch.linalg.solve_triangular(full.T, vectors, upper=True)


def _pad(vector: Tensor, padding: tuple[int, int]) -> Tensor:
    import torch

    return torch.nn.functional.pad(vector, padding)


def kept_share(head: Head, direction: ArrayLike, kept_mask: BoolArray) -> float:
    """V^T H_K V / V^T H V: the share of the curvature along V that is kept.

    Parameters
    ----------
    head : Head
    direction : array_like of shape (C, q)
    kept_mask : ndarray of shape (n,), bool
        True means kept.

    Returns
    -------
    float
    """
    along, weights = head.curvature_along(direction), _weights(head)
    mean = float(along[kept_mask].sum() / weights[kept_mask].sum())
    return mean / float(along.sum() / weights.sum())


def _weights(head: Head) -> FloatArray:
    given = head.objective_function.weights
    if given is None:
        return np.ones(head.n)
    weights: FloatArray = given.cpu().numpy()
    return weights

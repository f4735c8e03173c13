"""The curvature of a network in chosen parameters, and two ways to solve with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.device import algebra_device
from subsetsel.influence.head.conjugate_gradients import conjugate_gradients
from subsetsel.influence.head.inverse import SOLVE_TOLERANCE
from subsetsel.influence.head.triangles import factor_in_place, solve_lower, solve_upper
from subsetsel.influence.network.network import CHUNK_BYTES, Network
from subsetsel.rows.base import IndexArray
from subsetsel.support.clock import NO_CLOCK, Clock

Curvature = Literal["gauss-newton", "hessian"]


@dataclass(frozen=True, eq=False)
class Pass:
    """What one walk through the data gives.

    Attributes
    ----------
    gradient : Tensor of shape (d,)
        Mean gradient of the loss.
    curvature : Tensor of shape (d, d) or (d,)
        Mean curvature, or its diagonal.
    labels : ndarray of shape (n,), int64
    """

    gradient: Tensor
    curvature: Tensor
    labels: IndexArray


def walk_through(
    network: Network,
    kind: Literal["gauss-newton", "hessian", "diagonal"],
    *,
    clock: Clock = NO_CLOCK,
) -> Pass:
    """Sum gradients and curvature, or the Gauss-Newton matrix's diagonal, over all examples.

    Raises
    ------
    ProblemError
        If a label is outside the model's width, or the gradients of an example are not finite.
    """
    home = algebra_device(network.device)
    d = len(network.theta)
    gradient = torch.zeros(d, dtype=torch.float64, device=home)
    shape = (d,) if kind == "diagonal" else (d, d)
    total = torch.zeros(shape, dtype=torch.float64, device=home)
    labels: list[np.ndarray] = []
    done = 0
    for batch in network.batches():
        clock.check()
        width = network.num_classes(batch)
        bad = torch.nonzero((batch.labels < 0) | (batch.labels >= width)).flatten()
        if len(bad):
            raise ProblemError(
                f"example {done + int(bad[0])} has the label {int(batch.labels[bad[0]])}, but the "
                f"model tells {width} classes apart, 0 to {width - 1}."
            )
        ones = torch.ones((1, len(batch.labels)))
        sums = network.gradient_sums(batch, ones)[0].to(home)
        if not bool(torch.isfinite(sums).all()):
            raise ProblemError(
                f"the gradients of examples {done} to {done + len(batch.labels) - 1} hold a NaN or "
                "an infinity; look at these inputs, or at the model's weights."
            )
        gradient += sums
        if kind == "hessian":
            total += network.hessians(batch).to(home)
        else:
            for part in batch.split(max(1, CHUNK_BYTES // (8 * width * d))):
                clock.check()
                factors = network.curvature_factors(part).to(home).reshape(-1, d)
                if kind == "diagonal":
                    total += factors.square().sum(dim=0)
                else:
                    total.addmm_(factors.T, factors)
        labels.append(batch.labels.numpy())
        done += len(batch.labels)
    if done != network.data.n:
        raise ProblemError(
            f"the data set says it has {network.data.n} examples but yielded {done}."
        )
    return Pass(gradient / done, total.div_(done), np.concatenate(labels))


class NetworkFactor:
    """The Cholesky factor of the curvature, which is overwritten, plus a multiple of the identity.

    ``shift`` is l2 plus damping. A sum that is not positive definite in float64 is a ProblemError.
    """

    is_exact = True

    def __init__(self, curvature: Tensor, shift: float, *, clock: Clock = NO_CLOCK) -> None:
        curvature.diagonal().add_(shift)
        if not factor_in_place(curvature, clock):
            raise ProblemError(
                f"the curvature plus l2 and damping ({shift:g}) is not positive definite: away "
                "from a minimum a network's Hessian need not be. Use curvature='gauss-newton', or "
                "raise damping."
            )
        self._lower = curvature

    def solve(
        self, columns: Tensor, *, tolerance: float = SOLVE_TOLERANCE, clock: Clock = NO_CLOCK
    ) -> Tensor:
        """H^-1 times columns, shape (d, k); ``tolerance`` is not needed."""
        half = self.half(columns, clock=clock)
        return self.half(half, transposed=True, clock=clock)

    def half(self, columns: Tensor, *, transposed: bool = False, clock: Clock = NO_CLOCK) -> Tensor:
        """L^-1, or L^-T, times columns, shape (d, k), where H = L L^T."""
        solve = solve_upper if transposed else solve_lower
        return solve(self._lower, columns.to(self._lower.device), clock)


class NetworkProducts:
    """Conjugate gradients on products with the Gauss-Newton matrix.

    The preconditioner is the diagonal of the mean Gauss-Newton matrix plus ``shift``, which is l2
    plus damping.
    """

    is_exact = False

    def __init__(self, network: Network, diagonal: Tensor, shift: float) -> None:
        self._network, self._shift = network, shift
        self._inverse_diagonal = 1.0 / (diagonal + shift)

    def multiply(self, columns: Tensor, *, clock: Clock = NO_CLOCK) -> Tensor:
        """(Gauss-Newton matrix + shift) times columns: one walk through the data."""
        total = torch.zeros_like(columns)
        for batch in self._network.batches():
            clock.check()
            total += self._network.multiply(batch, columns).to(columns.device)
        return total.div_(self._network.data.n).add_(columns, alpha=self._shift)

    def solve(
        self, columns: Tensor, *, tolerance: float = SOLVE_TOLERANCE, clock: Clock = NO_CLOCK
    ) -> Tensor:
        """H^-1 times columns, shape (d, k)."""
        # Products are rounded as the model is: a float32 model allows no more than its digits.
        floor = max(torch.finfo(value.dtype).eps for value in self._network.parameters.values())
        return conjugate_gradients(
            partial(self.multiply, clock=clock),
            lambda residual: self._inverse_diagonal[:, None] * residual,
            columns.to(self._inverse_diagonal.device),
            max(tolerance, 10 * floor),
            cure="Raise l2 or damping, choose fewer parameters, or give the model as .double().",
            clock=clock,
        )

    def half(self, columns: Tensor, *, transposed: bool = False, clock: Clock = NO_CLOCK) -> Tensor:
        """Refuse: there is no factor L."""
        raise ProblemError(
            "metric='loss' needs a factor of the curvature; choose fewer parameters."
        )


def make_solver(
    network: Network, curvature: Tensor, shift: float, *, clock: Clock = NO_CLOCK
) -> NetworkFactor | NetworkProducts:
    """Solve by a factor where the curvature is a matrix, else by products, given its diagonal."""
    if curvature.dim() == 2:
        return NetworkFactor(curvature, shift, clock=clock)
    return NetworkProducts(network, curvature, shift)

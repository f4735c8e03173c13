"""S of a head as a formula: residuals, features, and one solve."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from subsetsel.influence.device import block_sizes
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.ekfac import KroneckerInverse
from subsetsel.influence.head.expansion import Expansion
from subsetsel.influence.head.head import Head
from subsetsel.influence.head.inverse import Inverse, Metric
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.rows.base import AnyFloatArray, FloatArray, IndexArray
from subsetsel.rows.kronecker import KroneckerRows
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import by_blocks, map_blocks

Ridge = Literal["included", "excluded"]


@dataclass(frozen=True, eq=False)
class Point:
    """Where and how rows are taken.

    Attributes
    ----------
    theta : Tensor of shape (C, q)
        Scaled parameters.
    inverse : Inverse
        Of the Hessian there.
    metric : {"parameter", "loss"}
    whole : Inverse
        Of the Hessian on all examples, which the metric "loss" measures with.
    constant : Tensor of shape (d,), optional
        What is added to the gradient of each example, times its share of the weight.
    """

    theta: Tensor
    inverse: Inverse
    metric: Metric
    whole: Inverse
    constant: Tensor | None

    @classmethod
    @by_blocks()
    def of_head(
        cls,
        head: Head,
        *,
        ridge: Ridge,
        metric: Metric,
        around: tuple[Expansion, int] | None = None,
        clock: Clock = NO_CLOCK,
    ) -> Self:
        """Expand around no set, or around a pruned one for so many; see `influence_rows`."""
        objective = head.objective_function.timed(clock)
        theta = head.to_scaled(head.theta) if around is None else around[0].theta
        inverse = head.prepare_inverse(clock) if around is None else around[0].inverse
        # The loss is that of all examples, wherever the rows are expanded.
        whole = head.prepare_inverse(clock) if metric == "loss" else inverse
        constant: Tensor | None = None
        if ridge == "included":
            constant = (objective.basis.T @ (objective.ridge * theta)).reshape(-1)
        if around is not None:
            expansion, size = around
            assert constant is not None
            pruned = torch.as_tensor(expansion.pruned.copy(), device=objective.X.device).double()
            shares = objective.ones() / objective.total
            gradient = objective.gradient_of(theta, pruned) + (pruned @ shares) * constant
            constant = constant + expansion.constant(gradient, shares, size)
        return cls(theta, inverse, metric, whole, constant)


class HeadInfluence:
    """S = (1/n) H^-1 applied to each example's gradient, as a formula.

    The gradient of example i is r_i (x) x_i, r_i = Q^T (p_i - e_{y_i}), plus l2 theta with the
    ridge included, so the n (C - 1) + n q numbers in R and X say everything about n x d gradients.
    With sample weights w_i / sum w stands for 1/n.

    Parameters
    ----------
    objective : HeadObjective
        Of all examples, or of those of one shard.
    point : Point
    residuals : Tensor of shape (n, m), optional
        `HeadObjective.basis_residuals`, where they are known.
    clock : Clock
        Ends the preparation: `TimeIsUp` is raised.

    Attributes
    ----------
    shape : tuple of int
        (n, d) with d = (C - 1) q.
    R : Tensor of shape (n, m)
        Residuals in the class basis, times w_i / sum w.
    X : Features of shape (n, q)
    shares : Tensor of shape (n,)
        w_i / sum w.
    """

    @by_blocks()
    def __init__(
        self,
        objective: HeadObjective,
        point: Point,
        residuals: Tensor | None = None,
        clock: Clock = NO_CLOCK,
    ) -> None:
        self.objective, self.X = objective, objective.X
        self.theta, self.inverse = point.theta, point.inverse
        self.metric, self._whole, self.constant = point.metric, point.whole, point.constant
        self.shape = (objective.n, objective.d)
        self.shares = objective.ones() / objective.total
        if residuals is None:
            residuals = objective.timed(clock).basis_residuals(point.theta)
        self.R = residuals

    def __sizeof__(self) -> int:
        # What it takes to send it, for an engine that decides where tasks run.
        return object.__sizeof__(self) + sys.getsizeof(self.objective) + self.R.nbytes

    @by_blocks()
    def rows(self, indices: IndexArray | slice) -> FloatArray:
        """Chosen rows of S, shape (k, d), float64, by one solve."""
        return _to_numpy(self._influence(self.gradients(indices)).T)

    def walk(self, *, clock: Clock = NO_CLOCK) -> Iterator[Tensor]:
        """Rows of S in order, a block at a time, float64."""

        def find(start: int) -> Tensor:
            clock.check()
            rows = slice(start, min(start + self.block_size, self.shape[0]))
            return self._influence(self.gradients(rows), clock).T

        # Of an iterative inverse each product is shared out already.
        flops = 2 * self.shape[0] * self.shape[1] * self.objective.block_side
        return map_blocks(
            find,
            range(0, self.shape[0], self.block_size),
            flops=flops if self.is_exact else 0,
            is_cpu=self.objective.is_cpu,
        )

    def gradients(self, indices: IndexArray | slice) -> Tensor:
        """Share of chosen examples in the scaled objective's gradient, as columns."""
        chosen = indices if isinstance(indices, slice) else torch.as_tensor(indices)
        R, X = self.R[chosen], self.X[chosen].dense()
        gradients = torch.einsum("ia,ij->aji", R, X).reshape(self.shape[1], len(R))
        if self.constant is not None:
            gradients += self.constant[:, None] * self.shares[chosen]
        return gradients

    @by_blocks()
    def sums(self, weights: FloatArray) -> FloatArray:
        """S^T w for several w, shape (k, n): one product with the features each, one solve."""
        columns = self.R.new_empty((self.shape[1], len(weights)))
        for k, row in enumerate(torch.as_tensor(weights, device=self.X.device)):
            columns[:, k] = self._gradient(row)
        return _to_numpy(self._influence(columns).T)

    def _influence(self, gradients: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
        """Turn gradients, as columns, into rows of S."""
        return self.inverse.influence(gradients, self.metric, self._whole, clock=clock)

    def _gradient(self, weights: Tensor) -> Tensor:
        """Share of weighted examples (n,) in the scaled objective's gradient, shape (d,)."""
        total = self.objective.sum_of(self.R, weights)
        if self.constant is not None:
            total += (weights @ self.shares) * self.constant
        return total

    @by_blocks()
    def products(self, directions: FloatArray) -> FloatArray:
        """S u for several u, shape (k, d): one solve, one product with the features each."""
        columns = torch.as_tensor(directions, device=self.X.device).T
        solved = self.inverse.transposed(columns, self.metric, self._whole)
        out = self.R.new_empty((len(directions), self.shape[0]))
        for k, column in enumerate(solved.T):
            blocks = column.reshape(self.R.shape[1], self.X.shape[1])
            out[k] = ((self.X @ blocks.T) * self.R).sum(dim=1)
            if self.constant is not None:
                out[k] += (column @ self.constant) * self.shares
        return _to_numpy(out)

    @cached_property
    @by_blocks()
    def proxy(self) -> KroneckerRows:
        """S under a Hessian that is diagonal in the E-KFAC eigenbasis: rows without a solve."""
        known = self.inverse.guess if isinstance(self.inverse, IterativeInverse) else None
        if isinstance(known, KroneckerInverse):
            guess = known
        else:
            guess = KroneckerInverse(self.objective, self.theta)
        constant = self.R.new_zeros(guess.inverse_values.shape)
        if self.constant is not None:
            constant = self.constant.reshape(constant.shape)
        return KroneckerRows(
            left=_to_numpy((self.R @ guess.class_vectors).float()),
            right=guess.turn(self.X).single(),
            values=_to_numpy(guess.row_lengths(self.inverse)),
            shares=_to_numpy(self.shares),
            constant=_to_numpy(
                guess.into_vectors(guess.class_vectors.T @ constant * self.objective.scale)
            ),
        )

    @property
    def is_exact(self) -> bool:
        """Whether single rows are cheap enough to be asked for."""
        return self.inverse.is_exact

    @property
    def block_size(self) -> int:
        """Examples whose rows are solved for at a time."""
        length = block_sizes(self.X.device).block_bytes // (8 * self.shape[1])
        return max(1, min(self.shape[0], length))


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    array: AnyFloatArray = tensor.contiguous().cpu().numpy()
    return array

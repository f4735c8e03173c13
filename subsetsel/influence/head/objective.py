"""The training objective of a linear head: value, gradient, and a bound on their rounding.

Inside, columns are divided by powers of two that equilibrate the Hessian. That is exact in binary,
the ridge stays on the user's parameters, and a column of size 1e6 does no harm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from subsetsel.influence.device import block_sizes
from subsetsel.influence.head.examples import Examples
from subsetsel.influence.head.features import DenseFeatures, Features, SparseFeatures
from subsetsel.influence.head.grams import eigenvectors
from subsetsel.influence.head.parameters import Parameters
from subsetsel.influence.head.setting import Evaluation, Setting

UNIT = float(np.finfo(np.float64).eps) / 2


class HeadObjective(Examples, Parameters, ABC):
    """F(theta) = sum_i w_i loss_i / sum_i w_i + (l2 / 2) ||theta||^2.

    Parameters
    ----------
    X : Features of shape (n, q)
        With the bias column, divided by ``scale``.
    labels : Tensor of shape (n,), int64
    scale : Tensor of shape (q,)
        Powers of two: scaled parameters are the user's times ``scale``.
    setting : Setting
    weights : Tensor of shape (n,), float64, optional
        w, positive; ones without it.
    """

    in_shards = False
    """Whether the examples lie in shards: then only their sums are here."""

    def __init__(
        self,
        X: Features,
        labels: Tensor,
        scale: Tensor,
        setting: Setting,
        weights: Tensor | None = None,
    ) -> None:
        Examples.__init__(self, X, weights)
        Parameters.__init__(self, scale, setting)
        self.labels = labels
        # All examples, where this is made of some of them.
        self._whole: HeadObjective | None = None
        # Shared with the copies that `timed` makes.
        self._known: dict[str, Tensor] = {}

    @classmethod
    def from_arrays(
        cls,
        features: Any,
        labels: np.ndarray,
        *,
        setting: Setting,
        weights: np.ndarray | None = None,
        device: torch.device,
    ) -> Self:
        """Append the bias, choose the scale, move to the device."""
        X: Features
        if isinstance(features, np.ndarray):
            X, scale = DenseFeatures.scaled(features, setting.l2, device)
        else:
            X, scale = SparseFeatures.scaled(features, setting.l2)
        codes = torch.as_tensor(labels, device=device)
        w = None if weights is None else torch.as_tensor(weights, device=device)
        return cls(X, codes, scale, setting, w)

    def restrict(self, mask: np.ndarray) -> Self:
        """Take the mean over the examples of a Boolean mask only."""
        chosen = torch.as_tensor(np.flatnonzero(mask), device=self.X.device)
        weights = None if self.weights is None else self.weights[chosen]
        part = type(self)(self.X[chosen], self.labels[chosen], self.scale, self.setting, weights)
        part._whole = self._whole or self
        return part

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that the examples take."""
        return int(8 * self.n * (self.q * self.X.filled + 1))

    def __sizeof__(self) -> int:
        # What an engine that asks Python learns.
        return object.__sizeof__(self) + self.held_bytes

    # --- what a loss defines ----------------------------------------------------------------------

    @abstractmethod
    def outputs(self, theta: Tensor, rows: slice) -> Tensor:
        """Compute what is compared with the targets: probabilities for the softmax, (rows, C)."""

    @abstractmethod
    def losses_and_residuals(self, theta: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Unweighted losses, shape (rows,), and their gradients by the logits, (rows, C)."""

    @abstractmethod
    def output_error(self, outputs: Tensor, logit_error: Tensor) -> Tensor:
        """Bound on ||computed - exact outputs|| from one on the logits, both of shape (rows,)."""

    @abstractmethod
    def curve(self, outputs: Tensor, logits: Tensor) -> Tensor:
        """Apply each example's Hessian with respect to its logits, shape (rows, k, C)."""

    @abstractmethod
    def hessian(self, theta: Tensor) -> Tensor:
        """Exact Hessian in the class basis and the scaled parameters.

        Shape (s, s), where s is `block_side`: d, or less if H repeats one block on its diagonal.
        """

    @property
    @abstractmethod
    def block_side(self) -> int:
        """Side of the matrix that `hessian` returns."""

    @abstractmethod
    def class_curvature(self, theta: Tensor) -> Tensor:
        """Mean of each example's Hessian with respect to its logits, shape (m, m)."""

    @abstractmethod
    def directional_curvature(self, outputs: Tensor, directions: Tensor) -> Tensor:
        """u^T A_i u for columns u of ``directions``, shape (m, k): shape (rows, k)."""

    # --- examples ---------------------------------------------------------------------------------

    def to_residuals(self, outputs: Tensor, rows: slice) -> Tensor:
        """Subtract the targets, in place."""
        smoothing = self.setting.label_smoothing
        if smoothing:
            outputs -= smoothing / self.num_classes
        ones = outputs.new_full((len(outputs), 1), smoothing - 1.0)
        return outputs.scatter_add_(1, self.labels[rows, None], ones)

    def residuals(self, theta: Tensor, rows: slice) -> Tensor:
        """w_i times the loss's gradient by the logits, p_i - e_{y_i} for the softmax: (rows, C)."""
        return self.weigh(rows, self.to_residuals(self.outputs(theta, rows), rows))

    def basis_residuals(self, theta: Tensor) -> Tensor:
        """`residuals` in the class basis over the total weight, of all examples: (n, m)."""
        found = torch.cat([self.residuals(theta, rows) @ self.basis for rows in self.chunks()])
        return found.div_(self.total)

    def sum_of(self, residuals: Tensor, weights: Tensor) -> Tensor:
        """Sum of w_i r_i (x) x_i, shape (d,), for r of shape (n, m) and any w of shape (n,)."""
        total = residuals.new_zeros((self.num_free, self.q))
        self.X.add_to(total, residuals * weights[:, None])
        return total.reshape(-1)

    def gradient_of(self, theta: Tensor, weights: Tensor) -> Tensor:
        """Share of weighted examples (n,) in the gradient, in the class basis: shape (d,)."""
        return self.sum_of(self.basis_residuals(theta), weights)

    def feature_vectors(self) -> Tensor | None:
        """Eigenvectors, as columns, of the second moment of the user's features, shape (q, q).

        They are found once. Those of all examples serve for the objective on some of them. None of
        sparse features, whose eigenvectors are dense, and too many: the unit vectors stand for
        them.
        """
        if self.X.is_sparse:
            return None
        whole = self._whole or self
        if "feature_vectors" not in whole._known:
            moment = self.scale[:, None] * whole.timed(self.clock).gram() * self.scale
            whole._known["feature_vectors"] = eigenvectors(moment)
        return whole._known["feature_vectors"]

    def all_outputs(self, theta: Tensor) -> Any:
        """Keep the `outputs` of all examples, for `multiply`."""
        return torch.cat([self.outputs(theta, rows) for rows in self.chunks()])

    def lengths(self, rows: slice) -> Tensor:
        """||x_i|| of the user's features, the bias among them, shape (rows,)."""
        return self.X[rows].turn(self.scale, None).norms()

    def longest(self) -> float:
        """Largest ||x_i|| of all examples."""
        return max(float(self.lengths(rows).max()) for rows in self.chunks())

    def curvature_along(self, theta: Tensor, direction: Tensor) -> Tensor:
        """Second derivative of each example's share along a direction, all scaled, shape (n,)."""
        penalty = (self.ridge * direction.square()).sum()
        parts = []
        for rows in self.chunks():
            logits = (self.X[rows] @ direction.T)[:, None, :]
            curved = self.curve(self.outputs(theta, rows), logits.clone()) * logits
            parts.append(self.weigh(rows, curved.sum(dim=(1, 2)) + penalty))
        return torch.cat(parts)

    def mean_squares(self, theta: Tensor, classes: Tensor, features: Tensor | None) -> Tensor:
        """Mean of (u_j^T A_i u_j) (v_k^T x_i)^2 over the examples, A_i that of `curve`: (m, q).

        u_j are the columns of ``classes``, v_k those of ``features``, in the user's coordinates.
        """

        def add_up(chunks: list[slice]) -> Tensor:
            total = theta.new_zeros((self.num_free, self.q))
            for rows in self.asking(chunks):
                curvature = self.directional_curvature(self.outputs(theta, rows), classes)
                squares = self.X[rows].turn(self.scale, features).square()
                squares.add_to(total, self.weigh(rows, curvature.clone()))
            return total

        values = theta.new_zeros((self.num_free, self.q))
        for part in self.parts(add_up, 2 * self.n * self.q * (self.q + 2 * self.num_classes)):
            values += part
        return values / self.total

    # --- values and derivatives -------------------------------------------------------------------

    def value_and_gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        """F and its gradient, shape (C, q), at and with respect to the scaled parameters."""

        def add_up(chunks: list[slice]) -> tuple[Tensor, Tensor]:
            loss, gradient = theta.new_zeros(()), torch.zeros_like(theta)
            for rows in self.asking(chunks):
                losses, residuals = self.losses_and_residuals(theta, rows)
                loss += self.weigh(rows, losses).sum()
                self.X[rows].add_to(gradient, self.weigh(rows, residuals))
            return loss, gradient

        loss, total = theta.new_zeros(()), torch.zeros_like(theta)
        for part, gradient in self.parts(add_up, 4 * self.n * theta.numel()):
            loss += part
            total += gradient
        value = loss / self.total + 0.5 * (self.ridge * theta.square()).sum()
        return float(value), total.div_(self.total).add_(self.ridge * theta)

    def evaluate(self, theta: Tensor) -> Evaluation:
        """F, its gradient, and a bound on the gradient's rounding error.

        Every sum of m products is off by at most m u / (1 - m u) times the sum of their absolute
        values, in whatever order it is taken.
        """
        value, gradient = self.value_and_gradient(theta)
        return self.judge(theta, value, gradient, self.rounding(theta))

    def rounding(self, theta: Tensor, num_parts: int = 0) -> float:
        """Bound the rounding of the examples' share in the gradient, in the user's parameters.

        Parameters
        ----------
        theta : Tensor of shape (C, q)
        num_parts : int
            Other sums to which this one is added.
        """
        largest = float(theta.norm(dim=1).max())
        num_terms = min(self.n, self.chunk_rows) + -(-self.n // self.chunk_rows) + num_parts
        length = _gamma(num_terms + 4)

        def add_up(chunks: list[slice]) -> float:
            total = 0.0
            for rows in self.asking(chunks):
                outputs = self.outputs(theta, rows)
                delta = (self.X.row_length + 6) * UNIT * largest * self.X[rows].norms()
                error = self.output_error(outputs, delta)
                size = self.to_residuals(outputs, rows).norm(dim=1)
                weight = self.weigh(rows, error + length * (size + error))
                total += float((self.lengths(rows) * weight).sum())
            return total

        return sum(self.parts(add_up, 2 * self.n * theta.numel())) / self.total

    def judge(self, theta: Tensor, value: float, gradient: Tensor, rounding: float) -> Evaluation:
        """Add what the ridge and the final sums may lose to the `rounding` of the examples."""
        norm = float((gradient * self.scale).norm())
        rest = 4 * self.l2 * float((theta / self.scale).norm()) * UNIT
        rest += _gamma(self.num_classes * self.q + 8) * norm
        # The bound itself was computed with rounding, far less than 5 % of it.
        return Evaluation(value, gradient, norm, 1.05 * (rounding + rest))

    def multiply(self, theta: Tensor, columns: Tensor, outputs: Any = None) -> Tensor:
        """H times columns, shape (d, k), without H: two products with the features.

        Where many products are wanted at one theta, give what `all_outputs` gave there.
        """
        k, m, q, C = columns.shape[1], self.num_free, self.q, self.num_classes
        # Between the products all C classes are used: that saves two small products per example.
        lifted = self.lift(columns.T.reshape(k, m, q).transpose(0, 1).reshape(m, k * q))
        lifted = lifted.reshape(C, k, q).transpose(0, 1).reshape(k * C, q)

        def add_up(chunks: list[slice]) -> Tensor:
            out = torch.zeros_like(lifted)
            for rows in self.asking(chunks):
                X = self.X[rows]
                logits = (X @ lifted.T).reshape(-1, k, C)
                found = self.outputs(theta, rows) if outputs is None else outputs[rows]
                curved = self.weigh(rows, self.curve(found, logits))
                X.add_to(out, curved.reshape(-1, k * C))
            return out

        length = block_sizes(self.X.device).chunk_bytes // (8 * (self.X.row_length + 3 * k * C))
        length = max(64, min(self.chunk_rows, length))
        out = torch.zeros_like(lifted)
        for part in self.parts(add_up, 4 * self.n * lifted.numel(), length=length):
            out += part
        out = self.reduce(out.reshape(k, C, q).transpose(0, 1).reshape(C, k * q)).div_(self.total)
        out = out.reshape(m, k, q).transpose(1, 2).reshape(m * q, k)
        return out + columns * self.ridge.repeat(m)[:, None]


def _gamma(length: int) -> float:
    return length * UNIT / (1 - length * UNIT)

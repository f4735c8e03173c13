"""The two losses of a head: softmax cross-entropy and squared error."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.objective import UNIT, HeadObjective
from subsetsel.support.threads import run_blocks

Loss = Literal["cross_entropy", "squared"]


class SoftmaxObjective(HeadObjective):
    """loss_i = -sum_c t_ic log softmax(theta x_i)_c, with targets t_i."""

    @staticmethod
    def class_basis(num_classes: int) -> Tensor:
        """Sum-zero basis of the classes; see `sum_zero_basis`."""
        return sum_zero_basis(num_classes)

    def lift(self, reduced: Tensor) -> Tensor:
        """As in `HeadObjective`, by sums over the classes instead of a matrix of C^2 numbers."""
        a, lengths = self._steps()
        scaled = reduced / lengths
        out = reduced.new_zeros((self.num_classes, reduced.shape[1]))
        out[:-1] = scaled.flip(0).cumsum(dim=0).flip(0)
        out[1:] -= a * scaled
        return out

    def reduce(self, numbers: Tensor) -> Tensor:
        """As in `HeadObjective`, in the same way."""
        a, lengths = self._steps()
        return (numbers.cumsum(dim=0)[:-1] - a * numbers[1:]).div_(lengths)

    def _steps(self) -> tuple[Tensor, Tensor]:
        """Column a of the basis, 1 to C - 1, is 1 in a classes, -a in the next, then scaled."""
        a = torch.arange(1.0, self.num_classes, dtype=torch.float64, device=self.X.device)[:, None]
        return a, (a * (a + 1)).sqrt()

    def outputs(self, theta: Tensor, rows: slice) -> Tensor:
        """Probabilities."""
        return torch.softmax(self.X[rows] @ theta.T, dim=1)

    def losses_and_residuals(self, theta: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each example, and p - t."""
        log_p = torch.log_softmax(self.X[rows] @ theta.T, dim=1)
        own = log_p.gather(1, self.labels[rows, None])[:, 0]
        smoothing = self.setting.label_smoothing
        if smoothing:
            own = (1 - smoothing) * own + smoothing * log_p.mean(dim=1)
        return -own, self.to_residuals(log_p.exp_(), rows)

    def output_error(self, outputs: Tensor, logit_error: Tensor) -> Tensor:
        """Logits off by at most delta move p by at most p (1 - p) (exp(2 delta) - 1)."""
        own = (self.num_classes + 16) * UNIT
        moved = ((outputs * (1 - outputs)).norm(dim=1) + own) * torch.expm1(2 * logit_error)
        bound: Tensor = moved * torch.exp(2 * logit_error) + own
        return bound

    def curve(self, outputs: Tensor, logits: Tensor) -> Tensor:
        """(diag p - p p^T) z for each example."""
        centre = torch.einsum("ikc,ic->ik", logits, outputs)
        curved: Tensor = (logits - centre[:, :, None]).mul_(outputs[:, None, :])
        return curved

    def class_curvature(self, theta: Tensor) -> Tensor:
        """Mean of B^T (diag p - p p^T) B."""
        spread = self.basis.new_zeros(self.num_classes)
        mean = self.basis.new_zeros((self.num_free, self.num_free))
        for rows in self.chunks():
            p = self.outputs(theta, rows)
            projected = p @ self.basis
            mean.addmm_(projected.T, self.weigh(rows, projected.clone()))
            spread += self.weigh(rows, p).sum(dim=0)
        return (self.basis.T @ (spread[:, None] * self.basis) - mean).div_(self.total)

    def directional_curvature(self, outputs: Tensor, directions: Tensor) -> Tensor:
        """Variance of each class direction under p_i."""
        lifted = self.basis @ directions
        return outputs @ lifted.square() - (outputs @ lifted).square()

    @property
    def block_side(self) -> int:
        """d: the classes are coupled."""
        return self.d

    def hessian(self, theta: Tensor) -> Tensor:
        """Exact Hessian in the sum-zero basis, shape (d, d); parameter (a, j) has index a q + j.

        Block (a, b) is the mean of cov_{p_i}(Q_a, Q_b) x_i x_i^T.
        """
        num_free, q = self.num_free, self.q
        try:
            out = self.scale.new_zeros((num_free, q, num_free, q))
        except RuntimeError as error:
            raise ProblemError(
                f"the Hessian of {self.d:,} parameters needs {8 * self.d**2 / 2**30:.1f} GiB in "
                "float64 and its factor as much again; use inverse='cg', or reduce the number of "
                "features, for example to their principal components."
            ) from error
        p = torch.cat([self.outputs(theta, rows) for rows in self.chunks()])
        means = p @ self.basis
        variances = (p @ self.basis.square()).sub_(means.square())
        weights = self.weigh(slice(None), variances).div_(self.total)
        del p

        def fill(a: int) -> None:
            out[a, :, a, :] = self.X.gram(weights[:, a], self.clock)

        run_blocks(fill, range(num_free), flops=self.d * self.q * self.n, is_cpu=self.is_cpu)
        # For a < b column b of the basis is constant wherever column a is not zero, so that the
        # covariance of the two under p_i is a product: one number of a times one of b.
        left = self.weigh(slice(None), means / self.total)
        self.X.fill_pairs(out, left, self.basis[0] - means, self.clock)
        matrix = out.reshape(self.d, self.d)
        matrix.diagonal().add_(self.ridge.repeat(num_free))
        return matrix


class SquaredObjective(HeadObjective):
    """loss_i = ||theta x_i - t_i||^2 / 2: ridge regression on the targets."""

    @staticmethod
    def class_basis(num_classes: int) -> Tensor:
        """All directions: the outputs of the classes do not depend on each other."""
        return torch.eye(num_classes, dtype=torch.float64)

    def outputs(self, theta: Tensor, rows: slice) -> Tensor:
        """Theta x."""
        return self.X[rows] @ theta.T

    def losses_and_residuals(self, theta: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Half the squared distance to the target, and theta x - t."""
        residuals = self.to_residuals(self.outputs(theta, rows), rows)
        return 0.5 * residuals.square().sum(dim=1), residuals

    def output_error(self, outputs: Tensor, logit_error: Tensor) -> Tensor:
        """Each of C outputs has the error of a logit; subtracting the target rounds once more."""
        rounding: Tensor = 4 * UNIT * (outputs.norm(dim=1) + 1)
        return rounding + math.sqrt(self.num_classes) * logit_error

    def curve(self, outputs: Tensor, logits: Tensor) -> Tensor:
        """Return z: the Hessian is the identity."""
        return logits

    def class_curvature(self, theta: Tensor) -> Tensor:
        """Return the identity."""
        return self.basis

    def directional_curvature(self, outputs: Tensor, directions: Tensor) -> Tensor:
        """Squared length of each direction."""
        lengths: Tensor = directions.square().sum(dim=0).expand(len(outputs), -1)
        return lengths

    @property
    def block_side(self) -> int:
        """q: every class has the same block."""
        return self.q

    def hessian(self, theta: Tensor) -> Tensor:
        """X^T diag(w) X / sum w + ridge: the block of every class, shape (q, q)."""
        block = self.gram()
        block.diagonal().add_(self.ridge)
        return block


OBJECTIVES: dict[str, type[HeadObjective]] = {
    "cross_entropy": SoftmaxObjective,
    "squared": SquaredObjective,
}


def sum_zero_basis(num_classes: int) -> Tensor:
    """Orthonormal basis of the vectors over the classes that sum to zero, shape (C, C - 1).

    Softmax does not see a constant added to all logits, and at the minimizer the ridge makes that
    constant zero: gradients, H^-1 g and all their 2-norms live in this subspace.
    """
    basis = torch.zeros((num_classes, num_classes - 1), dtype=torch.float64)
    for a in range(1, num_classes):
        basis[:a, a - 1] = 1.0
        basis[a, a - 1] = -a
        basis[:, a - 1] /= (a * (a + 1)) ** 0.5
    return basis

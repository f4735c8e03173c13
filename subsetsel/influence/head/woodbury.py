"""H^-1 of a softmax head with fewer examples than parameters, by the Woodbury identity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.cholesky import SINGULAR
from subsetsel.influence.head.conjugate_gradients import conjugate_gradients
from subsetsel.influence.head.grams import weighted_gram
from subsetsel.influence.head.inverse import SOLVE_TOLERANCE, Inverse
from subsetsel.influence.head.objective import HeadObjective
from subsetsel.influence.head.triangles import factor_in_place, solve_lower, solve_upper
from subsetsel.support.background import beside_clock
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import by_blocks, run_blocks

_NUM_PROBES = 4
# Single columns may be off by so many times what random ones are.
_MARGIN = 10.0


class WoodburyInverse(Inverse):
    """Direct solves that take n d of memory and n^2 d operations, not d^2 and n d^2 + d^3 / 3.

    In all C classes, ridge included, H = D - U U^T. D has one block for each class c,
    D_c = L_c L_c^T = X^T diag(w p_c) X / sum w plus the ridge, and U one column
    sqrt(w_i / sum w) p_i (x) x_i for each example. With Z = L^-1 U,

        H^-1 = L^-T (I + Z K^-1 Z^T) L^-1,    K = I - Z^T Z, n by n.

    Where probabilities are near 0 and 1, H is a small difference of D and U U^T. How much accuracy
    that costs is measured on random columns; a solve that must be more accurate goes on by
    conjugate gradients on exact products.

    Parameters
    ----------
    objective : HeadObjective
        Of the softmax, with the ridge on every parameter: without it K is singular.
    theta : Tensor of shape (C, q)
        Scaled parameters.

    Attributes
    ----------
    off : float
        Largest relative error, in the norm of H, of the identity's solutions for random columns.
    """

    is_exact = True

    def __init__(self, objective: HeadObjective, theta: Tensor) -> None:
        super().__init__(objective, theta)
        clock, (n, q, C) = objective.clock, (objective.n, objective.q, objective.num_classes)
        shares = objective.ones() / objective.total
        # Z is C times as large, so that sparse features may be dense here.
        across = objective.X.dense().T
        # L_c^-1, and Z.
        self._blocks = shares.new_empty((C, q, q))
        self._Z = shares.new_empty((C, q, n))
        unit = torch.eye(q, dtype=torch.float64, device=objective.X.device)

        def fill(c: int) -> None:
            clock.check()
            p = self._outputs[:, c]
            block = objective.X.gram(shares * p, clock)
            block.diagonal().add_(objective.ridge)
            lower, info = torch.linalg.cholesky_ex(block)
            if int(info):
                raise ProblemError(SINGULAR)
            self._blocks[c] = torch.linalg.solve_triangular(lower, unit, upper=False)
            columns = across * (shares.sqrt() * p)
            self._Z[c] = torch.linalg.solve_triangular(lower, columns, upper=False)

        run_blocks(fill, range(C), flops=2 * n * q * q * C, is_cpu=objective.is_cpu)
        self._Z = self._Z.reshape(C * q, n)
        kernel = weighted_gram(self._Z, self._Z.new_ones(C * q), clock).neg_()
        kernel.diagonal().add_(1.0)
        if not factor_in_place(kernel, clock):
            raise ProblemError(SINGULAR)
        self._lower = kernel
        self._root: _Root | None = None
        self.off = self._measure(clock)

    def _measure(self, clock: Clock) -> float:
        rng = np.random.default_rng(0)
        columns = torch.as_tensor(rng.standard_normal((len(self.scale), _NUM_PROBES)))
        columns = columns.to(self.scale.device)
        solved = self.precondition(columns, clock=clock)
        residual = columns - self.multiply(solved, clock=clock)
        error = (self.precondition(residual, clock=clock) * residual).sum(dim=0).abs()
        return float((error / (solved * columns).sum(dim=0)).max().sqrt())

    @by_blocks()
    def precondition(self, columns: Tensor, *, clock: Clock = NO_CLOCK) -> Tensor:
        """Apply the identity, without refinement, to columns of shape (d, k)."""
        # Few rows times a large matrix take a third of the time that it takes times few columns.
        across = self._lower_times(columns).T.contiguous()
        inner = solve_lower(self._lower, (across @ self._Z).T, clock)
        inner = solve_upper(self._lower, inner, clock)
        across.addmm_(inner.T.contiguous(), self._Z.T)
        return self._transposed_times(across.T)

    def _lower_times(self, columns: Tensor) -> Tensor:
        """L^-1 times columns in the class basis: shape (C q, k)."""
        on, k = self._objective, columns.shape[1]
        given = on.lift(columns.reshape(on.num_free, on.q * k))
        return (self._blocks @ given.reshape(-1, on.q, k)).reshape(-1, k)

    def _transposed_times(self, columns: Tensor) -> Tensor:
        """L^-T times columns of shape (C q, k), in the class basis."""
        on, k = self._objective, columns.shape[1]
        found = self._blocks.transpose(1, 2) @ columns.reshape(-1, on.q, k)
        return on.reduce(found.reshape(-1, on.q * k)).reshape(-1, k)

    def solve(
        self, columns: Tensor, *, tolerance: float = SOLVE_TOLERANCE, clock: Clock = NO_CLOCK
    ) -> Tensor:
        """H^-1 times columns: by the identity alone where that is as accurate as asked for."""
        if _MARGIN * self.off <= tolerance:
            return self.precondition(columns, clock=clock)
        return conjugate_gradients(
            partial(self.multiply, clock=clock),
            partial(self.precondition, clock=clock),
            columns,
            tolerance,
            cure="Standardize the features or raise l2.",
            clock=clock,
        )

    def half(self, columns: Tensor, *, transposed: bool = False, clock: Clock = NO_CLOCK) -> Tensor:
        """R or R^T times columns, where R is d by d and R^T R = H^-1; see `_Root`."""
        clock.check()
        if self._root is None:
            self._root = self._take_root(clock)
        root, q = self._root, self._objective.q
        if transposed:
            padded = torch.nn.functional.pad(columns, (0, 0, q, 0))
            turned = torch.ormqr(root.reflectors, root.tau, padded)
            return self._transposed_times(root.spread(turned))
        half = root.spread(self._lower_times(columns))
        return torch.ormqr(root.reflectors, root.tau, half, transpose=True)[q:]

    def _take_root(self, clock: Clock) -> _Root:
        kernel = self._lower @ self._lower.T
        # One call of LAPACK, which for many examples takes minutes.
        values, vectors = beside_clock(partial(torch.linalg.eigh, kernel), clock)
        # Where an eigenvalue is 1 the vector is zero: nothing is added along it.
        lengths = (1 - values).clamp_min(torch.finfo(values.dtype).eps).sqrt()
        units = (self._Z @ vectors) / lengths
        same = torch.linalg.inv(self._blocks).transpose(1, 2).reshape(-1, self._objective.q)
        same += units @ ((values.sqrt() - 1)[:, None] * (units.T @ same))
        return _Root(values.rsqrt() - 1, units, *torch.geqrf(same))


@dataclass(frozen=True, eq=False)
class _Root:
    """What R = Q (I - Z Z^T)^(-1/2) L^-1 takes, in the class basis.

    The class basis has q directions 1 (x) v less than there are parameters. R is square all the
    same: (I - Z Z^T)^(-1/2) L^-1 maps the basis into the complement of all
    (I - Z Z^T)^(1/2) L^T (1 (x) v), and Q turns these to the first q axes, where R has no part.
    """

    # (I - Z Z^T)^(-1/2) = I + V diag(changes) V^T.
    changes: Tensor
    V: Tensor
    # Q^T as Householder reflectors.
    reflectors: Tensor
    tau: Tensor

    def spread(self, columns: Tensor) -> Tensor:
        """(I - Z Z^T)^(-1/2) times columns."""
        return columns + self.V @ (self.changes[:, None] * (self.V.T @ columns))

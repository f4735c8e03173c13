"""S of a network's parameters as a formula: gradients on demand, and one solve."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from subsetsel.influence.head.inverse import SOLVE_TOLERANCE, Metric
from subsetsel.influence.network.curvature import NetworkFactor, NetworkProducts
from subsetsel.influence.network.network import Network
from subsetsel.rows import DenseRows
from subsetsel.rows.base import FloatArray, IndexArray
from subsetsel.support.clock import NO_CLOCK, Clock

# This many random directions stand for S where a single row costs an iterative solve.
_MAX_DIRECTIONS, _DIRECTION_BYTES = 256, 2**30
_BLOCK_BYTES = 64 * 2**20


class NetworkInfluence:
    """(1/n) H^-1 applied to each example's gradient; the `Factors` of `FactoredRows`.

    Parameters
    ----------
    network : Network
    solver : NetworkFactor or NetworkProducts
    metric : {"parameter", "loss"}
    constant : Tensor of shape (d,), optional
        Part of every example's gradient: l2 theta with the ridge included.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    """

    def __init__(
        self,
        network: Network,
        solver: NetworkFactor | NetworkProducts,
        metric: Metric,
        constant: Tensor | None,
    ) -> None:
        self._network, self._solver, self._constant = network, solver, constant
        self.metric: Metric = metric
        self.shape = (network.data.n, len(network.theta))

    @property
    def is_exact(self) -> bool:
        """Whether solves are direct: then single rows are cheap enough to be asked for."""
        return self._solver.is_exact

    @property
    def block_size(self) -> int:
        """Examples whose rows are solved for at a time."""
        return max(1, min(self.shape[0], _BLOCK_BYTES // (8 * self.shape[1])))

    def walk(
        self, indices: IndexArray | None = None, *, clock: Clock = NO_CLOCK
    ) -> Iterator[Tensor]:
        """Rows of S in the order of the data, or of ``indices``, a block at a time, float64."""
        for gradients in self._gradients(indices):
            clock.check()
            yield self._apply(gradients.T, clock=clock).T

    def rows(self, indices: IndexArray | slice) -> FloatArray:
        """Chosen rows of S, shape (k, d), float64."""
        if isinstance(indices, slice):
            indices = np.arange(self.shape[0])[indices]
        out = np.empty((len(indices), self.shape[1]))
        done = 0
        for part in self.walk(indices):
            out[done : done + len(part)] = part.cpu().numpy()
            done += len(part)
        return out

    def sums(self, weights: FloatArray) -> FloatArray:
        """S^T w for several w, shape (k, n): one walk through the data, one solve."""
        wide = torch.as_tensor(weights, dtype=torch.float64)
        total = torch.zeros((len(weights), self.shape[1]), dtype=torch.float64)
        done = 0
        for batch in self._network.batches():
            part = wide[:, done : done + len(batch.labels)]
            total += self._network.gradient_sums(batch, part).cpu()
            done += len(batch.labels)
        if self._constant is not None:
            total += wide.sum(dim=1)[:, None] * self._constant.cpu()
        out: FloatArray = self._apply(total.T).T.cpu().numpy()
        return out

    def products(self, directions: FloatArray, *, tolerance: float = SOLVE_TOLERANCE) -> FloatArray:
        """S u for several u, shape (k, d): one solve, one walk through the data."""
        columns = torch.as_tensor(directions, dtype=torch.float64).T
        if self.metric == "loss":
            solved = self._solver.half(columns, transposed=True)
        else:
            solved = self._solver.solve(columns, tolerance=tolerance)
        parts = [(gradients.to(solved) @ solved) for gradients in self._gradients(None)]
        out: FloatArray = torch.cat(parts).T.div(self.shape[0]).cpu().numpy()
        return out

    @cached_property
    def proxy(self) -> DenseRows:
        """S times random directions: squared norms are right on average, single rows are cheap."""
        d = self.shape[1]
        k = int(np.clip(_DIRECTION_BYTES // (8 * d), 16, min(_MAX_DIRECTIONS, max(16, d))))
        directions = np.random.default_rng(0).standard_normal((k, d)) / k**0.5
        found = self.products(directions, tolerance=1e-4)
        return DenseRows(np.ascontiguousarray(found.T, dtype=np.float32))

    def _gradients(self, indices: IndexArray | None) -> Iterator[Tensor]:
        chosen = None if indices is None else indices.tolist()
        for batch in self._network.batches(chosen):
            for part in batch.split(self.block_size):
                gradients = self._network.gradients(part)
                if self._constant is not None:
                    gradients += self._constant
                yield gradients

    def _apply(self, columns: Tensor, *, clock: Clock = NO_CLOCK) -> Tensor:
        solve = self._solver.half if self.metric == "loss" else self._solver.solve
        return solve(columns, clock=clock).div_(self.shape[0])

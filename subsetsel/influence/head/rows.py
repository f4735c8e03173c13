"""S of a head: row i is how far the parameters move when example i is left out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subsetsel.errors import OptionError
from subsetsel.influence.device import block_sizes
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.data import check_choices
from subsetsel.influence.head.ekfac import KroneckerInverse
from subsetsel.influence.head.expansion import Expansion
from subsetsel.influence.head.head import Head
from subsetsel.influence.head.inverse import Metric
from subsetsel.rows import DenseRows, Rows
from subsetsel.rows.base import AnyFloatArray, FloatArray, IndexArray
from subsetsel.rows.factored import FactoredRows, Factors
from subsetsel.rows.kronecker import KroneckerRows
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.memory import most_held, needs_memory, require_memory
from subsetsel.support.threads import by_blocks, map_blocks

Ridge = Literal["included", "excluded"]
Storage = Literal["auto", "dense", "factored"]

_CURE = "storage='factored' never writes S out."


class HeadInfluence:
    """S = (1/n) H^-1 applied to each example's gradient, as a formula.

    The gradient of example i is r_i (x) x_i, r_i = Q^T (p_i - e_{y_i}), plus l2 theta with the
    ridge included, so the n (C - 1) + n q numbers in R and X say everything about n x d gradients.
    With sample weights w_i / sum w stands for 1/n.

    Parameters
    ----------
    head : Head
    ridge : {"included", "excluded"}
    metric : {"parameter", "loss"}
    around : (Expansion, int), optional
        Expand around a pruned set, for subsets of so many examples; see `influence_rows`.
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
        head: Head,
        *,
        ridge: Ridge,
        metric: Metric,
        around: tuple[Expansion, int] | None = None,
        clock: Clock = NO_CLOCK,
    ) -> None:
        objective = self.objective = head.objective_function
        theta = self.theta = head.to_scaled(head.theta) if around is None else around[0].theta
        self.metric: Metric = metric
        self.inverse = head.prepare_inverse(clock) if around is None else around[0].inverse
        # The loss is that of all examples, wherever the rows are expanded.
        self._whole = head.prepare_inverse(clock) if metric == "loss" else self.inverse
        self.X = objective.X
        self.R = torch.cat([
            objective.residuals(theta, rows) @ objective.basis
            for rows in objective.timed(clock).chunks()
        ])
        self.R /= objective.total
        self.shape = (objective.n, objective.d)
        self.shares = objective.ones() / objective.total
        self.constant: Tensor | None = None
        if ridge == "included":
            self.constant = (objective.basis.T @ (objective.ridge * theta)).reshape(-1)
        if around is not None:
            expansion, size = around
            pruned = torch.as_tensor(expansion.pruned.copy(), device=self.X.device)
            gradient = self._gradient(pruned.to(self.R.dtype))
            shift = expansion.constant(gradient, self.shares, size)
            self.constant = shift if self.constant is None else self.constant + shift

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
        total = self.R.new_zeros((self.R.shape[1], self.X.shape[1]))
        self.X.add_to(total, self.R * weights[:, None])
        total = total.reshape(-1)
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
        if isinstance(self.inverse, IterativeInverse):
            guess = self.inverse.guess
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


class HeadRows(DenseRows):
    """S as an array, with the metric of its row norms."""

    def __init__(self, array: AnyFloatArray, metric: str) -> None:
        super().__init__(array)
        self.metric = metric


def influence_rows(
    head: Head,
    *,
    ridge: Ridge = "included",
    metric: Metric = "parameter",
    dtype: Any = np.float32,
    storage: Storage = "auto",
    around: tuple[Expansion, int] | None = None,
    clock: Clock = NO_CLOCK,
) -> Rows:
    """S of a trained head.

    Parameters
    ----------
    head : Head
    ridge : {"included", "excluded"}
        Whether l2 theta is part of each example's gradient. Included, the rows sum to zero and
        predict what retraining on the mean over the kept examples does; excluded is the letter
        of Eq. 3.
    metric : {"parameter", "loss"}
        Rows (1/n) H^-1 g_i, whose norms are parameter changes, or (1/n) L^-1 g_i with H = L L^T:
        half the square of n / (n - m) times ||W^T S|| is then the rise of the training objective,
        to second order. Around a pruned set they are (1/n) L^T H_K^-1 g_i, with L that of all
        examples as before: the rise is measured where all examples count.
    dtype : numpy dtype
        float32 or float64, of the rows that are handed out; they are solved for in float64.
    storage : {"auto", "dense", "factored"}
        ``"factored"`` keeps n (C + q) numbers and the factor of H instead of n d; single rows then
        cost a solve each. ``"auto"`` is dense where each row costs no iterative solve and S takes
        at most half of the memory that is planned with: ``SUBSETSEL_MEMORY_GIB``, or 16 GiB.
    around : (Expansion, m), optional
        Expand around a pruned set instead of the empty one. For subsets W of m examples, n / (n -
        m) times W^T S is then the change of the refitted head to first order around that set, and
        exactly that for the set itself. Sums over other numbers of examples mean nothing.
    clock : Clock
        Ends the work: `TimeIsUp` is raised.

    Returns
    -------
    Rows
        Shape (n, (C - 1) q), in the sum-zero basis of the classes: all 2-norms are those of the
        full parameters. Parameter (a, j) has column a q + j.

    Raises
    ------
    OptionError
        For an unknown setting.
    ProblemError
        If the Hessian is singular in float64.
    OutOfMemoryError
        If the Hessian or S does not fit into the memory that is free. What is free changes no
        choice.

    References
    ----------
    Yang et al., ICLR 2023, arXiv:2205.09329, Eq. 2.
    """
    check_choices(ridge=ridge, metric=metric, storage=storage)
    if around is not None and ridge == "excluded":
        raise OptionError("around needs ridge='included'; without the ridge nothing is expanded.")
    influence = HeadInfluence(head, ridge=ridge, metric=metric, around=around, clock=clock)
    return store_rows(influence, dtype, storage, clock=clock)


class Walkable(Factors, Protocol):
    """Factors that can be walked through in the order of the data."""

    def walk(self, *, clock: Clock) -> Iterator[Tensor]:
        """Rows of S in order, float64; a clock ends the work."""


def choose_storage(num_bytes: int, *, is_exact: bool) -> Literal["dense", "factored"]:
    """Decide ``"auto"``: an array, if so many bytes are planned for and single rows are cheap."""
    return "dense" if is_exact and num_bytes <= most_held() else "factored"


def store_rows(influence: Walkable, dtype: Any, storage: str, *, clock: Clock = NO_CLOCK) -> Rows:
    """Return S as `choose_storage` says, or as the user does: an array or a formula."""
    kind = np.dtype(dtype)
    if kind not in {np.dtype(np.float32), np.dtype(np.float64)}:
        raise OptionError(f"dtype must be float32 or float64, got {kind}.")
    n, d = influence.shape
    num_bytes = n * d * kind.itemsize
    if storage == "auto":
        storage = choose_storage(num_bytes, is_exact=influence.is_exact)
    rows: Rows
    if storage == "factored":
        rows = FactoredRows(influence, dtype=kind)
    else:
        rows = HeadRows(_write_out(influence, kind, num_bytes, clock), influence.metric)
    rows.inverse = "cholesky" if influence.is_exact else "cg"
    return rows


def _write_out(
    influence: Walkable, kind: np.dtype[Any], num_bytes: int, clock: Clock
) -> AnyFloatArray:
    """Solve for all rows of S."""
    what = f"S of {influence.shape[0]:,} x {influence.shape[1]:,}"
    require_memory(what, num_bytes, _CURE)
    with needs_memory(what, lambda: num_bytes, _CURE):
        S = np.empty(influence.shape, dtype=kind)
    done = 0
    for part in influence.walk(clock=clock):
        S[done : done + len(part)] = part.contiguous().cpu().numpy()
        done += len(part)
    return S

"""The features of a head, dense or sparse: the few products that a linear head needs of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subsetsel.influence.device import block_sizes
from subsetsel.influence.head import grams
from subsetsel.influence.head.sparse import arrays_of
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.threads import run_blocks

# A pass over sparse features adds a full vector of parameters for each chunk: chunks are long.
_SPARSE_CHUNK = 8192
# Limit for the columns that are made dense at a time, for a Gram matrix.
_STRIP_BYTES = 64 * 2**20


class Features(ABC):
    """X, shape (n, q), float64, bias column included.

    Attributes
    ----------
    shape : tuple of int
    device : torch.device
    chunk_rows : int
        How many examples enter one product: the longest sum inside it.
    row_length : int
        The most numbers of a row that enter a logit.
    filled : float
        Share of the numbers that are stored.
    """

    is_sparse: bool
    shape: tuple[int, int]
    device: torch.device
    chunk_rows: int
    row_length: int
    filled: float

    @abstractmethod
    def __getitem__(self, chosen: slice | Tensor) -> Self:
        """Choose examples; a slice costs no copy where they are dense."""

    @abstractmethod
    def __matmul__(self, columns: Tensor) -> Tensor:
        """X times columns, shape (q, k)."""

    @abstractmethod
    def add_to(self, out: Tensor, left: Tensor) -> None:
        """Add left^T X to ``out``, shape (k, q), for ``left`` of shape (n, k)."""

    @abstractmethod
    def turn(self, scale: Tensor, vectors: Tensor | None) -> Features:
        """X diag(scale) V, in the coordinates of the columns of V; without V in X's own."""

    @abstractmethod
    def square(self) -> Self:
        """Square each number."""

    @abstractmethod
    def norms(self) -> Tensor:
        """||x_i||, shape (n,)."""

    @abstractmethod
    def gram(self, weights: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
        """X^T diag(weights) X, shape (q, q); weights of any sign."""

    @abstractmethod
    def fill_pairs(self, out: Tensor, left: Tensor, right: Tensor, clock: Clock = NO_CLOCK) -> None:
        """Set out[a, :, b, :] and out[b, :, a, :] to X^T diag(left_a right_b) X, all a < b."""

    @abstractmethod
    def dense(self) -> Tensor:
        """X as a tensor; ask it of a few rows only, or where something larger is made of it."""

    @abstractmethod
    def single(self) -> Any:
        """X in float32: an ndarray, or a SciPy array of compressed rows."""

    @abstractmethod
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Give all that X holds, to be compared with other features."""


class DenseFeatures(Features):
    """Features in a tensor on any device."""

    is_sparse = False

    def __init__(self, X: Tensor) -> None:
        self._X = X
        self.shape, self.device = (X.shape[0], X.shape[1]), X.device
        self.chunk_rows, self.row_length = block_sizes(X.device).chunk_rows, X.shape[1]
        self.filled = 1.0

    @classmethod
    def scaled(
        cls, array: np.ndarray, l2: float, device: torch.device, scale: Tensor | None = None
    ) -> tuple[DenseFeatures, Tensor]:
        """Append the bias and divide by powers of two, which come back too; see `equilibrate`.

        Of one shard of many ``scale`` is known, that of all.
        """
        n, h = array.shape
        X = torch.empty((n, h + 1), dtype=torch.float64, device=device)
        # Both branches take read-only arrays, such as memory maps, without a warning.
        if device.type == "cpu":
            X.numpy()[:, :h] = array
        else:
            X[:, :h] = torch.tensor(array, device=device)
        X[:, h] = 1.0
        if scale is None:
            squares = torch.zeros(h + 1, dtype=torch.float64, device=device)
            for part in torch.split(X, block_sizes(device).chunk_rows):
                squares += part.square().sum(dim=0)
            scale = equilibrate(squares / n, l2)
        X /= scale
        return cls(X), scale

    def __getitem__(self, chosen: slice | Tensor) -> DenseFeatures:
        return DenseFeatures(self._X[chosen])

    def __matmul__(self, columns: Tensor) -> Tensor:
        return self._X @ columns

    def add_to(self, out: Tensor, left: Tensor) -> None:
        """See `Features.add_to`."""
        out.addmm_(left.T, self._X)

    def turn(self, scale: Tensor, vectors: Tensor | None) -> DenseFeatures:
        """See `Features.turn`."""
        if vectors is None:
            return DenseFeatures(self._X * scale)
        return DenseFeatures(self._X @ (scale[:, None] * vectors))

    def square(self) -> DenseFeatures:
        """See `Features.square`."""
        return DenseFeatures(self._X.square())

    def norms(self) -> Tensor:
        """See `Features.norms`."""
        lengths: Tensor = self._X.norm(dim=1)
        return lengths

    def gram(self, weights: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
        """See `Features.gram`."""
        return grams.weighted_gram(self._X, weights, clock)

    def fill_pairs(self, out: Tensor, left: Tensor, right: Tensor, clock: Clock = NO_CLOCK) -> None:
        """See `Features.fill_pairs`."""
        grams.fill_pairs(out, self._X, left, right, clock)

    def dense(self) -> Tensor:
        """Give the tensor itself."""
        return self._X

    def single(self) -> NDArray[np.float32]:
        """See `Features.single`."""
        array: NDArray[np.float32] = self._X.float().contiguous().cpu().numpy()
        return array

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """See `Features.arrays`."""
        return (self._X.cpu().numpy(),)


class SparseFeatures(Features):
    """Features in a SciPy array of compressed rows, on the CPU; never made dense as a whole."""

    is_sparse = True
    device = torch.device("cpu")

    def __init__(self, X: Any) -> None:
        self._X = X
        self.shape, self.chunk_rows = X.shape, _SPARSE_CHUNK
        self.row_length = int(np.diff(X.indptr).max(initial=0))
        self.filled = X.nnz / max(1, X.shape[0] * X.shape[1])

    @classmethod
    def scaled(cls, array: Any, l2: float) -> tuple[SparseFeatures, Tensor]:
        """Append the bias and divide by powers of two, which come back too; see `equilibrate`."""
        from scipy import sparse

        n = array.shape[0]
        X = sparse.hstack([array, sparse.csr_array(np.ones((n, 1)))], format="csr")
        squares = np.bincount(X.indices, weights=np.square(X.data), minlength=X.shape[1])
        scale = equilibrate(torch.as_tensor(squares / n), l2)
        X.data /= scale.numpy()[X.indices]
        return cls(X), scale

    def __getitem__(self, chosen: slice | Tensor) -> SparseFeatures:
        return SparseFeatures(self._X[chosen if isinstance(chosen, slice) else chosen.numpy()])

    def __matmul__(self, columns: Tensor) -> Tensor:
        return torch.as_tensor(self._X @ columns.contiguous().numpy())

    def add_to(self, out: Tensor, left: Tensor) -> None:
        """See `Features.add_to`."""
        out += torch.as_tensor(self._X.T @ left.contiguous().numpy()).T

    def turn(self, scale: Tensor, vectors: Tensor | None) -> Features:
        """See `Features.turn`."""
        if vectors is not None:
            return DenseFeatures(self @ (scale[:, None] * vectors))
        return self._with(self._X.data * scale.numpy()[self._X.indices])

    def square(self) -> SparseFeatures:
        """See `Features.square`."""
        return self._with(np.square(self._X.data))

    def norms(self) -> Tensor:
        """See `Features.norms`."""
        return torch.as_tensor(np.sqrt(self.square()._X.sum(axis=1)))

    def gram(self, weights: Tensor, clock: Clock = NO_CLOCK) -> Tensor:
        """See `Features.gram`; columns are made dense a few at a time."""
        (n, q), columns = self.shape, self._X.tocsc()
        out = torch.zeros((q, q), dtype=torch.float64)
        width = max(1, _STRIP_BYTES // (8 * n))
        strips = [slice(start, min(start + width, q)) for start in range(0, q, width)]

        def fill(strip: slice) -> None:
            clock.check()
            some = columns[:, strip].toarray() * weights.numpy()[:, None]
            below = torch.as_tensor(columns[:, strip.start :].T @ some)
            out[strip.start :, strip] = below
            out[strip, strip.start :] = below.T

        run_blocks(fill, strips, flops=float(self._X.nnz) * q)
        return out

    def fill_pairs(self, out: Tensor, left: Tensor, right: Tensor, clock: Clock = NO_CLOCK) -> None:
        """See `Features.fill_pairs`."""
        for a in range(left.shape[1]):
            for b in range(a + 1, left.shape[1]):
                out[a, :, b, :] = self.gram(left[:, a] * right[:, b], clock)
                out[b, :, a, :] = out[a, :, b, :]

    def dense(self) -> Tensor:
        """See `Features.dense`."""
        return torch.as_tensor(self._X.toarray())

    def single(self) -> Any:
        """See `Features.single`."""
        return self._X.astype(np.float32)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """See `Features.arrays`."""
        return arrays_of(self._X)

    def _with(self, data: NDArray[np.float64]) -> SparseFeatures:
        """Give other numbers in the same places."""
        return SparseFeatures(type(self._X)((data, self._X.indices, self._X.indptr), self.shape))


def equilibrate(mean_squares: Tensor, l2: float) -> Tensor:
    """Powers of two near the roots of the diagonal of a Hessian."""
    return torch.exp2((mean_squares + l2).sqrt().log2().round())

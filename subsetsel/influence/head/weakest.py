"""The direction in which the kept examples hold the least share of the curvature."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subsetsel.support.clock import Clock

_MAX_LOBPCG = 100
_RESIDUALS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
# A share of itself by which the value found last may have fallen.
_SETTLED = 1e-3

Apply = Callable[[Tensor], Tensor]


def weakest_by_lanczos(full: Tensor, kept: Tensor, clock: Clock) -> tuple[float, Tensor]:
    """Smallest eigenvalue of L^-1 H_K L^-T and its eigenvector, from the factors of H and H_K.

    Lanczos on L^T H_K^-1 L, whose largest eigenvalue is one over what is sought.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    def multiply(vector: np.ndarray) -> np.ndarray:
        clock.check()
        column = torch.as_tensor(vector.ravel(), device=full.device)
        solved = torch.cholesky_solve((full @ column)[:, None], kept)[:, 0]
        out: np.ndarray = (full.T @ solved).cpu().numpy()
        return out

    operator = LinearOperator(tuple(full.shape), matvec=multiply, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(len(full))
    values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=1e-9)
    return 1 / float(values[0]), torch.as_tensor(vectors[:, 0].copy(), device=full.device)


def weakest_by_solves(
    kept: Apply, full: Apply, solve: Apply, scale: Tensor, clock: Clock
) -> tuple[float, Tensor]:
    """Smallest v^T H_K v / v^T H v, where solving with H_K is direct.

    Lanczos on H_K^-1 H, which is symmetric in the inner product of H_K.

    Parameters
    ----------
    kept, full : callable
        H_K and H times columns.
    solve : callable
        H_K^-1 times columns.
    scale : Tensor of shape (d,)
        Says how many parameters there are, and on which device.
    clock : Clock
        Ends the work with `TimeIsUp`.

    Returns
    -------
    value : float
    v : Tensor of shape (d,)
    """
    from scipy.sparse.linalg import eigsh

    start = np.random.default_rng(0).standard_normal(len(scale))
    with _asking(clock):
        values, vectors = eigsh(
            _wrap(full, scale),
            k=1,
            M=_wrap(kept, scale),
            Minv=_wrap(solve, scale),
            which="LA",
            v0=start,
            tol=1e-6,
        )
    return 1 / float(values[0]), torch.as_tensor(vectors[:, 0].copy(), device=scale.device)


def weakest_by_products(
    kept: Apply, full: Apply, precondition: Apply, scale: Tensor, clock: Clock
) -> tuple[float, Tensor]:
    """Smallest v^T H_K v / v^T H v by LOBPCG: a value that is attained, so never too small.

    LOBPCG ends at an absolute residual, which may be far too large or needlessly small: it goes on
    with a smaller one as long as that changes the value.

    Parameters
    ----------
    kept, full : callable
        H_K and H times columns.
    precondition : callable
        Near the inverse of either.
    scale : Tensor of shape (d,)
        Says how many parameters there are, and on which device.
    clock : Clock
        Ends the work with `TimeIsUp`.

    Returns
    -------
    value : float
    v : Tensor of shape (d,)
    """
    from scipy.sparse.linalg import lobpcg

    value, vectors = np.inf, np.random.default_rng(0).standard_normal((len(scale), 4))
    with warnings.catch_warnings(), _asking(clock):
        # Short of its tolerance LOBPCG warns; the quotient it returns is attained all the same.
        warnings.simplefilter("ignore", UserWarning)
        for tolerance in _RESIDUALS:
            values, vectors = lobpcg(
                _wrap(kept, scale),
                vectors,
                B=_wrap(full, scale),
                M=_wrap(precondition, scale),
                largest=False,
                tol=tolerance,
                maxiter=_MAX_LOBPCG,
            )
            before, value = value, float(values.min())
            if before - value <= _SETTLED * value:
                break
    best = vectors[:, int(np.argmin(values))].copy()
    return value, torch.as_tensor(best, device=scale.device)


def _wrap(function: Apply, scale: Tensor) -> Any:
    from scipy.sparse.linalg import LinearOperator

    d = len(scale)

    def apply(columns: np.ndarray) -> np.ndarray:
        # Below 20 parameters LOBPCG asks for the columns of an integer unit matrix.
        numbers = columns.reshape(d, -1).astype(np.float64, copy=False)
        found = function(torch.as_tensor(numbers, device=scale.device))
        out: np.ndarray = found.cpu().numpy().reshape(columns.shape)
        return out

    return LinearOperator((d, d), matvec=apply, matmat=apply, dtype=np.float64)


@contextmanager
def _asking(clock: Clock) -> Iterator[None]:
    """Ask a clock after work that hides the errors of the functions it calls, as LOBPCG does."""
    try:
        yield
    except Exception:
        clock.check()
        raise
    clock.check()

"""What S will cost, said before anything runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import torch

from subsetsel.influence.device import head_device
from subsetsel.influence.head.choose_inverse import choose_inverse
from subsetsel.support.memory import free_memory

# Passes over the features that a fit needs, as counted on digits and on Fashion-MNIST, rounded up.
_PASSES = 100
# Hessian products of one solve to ten digits with the E-KFAC preconditioner, rounded up.
_CG_STEPS = 60
_DENSE_SHARE = 0.25


@dataclass(frozen=True)
class Estimate:
    """Memory and time for a head and its S; times are rough, within a factor of three or so.

    Attributes
    ----------
    n, d : int
        Shape of S.
    inverse : {"cholesky", "cg"}
        How the Hessian will be solved with.
    storage : {"dense", "factored"}
        How S will be held.
    feature_bytes, hessian_bytes, S_bytes : int
        Features and residuals in float64; the Hessian's factor and workspace; S as held.
    free_bytes : int
        Memory that is free now.
    fit_time, hessian_time, S_time : float
        Seconds on this device at the speed of its float64 products, measured for a moment. For
        factored rows `S_time` is that of one product S^T w.
    """

    n: int
    d: int
    inverse: str
    storage: str
    feature_bytes: int
    hessian_bytes: int
    S_bytes: int
    free_bytes: int
    fit_time: float
    hessian_time: float
    S_time: float

    @property
    def num_bytes(self) -> int:
        """All of it."""
        return self.feature_bytes + self.hessian_bytes + self.S_bytes

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.fit_time + self.hessian_time + self.S_time

    def __str__(self) -> str:
        gib = 2**30
        held = "held" if self.storage == "dense" else "never written out"
        return "\n".join([
            f"S is {self.n:,} x {self.d:,}, {held}; the Hessian is solved with by {self.inverse}",
            f"  memory  {self.num_bytes / gib:.2f} GiB of {self.free_bytes / gib:.2f} GiB free "
            f"(features {self.feature_bytes / gib:.2f}, Hessian {self.hessian_bytes / gib:.2f}, "
            f"S {self.S_bytes / gib:.2f})",
            f"  time    about {self.seconds:.2g} s (head {self.fit_time:.2g}, Hessian "
            f"{self.hessian_time:.2g}, S {self.S_time:.2g})",
        ])


def estimate_cost(
    n: int,
    num_features: int,
    num_classes: int,
    *,
    inverse: str = "auto",
    storage: str = "auto",
    itemsize: int = 4,
    device: str = "auto",
) -> Estimate:
    """Say what `fit_head` and `influence_rows` will take.

    Parameters
    ----------
    n, num_features, num_classes : int
        Of the training set; the bias is added here.
    inverse : {"auto", "cholesky", "cg"}
    storage : {"auto", "dense", "factored"}
    itemsize : int
        Bytes of one number of S.
    device : str

    Returns
    -------
    Estimate
    """
    q, m = num_features + 1, num_classes - 1
    d = m * q
    where = head_device(device)
    kind = choose_inverse(inverse, d, where)
    free, rate = free_memory(), product_rate(where.type)
    if storage == "auto":
        fits = n * d * itemsize <= _DENSE_SHARE * free
        storage = "dense" if fits and kind == "cholesky" else "factored"
    one_pass = 4.0 * n * num_classes * q
    if kind == "cholesky":
        hessian = float(n) * d * d * (1 + 1 / max(m, 1)) + d**3 / 3
        solve = 2.0 * d * d * (n if storage == "dense" else 1) + one_pass
        hessian_bytes = 2 * 8 * d * d
    else:
        hessian = 2.0 * n * q * (q + 2 * m) + 10 * (q**3 + m**3)
        solve = _CG_STEPS * (one_pass + 4.0 * d * (q + m))
        hessian_bytes = 8 * (2 * q * q + m * m + d)
    return Estimate(
        n=n,
        d=d,
        inverse=kind,
        storage=storage,
        feature_bytes=8 * n * (q + m),
        hessian_bytes=hessian_bytes,
        S_bytes=n * d * itemsize if storage == "dense" else 0,
        free_bytes=free,
        fit_time=(_PASSES * one_pass + hessian) / rate,
        hessian_time=hessian / rate,
        S_time=solve / rate,
    )


@cache
def product_rate(device: str) -> float:
    """Floating-point operations per second in a float64 matrix product, measured briefly.

    Parameters
    ----------
    device : str

    Returns
    -------
    float
    """
    side = 4096 if device == "cuda" else 512
    matrix = torch.ones((side, side), dtype=torch.float64, device=device)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best

"""What a pruning will cost, said before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

# Hessians formed and factored on the way: the head's own Newton steps and the refits of the check.
_NUM_FACTORIZATIONS = 12
_PROBE = 768


@dataclass(frozen=True)
class Estimate:
    """Order of magnitude of memory and time of head, S and refits; the search is apart.

    Attributes
    ----------
    n, num_features, num_classes, d : int
        d = (classes - 1) (features + 1), the directions in which the head can move.
    features_bytes, hessian_bytes, rows_bytes : int
        Features in float64, Hessian and its factor, S in float32.
    rate : float
        Floating-point operations per second, measured with one matrix product.
    time : float
        Seconds.
    """

    n: int
    num_features: int
    num_classes: int
    d: int
    features_bytes: int
    hessian_bytes: int
    rows_bytes: int
    rate: float
    time: float

    @property
    def num_bytes(self) -> int:
        """All memory together."""
        return self.features_bytes + self.hessian_bytes + self.rows_bytes

    def __str__(self) -> str:
        return "\n".join([
            f"examples  {self.n:,} with {self.num_features:,} features in "
            f"{self.num_classes:,} classes; S has {self.d:,} columns",
            f"memory    about {_bytes(self.num_bytes)}: features {_bytes(self.features_bytes)}, "
            f"Hessian {_bytes(self.hessian_bytes)}, S {_bytes(self.rows_bytes)}",
            f"time      about {self.time:.2g} s for head, S and refits at "
            f"{self.rate / 1e9:.3g} GFLOP/s (measured); the search takes its own budget or "
            "--time-limit",
        ])


def estimate(n: int, num_features: int, num_classes: int) -> Estimate:
    """Count operations and bytes; measure how fast this machine multiplies.

    Parameters
    ----------
    n, num_features, num_classes : int

    Returns
    -------
    Estimate
    """
    q = num_features + 1
    d = max(1, num_classes - 1) * q
    one_hessian = float(n) * d * d + d**3 / 3
    operations = _NUM_FACTORIZATIONS * one_hessian + 2.0 * n * d * d
    rate = _measured_rate()
    return Estimate(
        *(n, num_features, num_classes, d),
        features_bytes=2 * 8 * n * q,
        hessian_bytes=2 * 8 * d * d,
        rows_bytes=4 * n * d,
        rate=rate,
        time=operations / rate,
    )


def _measured_rate() -> float:
    matrix = np.ones((_PROBE, _PROBE))
    matrix @ matrix  # threads and caches warm up
    start_time = time.perf_counter()
    matrix @ matrix
    return float(2 * _PROBE**3 / (time.perf_counter() - start_time))


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
